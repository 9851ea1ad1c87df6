using System.Runtime.InteropServices;

namespace Linux.Bpf;

/// <summary>
/// The BTF of one program: a FUNC for the main code and each function (the kernel demands all of them as soon as callbacks or global
/// functions occur) and line info from the source marks.
/// </summary>
internal sealed class ProgramBtf
{
    [StructLayout(LayoutKind.Sequential)]
    internal record struct FuncInfo(uint Slot, uint TypeId);
    [StructLayout(LayoutKind.Sequential)]
    internal record struct LineInfo(uint Slot, uint FileName, uint Line, uint LineColumn);

    private const int MaxColumn = 1023, MaxLine = (1 << 22) - 1; // line << 10 | column

    private readonly BtfBuilder _btf = new();
    private readonly ProgramSpec _spec;
    private int _long, _context;

    internal ProgramBtf(ProgramSpec spec)
    {
        _spec = spec;
        AssembledCode code = spec.Code;
        Funcs = new FuncInfo[code.Subprograms.Count + 1];
        _long = _btf.Int("long", 8, signed: true);
        Funcs[0] = new(0, (uint)Function(spec.Name, FuncLinkage.Global, [FuncParam.Context]));
        for (int i = 0; i < code.Subprograms.Count; i++)
        {
            Subprogram s = code.Subprograms[i];
            Funcs[i + 1] = new((uint)s.Slot, (uint)Function(s.Name, s.Linkage, s.Parameters));
        }
        Lines = MakeLines(code);
    }

    internal FuncInfo[] Funcs { get; }
    internal LineInfo[] Lines { get; }

    internal static bool Needed(AssembledCode code)
    {
        if (code.Subprograms.Count > 0)
            return true;
        foreach (SourceMark mark in code.Marks.Span)
            if (mark.IsKnown)
                return true;
        return false;
    }

    internal KernelFd Load(IBpfSys sys) => _btf.Load(_spec.Name, sys);

    private int Function(string name, FuncLinkage linkage, IReadOnlyList<FuncParam> parameters)
    {
        Span<int> types = stackalloc int[parameters.Count];
        for (int i = 0; i < types.Length; i++)
            types[i] = parameters[i].Kind switch
            {
                FuncParamKind.Context => Context(),
                FuncParamKind.Memory => _btf.Ptr(Memory(parameters[i].Size)),
                _ => _long,
            };
        int func = _btf.Func(Identifier(name), _btf.FuncProto(_long, types), linkage);
        for (int i = 0; i < types.Length; i++)
        {
            if (parameters[i].NonNull)
                _btf.DeclTag("arg:nonnull", func, i);
            // The main program comes first, before its id is known, and needs no tag.
            if (parameters[i].Kind == FuncParamKind.Context && ContextName.Length == 0 && Funcs[0].TypeId != 0)
                _btf.DeclTag("arg:ctx", func, i);
        }
        return func;
    }

    // The verifier knows a context argument by the name of the struct behind the pointer, one per program type
    // (include/linux/bpf_types.h). Types with a plain u64 context need the "arg:ctx" tag of 6.8 for global functions.
    private int Context()
    {
        if (_context != 0)
            return _context;
        string name = ContextName;
        int target = name.Length == 0 ? _long : _btf.Struct(name, 0, []);
        if (_spec.Type == ProgramType.KProbe)
            target = _btf.Typedef("bpf_user_pt_regs_t", target);
        return _context = _btf.Ptr(target);
    }

    private string ContextName => _spec.Type switch
    {
        ProgramType.RawTracepoint => "bpf_raw_tracepoint_args",
        ProgramType.KProbe => "pt_regs",
        ProgramType.PerfEvent => "bpf_perf_event_data",
        ProgramType.Xdp => "xdp_md",
        ProgramType.SocketFilter or ProgramType.SchedCls => "__sk_buff",
        _ => "",
    };

    private readonly Dictionary<int, int> _memory = [];

    private int Memory(int size)
    {
        if (!_memory.TryGetValue(size, out int type))
        {
            int bytes = _btf.Array(_btf.Int("char", 1, signed: true), _long, size);
            _memory[size] = type = _btf.Struct("mem" + size, size, [new BtfMember("b", bytes, 0)]);
        }
        return type;
    }

    private LineInfo[] MakeLines(AssembledCode code)
    {
        ReadOnlySpan<SourceMark> marks = code.Marks.Span;
        ReadOnlySpan<Instruction> slots = code.Slots.Span;
        var lines = new List<LineInfo>(marks.Length / 4 + 1);
        SourceMark last = default;
        int nextFunction = 0;
        bool any = false;
        for (int i = 0; i < marks.Length; i++)
        {
            // Each function must begin with a line of its own, known or not.
            bool start = i == (nextFunction == 0 ? 0 : nextFunction <= code.Subprograms.Count ? code.Subprograms[nextFunction - 1].Slot : -1);
            if (start)
                nextFunction++;
            SourceMark mark = marks[i];
            if (start || (mark.IsKnown && mark != last))
            {
                lines.Add(Line(i, mark));
                any |= mark.IsKnown;
                last = mark;
            }
            if (slots[i].IsWide)
                i++; // No line may begin at the second half.
        }
        return any ? [.. lines] : [];
    }

    private LineInfo Line(int slot, SourceMark mark)
    {
        if (!mark.IsKnown || (uint)mark.File >= (uint)_spec.Sources.Count)
            return new((uint)slot, 0, 0, 0);
        SourceFile file = _spec.Sources[mark.File];
        uint place = ((uint)Math.Min(mark.Line, MaxLine) << 10) | (uint)Math.Clamp(mark.Column, 0, MaxColumn);
        return new((uint)slot, (uint)_btf.String(file.Name), (uint)_btf.String(file.Line(mark.Line)), place);
    }

    /// <summary>BTF accepts only C identifiers as function names.</summary>
    internal static string Identifier(string name)
    {
        Span<char> text = stackalloc char[Math.Min(name.Length, 127)];
        for (int i = 0; i < text.Length; i++)
            text[i] = char.IsAsciiLetter(name[i]) || name[i] == '_' || (i > 0 && char.IsAsciiDigit(name[i])) ? name[i] : '_';
        return text.Length == 0 ? "_" : new string(text);
    }
}
