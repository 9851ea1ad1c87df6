using Linux.Bpf;
using SystemTap.Bpf.Plan;
using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;
using SystemTap.Targets;

namespace SystemTap.Bpf.Emit;

// Stacks
// ------
// Kernel stacks: the kernel unwinds (bpf_get_stack); a print sends the addresses as bytes and stap makes text and names of them. Where the text itself is needed
// here (a key that cannot be left to stap), addresses are written as hexadecimal by arithmetic on eight digits at a time. In a tracepoint the walk begins within its own
// plumbing – this program, bpf_trace_run4(), __traceiter_NAME() –, which is no part of the event's stack: stap leaves it out by name, and here it is known by address.
//
// User stacks: programs are built without frame pointers, so the kernel's own walk is wrong. Instead the registers and up to 20 KB of the stack are copied straight
// into the ring, and stap unwinds them by call frame information as soon as it reads the record. Whole pages are copied, because a read that crosses into a
// page that is absent fails as a whole. One that fails is zeros: a large array of which nothing was used yet has pages that were never there, and callers lie above it. Above where a program's first stack began (mm->start_stack) are only its arguments.
// Where return probes are at work, on the stack are addresses of the kernel's trampoline: it keeps the true ones with the task, and they are put back in the copy (ReturnAddresses).

internal sealed partial class ProgramEmitter
{
    private int StackDepth => Math.Min(Math.Min(_c.Limits.MaxBackTrace, 127), _c.MaxText / 8);

    /// <summary>The kernel stack as words, with its exact length.</summary>
    private StringValue KernelStackRaw()
    {
        var slot = TakeString((8 * StackDepth) + 8);
        GetStack(slot.Memory.At(8), StackDepth);
        Save(slot.Memory, Reg.R0);
        return slot.AsString;
    }

    /// <summary>R0 = bytes of stack written, 0 when there is none.</summary>
    private void GetStack(Mem buffer, int depth)
    {
        RequireEvent();
        Move(Reg.R1, Ctx);
        Address(Reg.R2, buffer);
        _a.Emit(Instruction.Mov(Reg.R3, 8 * depth));
        _a.Emit(Instruction.Mov(Reg.R4, 0));
        _a.Call(Helper.GetStack);
        var good = _a.NewLabel();
        _a.JumpIf(JumpOp.SGe, Reg.R0, 0, good);
        _a.Emit(Instruction.Mov(Reg.R0, 0));
        _a.Bind(good);
        if (_c.Program.Probes[_probeIndex].Spec is not KernelFunctionSpec { Offset: 0, IsReturn: false })
        {
            return;
        }

        // At a function's entry the first address is behind what ftrace patched there: the function's own is meant.
        var mark = Marked();
        var bytes = TakeFrame(8);
        var none = _a.NewLabel();
        Save(bytes, Reg.R0);
        _a.JumpIf(JumpOp.Eq, Reg.R0, 0, none);
        Move(Reg.R1, Ctx);
        _a.Call(Helper.GetFuncIp);
        _a.JumpIf(JumpOp.Eq, Reg.R0, 0, none);
        Save(buffer, Reg.R0);
        _a.Bind(none);
        Load(Reg.R0, bytes);
        Release(mark);
    }

    /// <summary>R0 = an address in the kernel stack the program runs on: the frame of a subprogram. A large frame may lie elsewhere (the private stacks of Linux 6.13 and later), a small one never does.</summary>
    private void OwnStack() => CallRoutine("own_stack", () =>
    {
        EnterRoutine();
        Save(new Mem(Frame, FrameLaunder), Reg.R10);
        Load(Reg.R0, new Mem(Frame, FrameLaunder));
        _a.Exit();
    });

    /// <summary>Frames that a tracepoint's plumbing may have.</summary>
    private const int MostPlumbing = 8;

    private bool HasPlumbing => _event.Type == ProgramType.RawTracepoint || _event.ExpectedAttachType == AttachType.TraceRawTp;

    /// <summary>The stack without a tracepoint's plumbing; R0 = bytes, 0 when there is none. What lies behind them is not defined.</summary>
    private void GetEventStack(Mem buffer, int depth)
    {
        if (!HasPlumbing)
        {
            GetStack(buffer, depth);
            return;
        }

        var mark = Marked();
        var all = TakeFrame(8 * (depth + MostPlumbing));
        var bytes = TakeFrame(8);
        var skip = TakeFrame(8);
        GetStack(all, depth + MostPlumbing);
        Save(bytes, Reg.R0);
        Store(skip, 0);
        foreach (var (address, size) in Plumbing())
        {
            for (var i = 0; i < MostPlumbing; i++)
            {
                var other = _a.NewLabel();
                Load(Reg.R1, all.At(8 * i));
                _a.LdImm64(Reg.R2, unchecked((long)address));
                _a.Emit(Instruction.Alu64(AluOp.Sub, Reg.R1, Reg.R2));
                _a.JumpIf(JumpOp.Ge, Reg.R1, size, other);
                Store(skip, 8 * (i + 1));
                _a.Bind(other);
            }
        }

        Load(Reg.R1, skip);
        _a.Emit(Instruction.Alu64(AluOp.And, Reg.R1, 0x78));
        Load(Reg.R0, bytes);
        var some = _a.NewLabel();
        _a.JumpIf(JumpOp.Ge, Reg.R0, Reg.R1, some);
        Move(Reg.R0, Reg.R1);
        _a.Bind(some);
        _a.Emit(Instruction.Alu64(AluOp.Sub, Reg.R0, Reg.R1));
        var fits = _a.NewLabel();
        _a.JumpIf(JumpOp.Le, Reg.R0, 8 * depth, fits);
        _a.Emit(Instruction.Mov(Reg.R0, 8 * depth));
        _a.Bind(fits);
        Save(bytes, Reg.R0);
        Address(Reg.R3, all);
        _a.Emit(Instruction.Add64(Reg.R3, Reg.R1));
        Address(Reg.R1, buffer);
        _a.Emit(Instruction.Mov(Reg.R2, 8 * depth));
        _a.Call(Helper.ProbeReadKernel);
        Load(Reg.R0, bytes);
        Release(mark);
    }

    /// <summary>Where the functions lie that stand between a tracepoint and its program; the programs themselves are behind the first.</summary>
    private List<(ulong Address, int Size)> Plumbing()
    {
        var result = new List<(ulong, int)>();
        var symbols = _c.Target.KernelSymbols;
        var runs = Enumerable.Range(1, 12).Select(n => symbols.Find($"bpf_trace_run{n}")).OfType<KernelSymbol>().Select(static s => s.Address).ToArray();
        if (runs.Length > 0)
        {
            // Made by one macro, one behind the other.
            var last = runs.Max();
            result.Add((runs.Min(), (int)Math.Min(last - runs.Min() + symbols.SizeAtMost(last), 1 << 16)));
        }

        var name = _event switch
        {
            Context.TracepointContext t => t.Name,
            Context.SyscallContext s => s.IsReturn ? "sys_exit" : "sys_enter",
            _ => "",
        };
        foreach (var prefix in (string[])["__traceiter_", "__bpf_trace_", "__probestub_"])
        {
            if (symbols.Find(prefix + name) is { } found)
            {
                result.Add((found.Address, (int)Math.Min(symbols.SizeAtMost(found.Address), 1 << 16)));
            }
        }

        return result;
    }

    private void RequireEvent()
    {
        if (_event is Context.RequestContext)
        {
            throw Cannot("a stack in a handler that no event of the kernel runs", default);
        }

        if (!_event.HasTaskHelpers)
        {
            throw Cannot("a stack in a handler of packets", default);
        }
    }

    /// <summary>R0 = one address of the kernel stack, 0 when it has fewer.</summary>
    private void KernelFrame(Expr number)
    {
        var mark = Marked();
        if (TryConstant(number, out var known))
        {
            if (known < 0 || known >= StackDepth)
            {
                _a.Emit(Instruction.Mov(Reg.R0, 0));
                return;
            }

            var buffer = TakeFrame(8 * ((int)known + 1));
            GetEventStack(buffer, (int)known + 1);
            var fewer = _a.NewLabel();
            Move(Reg.R1, Reg.R0);
            _a.Emit(Instruction.Mov(Reg.R0, 0));
            _a.JumpIf(JumpOp.Le, Reg.R1, 8 * (int)known, fewer);
            Load(Reg.R0, buffer.At(8 * (int)known));
            _a.Bind(fewer);
            Release(mark);
            return;
        }

        var none = _a.NewLabel();
        var index = TakeStack(8);
        var words = TakeFrame(8 * StackDepth);
        Long(number, Reg.R0);
        Save(index, Reg.R0);
        GetEventStack(words, StackDepth);
        Load(Reg.R1, index);
        _a.Emit(Instruction.Alu64(AluOp.Rsh, Reg.R0, 3));
        Move(Reg.R2, Reg.R0);
        _a.Emit(Instruction.Mov(Reg.R0, 0));
        _a.JumpIf(JumpOp.Ge, Reg.R1, Reg.R2, none);
        _a.JumpIf(JumpOp.Ge, Reg.R1, StackDepth, none);
        _a.Emit(Instruction.Alu64(AluOp.Lsh, Reg.R1, 3));
        Address(Reg.R2, words);
        _a.Emit(Instruction.Add64(Reg.R2, Reg.R1));
        Load(Reg.R0, new Mem(Reg.R2, 0));
        _a.Bind(none);
        Release(mark);
    }

    /// <summary>"0x… 0x…": each address takes 19 bytes, since kernel addresses have 16 digits.</summary>
    private StringValue KernelStackText()
    {
        const int width = 19;
        var depth = Math.Min(StackDepth, _c.MaxText / width);
        var slot = TakeString((width * depth + 15) & ~7);
        var mark = Marked();
        var words = TakeFrame(8 * depth);
        var count = TakeFrame(8);
        GetEventStack(words, depth);
        _a.Emit(Instruction.Alu64(AluOp.Rsh, Reg.R0, 3));
        Save(count, Reg.R0);
        Clear(slot.Memory.At(8), slot.Capacity);
        Store(slot.Memory, 0);
        var end = _a.NewLabel();
        for (var i = 0; i < depth; i++)
        {
            var at = slot.Memory.At(8 + (width * i));
            Load(Reg.R0, count);
            _a.JumpIf(JumpOp.Le, Reg.R0, i, end);
            if (i > 0)
            {
                Put(MemSize.B, at.At(-1), ' ');
            }

            Put(MemSize.B, at, '0');
            Put(MemSize.B, at.At(1), 'x');
            Load(Reg.R0, words.At(8 * i));
            _a.Emit(Instruction.Alu64(AluOp.Rsh, Reg.R0, 32));
            HexDigits(at.At(2));
            Load(Reg.R0, words.At(8 * i));
            _a.Emit(Instruction.Mov32(Reg.R0, Reg.R0));
            HexDigits(at.At(10));
            Store(slot.Memory, (width * (i + 1)) - 1);
        }

        _a.Bind(end);
        Release(mark);
        return slot.AsString;
    }

    /// <summary>Writes the 32 bits in R0 as eight digits: nibbles are spread to bytes, then '0' or 'a'−10 is added to all at once.</summary>
    private void HexDigits(Mem to)
    {
        Spread(16, 0x0000FFFF0000FFFF);
        Spread(8, 0x00FF00FF00FF00FF);
        Spread(4, 0x0F0F0F0F0F0F0F0F);
        Move(Reg.R1, Reg.R0);
        _a.LdImm64(Reg.R2, 0x0606060606060606);
        _a.Emit(Instruction.Add64(Reg.R1, Reg.R2));
        _a.Emit(Instruction.Alu64(AluOp.Rsh, Reg.R1, 4));
        _a.LdImm64(Reg.R2, 0x0101010101010101);
        _a.Emit(Instruction.Alu64(AluOp.And, Reg.R1, Reg.R2));
        _a.Emit(Instruction.Alu64(AluOp.Mul, Reg.R1, 'a' - 10 - '0'));
        _a.Emit(Instruction.Add64(Reg.R0, Reg.R1));
        _a.LdImm64(Reg.R2, 0x3030303030303030);
        _a.Emit(Instruction.Add64(Reg.R0, Reg.R2));
        _a.Emit(Instruction.ToBigEndian(Reg.R0, 64));
        Save(to, Reg.R0);

        void Spread(int by, long mask)
        {
            Move(Reg.R1, Reg.R0);
            _a.Emit(Instruction.Alu64(AluOp.Lsh, Reg.R1, by));
            _a.Emit(Instruction.Alu64(AluOp.Or, Reg.R0, Reg.R1));
            _a.LdImm64(Reg.R2, mask);
            _a.Emit(Instruction.Alu64(AluOp.And, Reg.R0, Reg.R2));
        }
    }

    /// <summary>Sends registers and stack of the current process; R0 = the snapshot's number, 0 for kernel threads, StackSnapshot.Lost when the ring is full.</summary>
    /// <param name="from">Instruction, stack and frame pointer to begin from; empty: those of the process.</param>
    /// <param name="span">Place for messages.</param>
    private void UserSnapshot(IReadOnlyList<Expr> from, SourceSpan span)
    {
        RequireEvent();
        if (!_c.Features.CurrentTaskBtf)
        {
            throw Cannot("user stacks in a handler that runs in the kernel: this kernel lacks bpf_get_current_task_btf (Linux 5.11)", span);
        }

        _c.SendsStacks = true;
        var architecture = _c.Target.Architecture;
        var pointers = _c.Structure("pt_regs", span);
        var mark = Marked();
        var given = new Mem[from.Count];
        for (var i = 0; i < given.Length; i++)
        {
            Long(from[i], Reg.R0);
            given[i] = TakeFrame(8);
            Save(given[i], Reg.R0);
        }

        var id = TakeFrame(8);
        var record = TakeTemp();
        var registers = TakeTemp();
        if (!record.IsRegister || !registers.IsRegister)
        {
            throw Cannot("a user stack inside a larger expression", span, "assign it to a variable first");
        }

        var end = _a.NewLabel();
        var top = TakeFrame(8);
        var distance = TakeFrame(8);
        Store(id, 0);
        _a.Call(Helper.GetCurrentTaskBtf);
        LoadField(Reg.R1, Reg.R0, _c.Offset(_c.Structure("task_struct", span), "mm", span), 8, true);
        _a.JumpIf(JumpOp.Eq, Reg.R1, 0, end);
        LoadField(Reg.R2, Reg.R1, _c.Offset(_c.Structure("mm_struct", span), "start_stack", span), 8, true);
        Save(top, Reg.R2);
        _a.Call(Helper.GetCurrentTaskBtf);
        Move(Reg.R1, Reg.R0);
        _a.Call(Helper.TaskPtRegs);
        Move(registers.Register, Reg.R0);
        if (given.Length > 0)
        {
            Load(Reg.R2, given[1]);
        }
        else
        {
            LoadField(Reg.R2, Reg.R0, architecture.StackPointer.Offset, 8, true);
        }

        Load(Reg.R1, top);
        var below = _a.NewLabel();
        _a.JumpIf(JumpOp.Le, Reg.R2, Reg.R1, below);
        _a.LdImm64(Reg.R1, long.MaxValue);
        Save(top, Reg.R1);
        _a.Bind(below);
        _a.Emit(Instruction.Alu64(AluOp.And, Reg.R2, -8));
        _a.Emit(Instruction.Alu64(AluOp.Sub, Reg.R1, Reg.R2));
        Save(distance, Reg.R1);
        var full = _a.NewLabel();
        var large = _a.NewLabel();
        var submit = _a.NewLabel();
        var (r, at) = (record.Register, registers.Register);
        _a.JumpIf(JumpOp.Gt, Reg.R1, StackSnapshot.Small, large);

        Reserve(StackSnapshot.Stack + StackSnapshot.Small);
        Load(at, new Mem(r, StackSnapshot.Registers + architecture.StackPointer.Offset));
        _a.Emit(Instruction.Alu64(AluOp.And, at, -8));
        Address(Reg.R1, new Mem(r, StackSnapshot.Stack));
        Load(Reg.R2, distance);
        var fits = _a.NewLabel();
        _a.JumpIf(JumpOp.Le, Reg.R2, StackSnapshot.Small, fits);
        _a.Emit(Instruction.Mov(Reg.R2, StackSnapshot.Small));
        _a.Bind(fits);
        Move(Reg.R3, at);
        _a.Call(Helper.ProbeReadUser);
        _a.JumpIf(JumpOp.Ne, Reg.R0, 0, submit);
        Load(Reg.R1, distance);
        Save(new Mem(r, StackSnapshot.Length), Reg.R1);
        ReturnAddresses(r, 8, StackSnapshot.Small);
        _a.Jump(submit);

        _a.Bind(large);
        var copied = _a.NewLabel();
        Reserve(StackSnapshot.Size);
        Load(at, new Mem(r, StackSnapshot.Registers + architecture.StackPointer.Offset));
        _a.Emit(Instruction.Alu64(AluOp.And, at, -StackSnapshot.Page));
        for (var i = 0; i < StackSnapshot.Pages; i++)
        {
            Address(Reg.R1, new Mem(r, StackSnapshot.Stack + (i * StackSnapshot.Page)));
            _a.Emit(Instruction.Mov(Reg.R2, StackSnapshot.Page));
            Move(Reg.R3, at);
            _a.Call(Helper.ProbeReadUser);
            var absent = _a.NewLabel();
            _a.JumpIf(JumpOp.Ne, Reg.R0, 0, absent);
            Store(new Mem(r, StackSnapshot.Length), (i + 1) * StackSnapshot.Page);
            _a.Bind(absent);
            _a.Emit(Instruction.Add64Imm(at, StackSnapshot.Page));
            Load(Reg.R1, top);
            _a.JumpIf(JumpOp.Gt, at, Reg.R1, copied);
        }

        _a.Bind(copied);
        ReturnAddresses(r, StackSnapshot.Page, StackSnapshot.Page * StackSnapshot.Pages);
        _a.Bind(submit);
        Move(Reg.R1, r);
        _a.Emit(Instruction.Mov(Reg.R2, 0));
        _a.Call(Helper.RingbufSubmit);
        _a.Jump(end);
        _a.Bind(full);
        Increment(ControlBlock.LostRecords);
        Store(id, StackSnapshot.Lost);
        _a.Bind(end);
        Load(Reg.R0, id);
        Free(registers);
        Free(record);
        Release(mark);

        // A record with its head and the registers; r points to it.
        void Reserve(int size)
        {
            LoadMap(Reg.R1, _c.RingMap);
            _a.Emit(Instruction.Mov(Reg.R2, size));
            _a.Emit(Instruction.Mov(Reg.R3, 0));
            _a.Call(Helper.RingbufReserve);
            _a.JumpIf(JumpOp.Eq, Reg.R0, 0, full);
            Move(r, Reg.R0);
            _a.Emit(Instruction.Store(MemSize.W, r, 0, RecordKind.UserStack << 24));
            _a.Emit(Instruction.Store(MemSize.W, r, 4, 0));
            _a.Call(Helper.KtimeGetNs);
            Save(new Mem(r, StackSnapshot.Time), Reg.R0);
            _a.Call(Helper.GetSmpProcessorId);
            Load(Reg.R1, new Mem(r, StackSnapshot.Time));
            _a.Emit(Instruction.Alu64(AluOp.Lsh, Reg.R1, 10));
            _a.Emit(Instruction.Alu64(AluOp.And, Reg.R0, 1023));
            _a.Emit(Instruction.Alu64(AluOp.Or, Reg.R1, Reg.R0));
            Save(id, Reg.R1);
            Save(new Mem(r, StackSnapshot.Id), Reg.R1);
            _a.Call(Helper.GetCurrentPidTgid);
            Save(new Mem(r, StackSnapshot.Process), Reg.R0);
            Store(new Mem(r, StackSnapshot.Length), 0);
            Address(Reg.R1, new Mem(r, StackSnapshot.Registers));
            _a.Emit(Instruction.Mov(Reg.R2, (int)Math.Min(pointers.Size, StackSnapshot.RegistersSize)));
            Move(Reg.R3, at);
            _a.Call(Helper.ProbeReadKernel);
            for (var i = 0; i < given.Length; i++)
            {
                Load(Reg.R1, given[i]);
                Save(new Mem(r, StackSnapshot.Registers + (i == 0 ? architecture.InstructionPointer : i == 1 ? architecture.StackPointer : architecture.FramePointer).Offset), Reg.R1);
            }
        }
    }

    /// <summary>Return probes of one thread at a time, as the kernel limits them.</summary>
    private const int MostReturnProbes = 64;

    /// <summary>Puts the return addresses that return probes have replaced back into the copy of a stack; record is kept.</summary>
    /// <param name="record">The snapshot.</param>
    /// <param name="unit">The copy begins at the stack pointer rounded down to this.</param>
    /// <param name="size">Room for the copy.</param>
    private void ReturnAddresses(Reg record, int unit, int size)
    {
        var architecture = _c.Target.Architecture;
        BtfType? Known(string name) => _c.Target.KernelBtfOrNull?.Find(BtfKind.Struct, name);
        if (architecture.ReturnAddress is not null || Known("task_struct")?.FindMember("utask") is not { } utask || Known("uprobe_task")?.FindMember("return_instances") is not { } instances
            || Known("return_instance") is not { } instance || instance.FindMember("stack") is not { } place || instance.FindMember("orig_ret_vaddr") is not { } original
            || instance.FindMember("next") is not { } next)
        {
            return; // a kernel without uprobes, or a machine whose return addresses are in a register
        }

        var loop = _a.NewLabel();
        var skip = _a.NewLabel();
        var done = _a.NewLabel();
        _a.Call(Helper.GetCurrentTaskBtf);
        LoadField(Reg.R1, Reg.R0, (int)utask.ByteOffset, 8, true);
        _a.JumpIf(JumpOp.Eq, Reg.R1, 0, done);
        LoadField(Reg.R1, Reg.R1, (int)instances.ByteOffset, 8, true);
        Load(Reg.R3, new Mem(record, StackSnapshot.Registers + architecture.StackPointer.Offset));
        _a.Emit(Instruction.Alu64(AluOp.And, Reg.R3, -unit));
        _a.Emit(Instruction.Mov(Reg.R4, MostReturnProbes));
        _a.Bind(loop);
        _a.JumpIf(JumpOp.Eq, Reg.R1, 0, done);
        LoadField(Reg.R2, Reg.R1, (int)place.ByteOffset, 8, true);
        _a.Emit(Instruction.Alu64(AluOp.Sub, Reg.R2, Reg.R3));
        _a.Emit(Instruction.Alu64(AluOp.And, Reg.R2, -4));
        _a.JumpIf(JumpOp.Gt, Reg.R2, size - 8, skip);
        LoadField(Reg.R5, Reg.R1, (int)original.ByteOffset, 8, true);
        Move(Reg.R0, record);
        _a.Emit(Instruction.Add64(Reg.R0, Reg.R2));
        if (architecture.FindRegister("cs") is { } mode)
        {
            var wide = _a.NewLabel();
            Load(Reg.R2, new Mem(record, StackSnapshot.Registers + mode.Offset));
            _a.JumpIf(JumpOp.Ne, Reg.R2, I386.CodeSegment, wide);
            _a.Emit(Instruction.Store(MemSize.W, Reg.R0, StackSnapshot.Stack, Reg.R5));
            _a.Jump(skip);
            _a.Bind(wide);
        }

        Save(new Mem(Reg.R0, StackSnapshot.Stack), Reg.R5);
        _a.Bind(skip);
        LoadField(Reg.R1, Reg.R1, (int)next.ByteOffset, 8, true);
        _a.Emit(Instruction.Add64Imm(Reg.R4, -1));
        _a.JumpIf(JumpOp.Ne, Reg.R4, 0, loop);
        _a.Bind(done);
    }
}
