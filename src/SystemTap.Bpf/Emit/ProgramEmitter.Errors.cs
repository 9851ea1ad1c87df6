using Linux.Bpf;
using SystemTap.Bpf.Analysis;
using SystemTap.Bpf.Plan;
using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Emit;

// Raising, catching and reporting run-time errors; see the essay in ProgramEmitter.cs.

internal sealed partial class ProgramEmitter
{
    private readonly SortedSet<int> _raised = [];
    private Mem _errorSite = new(Frame, FrameErrorSite), _errorValue = new(Frame, FrameErrorValue);
    private Subprogram? _messageWriter;

    /// <summary>Bytes of an error record before its text: head, value, callers.</summary>
    private const int ErrorHeadSize = 24;

    private LocalSlot ErrorText => new(new Mem(Frame, _errorText), Capacities.BufferFor(_c.MaxText));

    /// <summary>Raises a run-time error here: code after it is reached only by a label.</summary>
    public void Fail(string message, SourceSpan span) => Raise(message, span);

    private void Raise(string message, SourceSpan span, Reg? value = null)
    {
        var site = _c.ErrorSite(message, span);
        _raised.Add(site);
        if (value is { } register)
        {
            Save(_errorValue, register);
        }
        else
        {
            Store(_errorValue, 0);
        }

        StoreSite(site);
        if (_errorText >= 0)
        {
            Store(ErrorText.Memory, 0);
        }

        _a.Jump(_f.ErrorTarget);
    }

    /// <summary>An error that try does not catch: MAXACTION.</summary>
    private void Stop(string message, SourceSpan span)
    {
        StoreSite(_c.ErrorSite(message, span));
        Store(_errorValue, 0);
        if (_errorText >= 0)
        {
            Store(ErrorText.Memory, 0);
        }

        _a.Jump(_f.FatalExit);
    }

    /// <summary><c>error(text)</c>.</summary>
    private void RaiseText(Expr message, SourceSpan span)
    {
        CopyToSlot(Text(message), ErrorText);
        var site = _c.ErrorSite("{s}", span);
        _raised.Add(site);
        Store(_errorValue, 0);
        StoreSite(site);
        _a.Jump(_f.ErrorTarget);
    }

    private void StoreSite(int site)
    {
        Store(_errorSite, site);
        if (_hasFrame)
        {
            Store(new Mem(Frame, FrameErrorCallers), 0);
        }
    }

    /// <summary>On the way out of a function that failed: notes the place of the call, for "called from". The innermost four are kept, as 16-bit numbers. Keeps R0.</summary>
    private void NoteCaller(SourceSpan span)
    {
        var full = _a.NewLabel();
        Load(Reg.R1, new Mem(Frame, FrameErrorCallers));
        _a.Emit(Instruction.Mov(Reg.R2, Reg.R1));
        _a.Emit(Instruction.Alu64(AluOp.Rsh, Reg.R2, 48));
        _a.JumpIf(JumpOp.Ne, Reg.R2, 0, full);
        _a.Emit(Instruction.Alu64(AluOp.Lsh, Reg.R1, 16));
        _a.Emit(Instruction.Alu64(AluOp.Or, Reg.R1, _c.CallSite(span)));
        Save(new Mem(Frame, FrameErrorCallers), Reg.R1);
        _a.Bind(full);
    }

    /// <summary>In a catch: puts the message into a variable.</summary>
    private void CaughtMessage(TryStmt t, LocalSlot target)
    {
        At(t.Span);
        if (_a.IsAlive)
        {
            if (_messageWriter is null)
            {
                _messageWriter = _a.Declare("error_message");
                _globals.Add((_messageWriter, 0));
            }
        }
        else
        {
            return;
        }

        Move(Reg.R1, Frame);
        _a.Call(_messageWriter);
        CopyToSlot(ErrorText.AsString, target);
    }

    /// <summary>
    /// The subprogram that writes the text of the error just raised, from its site number: only what is caught with a variable costs time, and raising
    /// stays cheap. It must be emitted last, when all sites are known.
    /// </summary>
    private void EmitMessageWriter()
    {
        if (_messageWriter is null)
        {
            return;
        }

        _f = new FunctionState(null, _messageWriter);
        _a.Begin(_messageWriter);
        Move(Frame, Reg.R1);
        RefuseNull();
        var end = _a.NewLabel();
        foreach (var number in _raised)
        {
            var format = _c.ErrorSites[number].MessageFormat;
            if (format == "{s}")
            {
                continue;
            }

            var next = _a.NewLabel();
            Load(Reg.R0, _errorSite);
            _a.JumpIf(JumpOp.Ne, Reg.R0, number, next);
            if (format.Contains("{0}", StringComparison.Ordinal) || format.Contains("{1}", StringComparison.Ordinal))
            {
                Clear(ErrorText.Memory.At(8), ErrorText.Capacity);
                Snprintf(ErrorText, format.Replace("%", "%%", StringComparison.Ordinal).Replace("{0}", "0x%016llx", StringComparison.Ordinal).Replace("{1}", "%lld", StringComparison.Ordinal), _errorValue);
            }
            else
            {
                CopyToSlot(StringValue.Of(format), ErrorText);
            }

            _a.Jump(end);
            _a.Bind(next);
        }

        _a.Bind(end);
        _a.Emit(Instruction.Mov(Reg.R0, 0));
        _a.Exit();
    }

    /// <summary>The handler's outermost error exit: counts, sends the record, stops the session when MAXERRORS is passed.</summary>
    private void ReportError(SourceSpan span)
    {
        At(span);
        _a.Emit(Instruction.Mov(Reg.R2, 1));
        DataAddress(Reg.R1, ControlBlock.Errors);
        _a.Emit(Instruction.Atomic(AtomicOp.FetchAdd, MemSize.DW, Reg.R1, 0, Reg.R2));
        var more = _a.NewLabel();
        _a.JumpIf(JumpOp.SLt, Reg.R2, _c.Limits.MaxErrors, more);
        DataAddress(Reg.R1, ControlBlock.State);
        _a.Emit(Instruction.Store(MemSize.DW, Reg.R1, 0, 2));
        _a.Bind(more);
        var mark = Marked();
        if (_errorText >= 0)
        {
            // Eight bytes more than can be sent: the verifier does not see that rounding up stays within.
            var record = TakeFrame(ErrorHeadSize + 8 + ErrorText.Capacity + 8);
            ErrorHead(record);
            Load(Reg.R2, ErrorText.Memory);
            var bounded = _a.NewLabel();
            _a.JumpIf(JumpOp.Le, Reg.R2, _c.MaxText, bounded);
            _a.Emit(Instruction.Mov(Reg.R2, 0));
            _a.Bind(bounded);
            Save(record.At(ErrorHeadSize), Reg.R2);
            Address(Reg.R1, record.At(ErrorHeadSize + 8));
            Address(Reg.R3, ErrorText.Memory.At(8));
            _a.Call(Helper.ProbeReadKernel);
            Load(Reg.R3, record.At(ErrorHeadSize));
            OutputFrame(record, ErrorHeadSize + 8, ErrorText.Capacity, RingFlagForce);
        }
        else
        {
            var record = TakeStack(ErrorHeadSize + 8);
            ErrorHead(record);
            Store(record.At(ErrorHeadSize), 0);
            Output(record, ErrorHeadSize + 8, RingFlagForce);
        }

        Release(mark);
    }

    private void ErrorHead(Mem record)
    {
        Load(Reg.R0, _errorSite);
        _a.LdImm64(Reg.R1, RecordKind.Error << 24);
        _a.Emit(Instruction.Alu64(AluOp.Or, Reg.R0, Reg.R1));
        Save(MemSize.W, record, Reg.R0);
        ProbeIndexInto(record.At(4));
        Load(Reg.R0, _errorValue);
        Save(record.At(8), Reg.R0);
        if (_hasFrame)
        {
            Load(Reg.R0, new Mem(Frame, FrameErrorCallers));
            Save(record.At(16), Reg.R0);
        }
        else
        {
            Store(record.At(16), 0);
        }
    }
}
