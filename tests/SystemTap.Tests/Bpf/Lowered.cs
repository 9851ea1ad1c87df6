using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Tests.Bpf;

/// <summary>Short words to write lowered programs by hand.</summary>
internal static class L
{
    public static readonly SourceSpan At = new(new SourceText("test.stp", "probe test { }\n"), 0, 5);

    public static Expr Num(long v) => new LongConst(v, At);

    public static Expr Str(string v) => new StringConst(v, At);

    public static Expr Bin(BinaryOperator op, Expr a, Expr b) => new BinaryExpr(op, a, b, At);

    public static Expr Add(Expr a, Expr b) => Bin(BinaryOperator.Add, a, b);

    public static Expr Get(Local l) => new ReadExpr(new LocalPlace(l), At);

    public static Expr Get(Global g, params Expr[] keys) => new ReadExpr(Place(g, keys), At);

    public static Place Place(Global g, params Expr[] keys) => keys.Length == 0 ? new GlobalPlace(g) : new ElementPlace(g, keys);

    public static Expr Set(Local l, Expr v) => new AssignExpr(new LocalPlace(l), v, At);

    public static Expr Set(Place p, Expr v) => new AssignExpr(p, v, At);

    public static Expr Inc(Place p, long by = 1, bool old = true) => new UpdateExpr(p, BinaryOperator.Add, Num(by), old, At);

    public static Stmt Do(Expr e) => new ExprStmt(e, At);

    public static Stmt Block(params Stmt[] s) => new BlockStmt(s, At);

    public static Stmt If(Expr c, Stmt then, Stmt? otherwise = null) => new IfStmt(c, then, otherwise, At);

    public static Expr Call(IntrinsicId id, params Expr[] a) => new IntrinsicExpr(IntrinsicTable.Get(id), a, At);

    public static Expr Arg(int i, int size = 8, bool signed = true) => new ContextExpr(ContextValue.TracepointArgument, i, At) { Size = size, IsSigned = signed };

    public static FormatSegment Seg(FormatConversion c, string text = "") => new(c, text);

    public static Stmt Print(params Expr[] args)
    {
        var segments = new List<FormatSegment>();
        foreach (var a in args)
        {
            segments.Add(Seg(a.Type == ScriptType.String ? FormatConversion.String : FormatConversion.Signed));
            segments.Add(Seg(FormatConversion.Literal, " "));
        }

        return new PrintStmt(segments, args, At);
    }

    public static Expr Eq(Expr a, Expr b, BinaryOperator op = BinaryOperator.Equal) => new StringCompareExpr(op, a, b, At);

    public static Expr Cat(params Expr[] parts) => new ConcatExpr(parts, At);
}

/// <summary>A program under construction.</summary>
internal sealed class ProgramUnderTest
{
    private readonly List<Global> _globals = [];
    private readonly List<Function> _functions = [];
    private readonly List<Probe> _probes = [];

    public Limits Limits { get; set; } = new();

    public Global Long(string name, long initial = 0) => Add(new Global { Index = _globals.Count, Name = name, Type = ScriptType.Long, InitialLong = initial });

    public Global Text(string name, string initial = "") => Add(new Global { Index = _globals.Count, Name = name, Type = ScriptType.String, InitialString = initial });

    public Global Array(string name, ScriptType type, int max, params ScriptType[] keys) =>
        Add(new Global { Index = _globals.Count, Name = name, Type = type, KeyTypes = keys, MaxEntries = max });

    public Global Wrapping(string name, int max, params ScriptType[] keys) =>
        Add(new Global { Index = _globals.Count, Name = name, Type = ScriptType.Long, KeyTypes = keys, MaxEntries = max, Wraps = true });

    public Global Stat(string name, StatisticShape shape, params ScriptType[] keys) =>
        Add(new Global { Index = _globals.Count, Name = name, Type = ScriptType.Statistics, Shape = shape, KeyTypes = keys, MaxEntries = 100 });

    public Function Function(string name, ScriptType result, int parameters, params Local[] locals)
    {
        var f = new Function { Name = name, ParameterCount = parameters, Locals = locals, ReturnType = result };
        _functions.Add(f);
        return f;
    }

    public Probe Probe(ProbeSpec spec, Stmt body, params Local[] locals)
    {
        var p = new Probe { Index = _probes.Count, Spec = spec, PointText = $"point{_probes.Count}", Name = $"name{_probes.Count}", Locals = locals, Body = body, Span = L.At };
        _probes.Add(p);
        return p;
    }

    public Probe Tracepoint(Stmt body, params Local[] locals) => Probe(new TracepointSpec("sched_switch", "sched"), body, locals);

    public LoweredProgram Build() => new() { Globals = _globals, Functions = _functions, Probes = _probes, Limits = Limits };

    private Global Add(Global g)
    {
        _globals.Add(g);
        return g;
    }
}
