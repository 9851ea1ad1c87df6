using Linux.Bpf;
using SystemTap.Bpf.Analysis;
using SystemTap.Bpf.Context;
using SystemTap.Bpf.Layout;
using SystemTap.Bpf.Plan;
using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Emit;

// From trees to BPF instructions
// ------------------------------
// One ProgramEmitter makes one BPF program: a handler (or several, when a dispatcher serves many system calls) and the script functions it
// calls, as static subprograms. It walks the tree once and emits as it goes; there is no intermediate representation. The reasons: handlers
// are small; the kernel's own JIT does register work well enough; the verifier, not instruction count, is the limit that hurts; and one walk
// is what a start-up budget of milliseconds allows. What an optimiser would do with most gain (deferral of printing, merging of handlers,
// lock avoidance) happens on trees before.
//
// Where values live
//   R6  context of the event        R7  the frame (a per-CPU map value), when the program has one
//   R8 R9  two temporaries          R0–R5  scratch: nothing survives a helper call there
//   stack  further temporaries, small map keys; in handlers without loops also longs
//   frame  strings, locals of loops and functions, arguments and results of functions, records with strings
//
// The frame is what keeps the verifier calm: a word loaded from a map value is simply unknown, so loops converge at once and the states of
// two paths are equal. Pointers never live in the frame. One program has one frame per CPU: raw tracepoint, tp_btf and perf-event programs are
// not entered twice on one CPU (the kernel guards and counts that). Programs on user code can be preempted and entered again: they have four frames per
// CPU, claimed by an atomic exchange and given back on every exit; none free is a skipped probe. Functions get fixed, disjoint parts of the frame; hence recursion is
// refused here (BpfCannotException), not miscompiled.
//
// Errors. A fallible operation that fails stores its site number and one value, then jumps to the innermost catch or the function's
// error exit, which returns 1 to the caller, which jumps on likewise: no exceptions. Status 2 is a stop nobody may catch. The handler's
// outermost exit sends the error record. Every exit passes the unlock.
//
// Deliberately not done: register allocation beyond two temporaries, common subexpressions, outlining of handlers past 16-bit jumps (the
// assembler says so and the user sees a "cannot").

/// <summary>Makes one BPF program.</summary>
internal sealed partial class ProgramEmitter
{
    public const Reg Ctx = Reg.R6, Frame = Reg.R7;

    // Fixed head of the frame.
    private const int FrameErrorSite = 0, FrameErrorValue = 8, FrameActions = 16, FrameLaunder = 32, FrameErrorCallers = 40, FrameLibrary = 48;
    private const int FrameInUse = FrameLibrary + (8 * LibraryWords), FrameProbe = FrameInUse + 8, FrameHead = FrameProbe + 8;

    /// <summary>Frames of a preemptible program on each CPU: as many runs can be preempted by each other; further ones are skipped and counted.</summary>
    private const int FrameSlots = 4;

    /// <summary>Bytes of a frame; each CPU has one or <see cref="FrameSlots"/> of each program.</summary>
    private const int LargestFrame = 4 << 20;

    private readonly Compilation _c;
    private readonly EventContext _event;
    private readonly string _name;
    private readonly CodeWriter _a = new();
    private readonly Dictionary<Function, FunctionFrame> _functions = new(ReferenceEqualityComparer.Instance);
    private readonly Queue<FunctionFrame> _pending = new();
    private readonly bool _hasFrame;
    private readonly FrameMap? _frameMap;
    private int _frameTop = FrameHead, _frameMost = FrameHead;
    private int _errorText = -1;
    private int _probeIndex;
    private bool _loops;
    private FunctionState _f;

    /// <param name="compilation">What all programs share.</param>
    /// <param name="event">The event.</param>
    /// <param name="name">For messages and map names.</param>
    /// <param name="hasFrame">Some code needs a frame.</param>
    /// <param name="sharedFrame">Frame of programs that never run at the same time on a CPU (tail-call targets of one dispatcher); null: an own one.</param>
    public ProgramEmitter(Compilation compilation, EventContext @event, string name, bool hasFrame, FrameMap? sharedFrame = null)
    {
        _c = compilation;
        _event = @event;
        _name = name;
        _hasFrame = hasFrame;
        _a.AllowLongJumps = compilation.Features.InstructionSetV4;
        if (hasFrame)
        {
            _frameMap = sharedFrame ?? new FrameMap(name, compilation.LargeFrames);
            _frameMap.Reserve(compilation.Maps);
        }

        _f = new FunctionState(null, null);
    }


    public Compilation Compilation => _c;

    /// <summary>Completes the code and its frame map.</summary>
    public AssembledCode Finish(SourceSpan place)
    {
        if (_hasFrame)
        {
            if (!_frameMap!.IsByNumber && _frameMost + LibrarySlack > Storage.LargestPerCpu)
            {
                throw new FrameTooLargeException();
            }

            var size = (_frameMost + LibrarySlack + 7) & ~7;
            _frameMap.Complete(_c.Maps, size, _event.IsPreemptible ? FrameSlots : 1, _c.Target.PossibleCpuCount);
            Link(size);
        }

        try
        {
            var code = _a.Finish();
            var shape = CallShape.Of(code);
            if (!_c.StepwiseCalls && _functions.Count > 0 && !shape.Fits)
            {
                throw new CallsTooDeepException();
            }

            if (shape.Frames > CallShape.MostFrames)
            {
                var loops = _c.Features.MayGoto ? "" : " (loops count, since this kernel lacks may_goto, Linux 6.9)";
                throw new BpfCannotException($"handler \"{_name}\": its functions and loops nest {shape.Frames} deep, and BPF allows {CallShape.MostFrames}{loops}", place, "nest fewer loops, or run with --runtime=kernel");
            }

            return code;
        }
        catch (AssemblerException e)
        {
            throw new BpfCannotException($"handler \"{_name}\": its code is too long for BPF ({e.Message})", place, "split the handler");
        }
    }

    /// <summary>Map and program names have 15 characters of letters, digits, dot and underscore.</summary>
    public static string MapName(string prefix, string name)
    {
        var text = new System.Text.StringBuilder(prefix);
        foreach (var c in name)
        {
            if (text.Length == 15)
            {
                break;
            }

            text.Append(char.IsAsciiLetterOrDigit(c) ? c : '_');
        }

        return text.ToString();
    }

    // ---- frame and stack -------------------------------------------------------------------------------------------------

    /// <summary>Takes bytes of the frame; Release gives all back that were taken since a mark.</summary>
    private Mem TakeFrame(int bytes)
    {
        if (!_hasFrame)
        {
            throw new InvalidOperationException($"program {_name} was planned without a frame and needs one");
        }

        var at = _frameTop;
        _frameTop += (bytes + 7) & ~7;
        _frameMost = Math.Max(_frameMost, _frameTop);
        if (_frameTop > LargestFrame)
        {
            throw new BpfCannotException($"handler \"{_name}\": its strings take more than {LargestFrame} bytes", default, "lower MAXSTRINGLEN");
        }

        return new Mem(Frame, at);
    }

    private LocalSlot TakeString(int capacity) => new(TakeFrame(8 + capacity), capacity);

    private readonly record struct Mark(int Frame, int Stack);

    private Mark Marked() => new(_frameTop, _f.Stack);

    /// <summary>Bytes of the frame below this are kept for the whole handler run, although they were taken in the middle of it.</summary>
    private int _kept;

    private void Release(Mark mark) => (_frameTop, _f.Stack) = (Math.Max(mark.Frame, _kept), mark.Stack);

    /// <summary>Takes bytes of the stack, or of the frame when the stack is getting full.</summary>
    /// <param name="bytes">How many.</param>
    /// <param name="onStack">Only the stack will do: a pointer is kept there, or a helper wants stack memory.</param>
    private Mem TakeStack(int bytes, bool onStack = false)
    {
        bytes = (bytes + 7) & ~7;

        // All functions on the way share 512 bytes.
        var limit = _f.Function is not null || _f.IsCallback ? 64 : _functions.Count > 0 || _loops || !_c.Features.MayGoto ? 160 : 384;
        if (_f.Stack + bytes > limit && _hasFrame && !onStack)
        {
            return TakeFrame(bytes);
        }

        _f.Stack += bytes;
        if (_f.Stack > 480)
        {
            throw new BpfCannotException($"handler \"{_name}\": an expression is nested too deeply for the BPF stack", default, "use more local variables");
        }

        return new Mem(Reg.R10, -_f.Stack);
    }

    private Temp TakeTemp()
    {
        if (!_f.R8InUse)
        {
            _f.R8InUse = true;
            return Temp.InRegister(Reg.R8);
        }

        if (!_f.R9InUse)
        {
            _f.R9InUse = true;
            return Temp.InRegister(Reg.R9);
        }

        return Temp.InMemory(TakeStack(8));
    }

    /// <summary>Registers go back here; memory goes back with the statement's mark.</summary>
    private void Free(Temp temp)
    {
        if (temp.Register == Reg.R8)
        {
            _f.R8InUse = false;
        }
        else if (temp.Register == Reg.R9)
        {
            _f.R9InUse = false;
        }
    }

    private void Put(Temp temp, Reg from)
    {
        if (temp.IsRegister)
        {
            Move(temp.Register, from);
        }
        else
        {
            Save(temp.Memory, from);
        }
    }

    private void Get(Reg to, Temp temp)
    {
        if (temp.IsRegister)
        {
            Move(to, temp.Register);
        }
        else
        {
            Load(to, temp.Memory);
        }
    }

    // ---- small words of the assembler ------------------------------------------------------------------------------------

    private void Move(Reg to, Reg from)
    {
        if (to != from)
        {
            _a.Emit(Instruction.Mov(to, from));
        }
    }

    private void Load(Reg to, Mem from) => Load(MemSize.DW, to, from);

    private void Load(MemSize size, Reg to, Mem from)
    {
        var near = Approach(from);
        _a.Emit(Instruction.Load(size, to, near.Base, near.Offset));
        if (to != from.Base)
        {
            Return(from);
        }
    }

    private void Save(Mem to, Reg from) => Save(MemSize.DW, to, from);

    private void Save(MemSize size, Mem to, Reg from)
    {
        var near = Approach(to);
        _a.Emit(Instruction.Store(size, near.Base, near.Offset, from));
        Return(to);
    }

    private void Put(MemSize size, Mem to, int value)
    {
        var near = Approach(to);
        _a.Emit(Instruction.Store(size, near.Base, near.Offset, value));
        Return(to);
    }

    // An instruction reaches 32 KB. Further places are reached by moving the base there and back: no other register is free everywhere.
    private Mem Approach(Mem place)
    {
        if (!IsFar(place))
        {
            return place;
        }

        _a.Emit(Instruction.Add64Imm(place.Base, place.Offset));
        return new Mem(place.Base, 0);
    }

    private void Return(Mem place)
    {
        if (IsFar(place))
        {
            _a.Emit(Instruction.Add64Imm(place.Base, -place.Offset));
        }
    }

    private static bool IsFar(Mem place) => place.Offset != (short)place.Offset;

    private void Store(Mem to, long value, Reg scratch = Reg.R0)
    {
        if (value == (int)value)
        {
            Put(MemSize.DW, to, (int)value);
        }
        else
        {
            _a.LdImm64(scratch, value);
            Save(to, scratch);
        }
    }

    private void Address(Reg to, Mem place)
    {
        Move(to, place.Base);
        if (place.Offset != 0)
        {
            _a.Emit(Instruction.Add64Imm(to, place.Offset));
        }
    }

    private void LoadMap(Reg to, int map) => _a.LdMap(to, _c.MapKey(map));

    private void DataAddress(Reg to, int offset) => _a.LdMapValue(to, _c.MapKey(_c.DataMap), offset);

    private void ConstantAddress(Reg to, int offset) => _a.LdMapValue(to, _c.MapKey(_c.ConstantMap), offset);

    private void At(SourceSpan span)
    {
        if (span.Source is not null)
        {
            _a.Mark = _c.Mark(span);
            _place = span;
        }
    }

    private SourceSpan _place;

    private BpfCannotException Cannot(string what, SourceSpan span, string? hint = null) => new(what, span.IsWritten ? span : _place, hint ?? "run with --runtime=kernel");
}

/// <summary>The strings of a handler do not fit into a per-CPU map: the program is translated again with large frames.</summary>
internal sealed class FrameTooLargeException : Exception;

/// <summary>Calls nest deeper than the kernel allows: the program is translated again with functions run step by step.</summary>
internal sealed class CallsTooDeepException : Exception;

/// <summary>The map of a frame; grows to the largest program that uses it.</summary>
/// <param name="name">For the map's name.</param>
/// <param name="isByNumber">An array with elements for each CPU instead of a per-CPU array, whose values have at most 32 KB (<see cref="Compilation.LargeFrames"/>).</param>
internal sealed class FrameMap(string name, bool isByNumber)
{
    private int _size;

    public bool IsByNumber => isByNumber;

    public int Id { get; private set; } = -1;

    public void Reserve(MapTable maps)
    {
        if (Id < 0)
        {
            Id = maps.Reserve(ProgramEmitter.MapName("f_", name));
        }
    }

    public void Complete(MapTable maps, int size, int slots, int cpus)
    {
        _size = Math.Max(_size, (size + 7) & ~7);
        maps.Complete(Id, isByNumber ? MapType.Array : MapType.PerCpuArray, 4, _size, isByNumber ? slots * cpus : slots);
    }
}
