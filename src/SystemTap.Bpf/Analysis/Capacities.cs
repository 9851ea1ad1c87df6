using SystemTap.Language.Syntax;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Analysis;

// How long can each string get?
// -----------------------------
// Every variable, key, parameter and result has its own bound, in content bytes without the NUL: a literal its length, execname 15, a
// concatenation the sum of its parts, everything else MAXSTRINGLEN-1. The bounds are the least solution of "at least the bound of
// all that is stored there"; loops such as `s = s . "x"` would climb one step a round, so after a few rounds what still grows is set to the limit.
//
// Why it matters: `n[execname()]++` with a key of 512 bytes hashes 512 bytes per event; with 16 it is as fast as a long.
// Host handlers count too: they write the same maps.

/// <summary>Bounds on the length of strings.</summary>
internal sealed class Capacities : LoweredWalker
{
    private const int RoundsBeforeGivingUp = 4;

    private readonly int _limit;
    private readonly int _deepest;
    private readonly Dictionary<object, int> _bounds = new(ReferenceEqualityComparer.Instance);
    private readonly Dictionary<(Global, int), int> _keys = [];
    private readonly Func<IntrinsicExpr, int> _intrinsic;
    private bool _changed, _widen;
    private Function? _function;

    private Capacities(Limits limits, Func<IntrinsicExpr, int> intrinsic)
    {
        _limit = limits.MaxStringLength - 1;
        _deepest = limits.MaxBackTrace;
        _intrinsic = intrinsic;
    }

    /// <summary>Bytes of a zero-padded buffer for that much text and its NUL: a multiple of 8.</summary>
    public static int BufferFor(int length) => (length + 8) & ~7;

    /// <summary>Solves the bounds of a program.</summary>
    /// <param name="program">The program.</param>
    /// <param name="intrinsic">Bound of an intrinsic's result, −1 for the limit.</param>
    public static Capacities Of(LoweredProgram program, Func<IntrinsicExpr, int> intrinsic)
    {
        var result = new Capacities(program.Limits, intrinsic);
        foreach (var global in program.Globals)
        {
            result.Raise(global, global.InitialString.Length);
        }

        var round = 0;
        do
        {
            result._changed = false;
            result._widen = ++round > RoundsBeforeGivingUp;
            foreach (var function in program.Functions)
            {
                result._function = function;
                result.Visit(function.Body);
            }

            result._function = null;
            foreach (var probe in program.Probes)
            {
                result.Visit(probe.Body);
                if (probe.Spec is ProcfsSpec { Value: { } value })
                {
                    result.Raise(value, result._limit);
                }
            }
        }
        while (result._changed);
        return result;
    }

    /// <summary>Raises the bound of a local after the fact: merged handlers share their locals.</summary>
    public void AtLeast(Local local, int bound)
    {
        if (bound > Of(local))
        {
            _bounds[local] = bound;
        }
    }

    /// <summary>Most bytes a local can hold.</summary>
    public int Of(Local local) => _bounds.GetValueOrDefault(local);

    /// <summary>Most bytes a function returns.</summary>
    public int Of(Function function) => _bounds.GetValueOrDefault(function);

    /// <summary>Most bytes of a string scalar or array value.</summary>
    public int Of(Global global) => _bounds.GetValueOrDefault(global);

    /// <summary>Most bytes of key <paramref name="index"/> of an array.</summary>
    public int OfKey(Global array, int index) => _keys.GetValueOrDefault((array, index));

    /// <summary>Most bytes of a string expression.</summary>
    public int Of(Expr e)
    {
        var bound = e switch
        {
            StringConst c => c.Value.Length,
            ReadExpr { Place: LocalPlace p } => Of(p.Local),
            ReadExpr { Place: GlobalPlace p } => Of(p.Global),
            ReadExpr { Place: ElementPlace p } => Of(p.Array),
            AssignExpr a => Of(a.Value),
            UpdateExpr { Place: LocalPlace p } => Of(p.Local),
            UpdateExpr { Place: GlobalPlace p } => Of(p.Global),
            UpdateExpr { Place: ElementPlace p } => Of(p.Array),
            ConditionalExpr c => Math.Max(Of(c.WhenTrue), Of(c.WhenFalse)),
            ConcatExpr c => Sum(c.Parts),
            CallExpr c => OfCall(c.Function),
            FormatExpr f => OfFormat(f.Segments, f.Arguments),
            SequenceExpr s => Of(s.Value),
            ColumnExpr c => c.Length,
            RawBytesExpr { Count: LongConst { Value: >= 0 } n } => (int)Math.Min(n.Value, _limit),
            IntrinsicExpr i => OfIntrinsic(i),
            _ => _limit,
        };
        return Math.Min(bound, _limit);
    }

    private int OfCall(Function f)
    {
        var most = 0;
        for (Function? at = f; at is not null; at = at.NextOverload)
        {
            most = Math.Max(most, Of(at));
        }

        return most;
    }

    private int OfIntrinsic(IntrinsicExpr e)
    {
        switch (e.Intrinsic.Id)
        {
            case IntrinsicId.ExecName:
                return 15;
            case IntrinsicId.ProbeType:
                return 24;
            case IntrinsicId.ProbeFunction or IntrinsicId.PointFunction:
                return ProbedFunction.LongestName;
            case IntrinsicId.ProbeModule:
                return ProbedFunction.LongestModule;
            case IntrinsicId.KernelStackRaw:
                return 8 * Math.Min(_deepest, 127);
            case IntrinsicId.CharString:
                return 1;
            case IntrinsicId.ToLower or IntrinsicId.ToUpper:
                return Of(e.Arguments[0]);
            case IntrinsicId.Substring:
                var text = Of(e.Arguments[0]);
                return e.Arguments[2] is LongConst { Value: >= 0 } n ? (int)Math.Min(text, n.Value) : text;
            case IntrinsicId.EscapeText:
                var longest = (int)Math.Min(_limit, (4L * Of(e.Arguments[0])) + 2);
                return e.Arguments[1] is LongConst { Value: > 0 } cut ? (int)Math.Max(5, Math.Min(longest, cut.Value)) : Math.Max(5, longest);
            case IntrinsicId.Tokenize:
                return e.Arguments[2] is LongConst { Value: 0 } ? Of(e.Arguments[0]) : _limit;
            case IntrinsicId.KernelString or IntrinsicId.UserString:
                return e.Arguments[1] is LongConst { Value: >= 0 } most ? (int)Math.Min(_limit, most.Value) : _limit;
            default:
                var bound = _intrinsic(e);
                return bound < 0 ? _limit : bound;
        }
    }

    private int Sum(IReadOnlyList<Expr> parts)
    {
        var sum = 0;
        foreach (var part in parts)
        {
            sum = Math.Min(_limit, sum + Of(part));
        }

        return sum;
    }

    /// <summary>Most bytes of formatted text.</summary>
    public int OfFormat(IReadOnlyList<FormatSegment> segments, IReadOnlyList<Expr> arguments) => (int)Math.Min(LongestFormat(segments, arguments), _limit);

    /// <summary>Most bytes of formatted text before it is cut to what a string holds.</summary>
    public long LongestFormat(IReadOnlyList<FormatSegment> segments, IReadOnlyList<Expr> arguments)
    {
        var sum = 0L;
        var next = 0;
        foreach (var s in segments)
        {
            if (s.Conversion == FormatConversion.Literal)
            {
                sum += s.Text.Length;
                continue;
            }

            if (s.WidthKind == FormatSize.Dynamic || s.PrecisionKind == FormatSize.Dynamic)
            {
                return int.MaxValue / 4;
            }

            var argument = arguments[next++];
            var natural = s.Conversion switch
            {
                FormatConversion.Signed => 20,
                FormatConversion.Unsigned => 20,
                FormatConversion.HexLower or FormatConversion.HexUpper or FormatConversion.Pointer => 18,
                FormatConversion.Octal => 23,
                FormatConversion.Char => s.Flag == FormatFlag.Alternate ? 4 : 1,
                FormatConversion.String => s.PrecisionKind == FormatSize.Fixed ? Math.Min(s.Precision, Of(argument)) : Of(argument),
                FormatConversion.Binary => 8,
                FormatConversion.Memory => s.PrecisionKind == FormatSize.Fixed ? s.Precision : 1,
                FormatConversion.MemoryHex => 2 * (s.PrecisionKind == FormatSize.Fixed ? s.Precision : 1),
                _ => _limit,
            };
            if (s.Conversion != FormatConversion.String && s.PrecisionKind == FormatSize.Fixed)
            {
                natural = Math.Max(natural, s.Precision + 3);
            }

            sum += Math.Max(natural, s.WidthKind == FormatSize.Fixed ? s.Width : 0);
        }

        return sum;
    }

    public override void Visit(Expr? expression)
    {
        base.Visit(expression);
        switch (expression)
        {
            case ReadExpr e:
                Keys(e.Place);
                break;
            case AssignExpr e:
                Keys(e.Place);
                Store(e.Place, e.Value, 0);
                break;
            case UpdateExpr { Type: ScriptType.String } e:
                Keys(e.Place);
                Store(e.Place, e.Operand, e.Place switch
                {
                    LocalPlace p => Of(p.Local),
                    GlobalPlace p => Of(p.Global),
                    ElementPlace p => Of(p.Array),
                    _ => 0,
                });
                break;
            case UpdateExpr e:
                Keys(e.Place);
                break;
            case InExpr e:
                Keys(e.Array, e.Keys);
                break;
            case StatExpr e:
                Keys(e.Aggregate, e.Keys);
                break;
            case BucketExpr e:
                Keys(e.Aggregate, e.Keys);
                break;
            case HistogramTextExpr e:
                Keys(e.Aggregate, e.Keys);
                break;
            case CallExpr e:
                for (Function? f = e.Function; f is not null; f = f.NextOverload)
                {
                    for (var i = 0; i < e.Arguments.Count; i++)
                    {
                        if (e.Arguments[i].Type == ScriptType.String)
                        {
                            Raise(f.Locals[i], Of(e.Arguments[i]));
                        }
                    }
                }

                break;
        }
    }

    public override void Visit(Stmt? statement)
    {
        base.Visit(statement);
        switch (statement)
        {
            case ForeachStmt s:
                for (var i = 0; i < s.Keys.Count; i++)
                {
                    if (s.Keys[i].Type == ScriptType.String)
                    {
                        Raise(s.Keys[i], OfKey(s.Array, i));
                    }
                }

                if (s.Value is { Type: ScriptType.String })
                {
                    Raise(s.Value, Of(s.Array));
                }

                if (s.Slice is not null)
                {
                    Keys(s.Array, s.Slice);
                }

                break;
            case DeleteStmt { Keys: { } keys } s:
                Keys(s.Global, keys);
                break;
            case StatAddStmt s:
                Keys(s.Aggregate, s.Keys);
                break;
            case ReturnStmt { Value: { Type: ScriptType.String } value } when _function is not null:
                Raise(_function, Of(value));
                break;
            case TryStmt { Message: { } message }:
                Raise(message, _limit);
                break;
            case Deferral.HostStmt s:
                // Stap runs it, but what it stores may lie in a map that handlers in the kernel read.
                Visit(s.Body);
                break;
        }
    }

    private void Store(Place place, Expr value, int before)
    {
        if (place.Type != ScriptType.String)
        {
            return;
        }

        var bound = Math.Min(_limit, before + Of(value));
        Raise(place switch
        {
            LocalPlace p => p.Local,
            GlobalPlace p => p.Global,
            _ => (object)((ElementPlace)place).Array,
        }, bound);
    }

    private void Keys(Place place)
    {
        if (place is ElementPlace e)
        {
            Keys(e.Array, e.Keys);
        }
    }

    private void Keys(Global array, IReadOnlyList<Expr?> keys)
    {
        for (var i = 0; i < keys.Count; i++)
        {
            if (keys[i] is { Type: ScriptType.String } key)
            {
                var bound = Of(key);
                var known = _keys.GetValueOrDefault((array, i), -1);
                if (bound > known)
                {
                    _keys[(array, i)] = _widen ? _limit : bound;
                    _changed = true;
                }
            }
        }
    }

    private void Raise(object what, int bound)
    {
        var known = _bounds.GetValueOrDefault(what, -1);
        if (bound > known)
        {
            _bounds[what] = _widen && known >= 0 ? _limit : bound;
            _changed = true;
        }
    }
}
