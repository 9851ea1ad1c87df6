using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;

namespace SystemTap.KernelModule.Translation;

/// <summary>
/// How much text space a handler can need: its string variables, the intermediate strings of its hungriest statement, and the same for the deepest
/// chain of calls. An upper bound, since the run-time turns a shortage into a run-time error.
/// </summary>
internal sealed class TextSpace(LoweredProgram program, int maxNesting)
{
    private const long Most = 4 << 20;

    private long MaxBackTrace => program.Limits.MaxBackTrace;

    private readonly long _unit = ((program.Limits.MaxStringLength + 7) & ~7) + 16;
    private readonly Dictionary<Function, long> _needs = new(ReferenceEqualityComparer.Instance);

    /// <summary>Bytes for any handler of the program.</summary>
    public int Bytes()
    {
        foreach (var function in program.Functions)
        {
            var own = Own(function.Locals) + (function.EmbeddedCode is null ? 0 : 2 * _unit);
            _needs[function] = own;
            var whole = own + Need(function.Body);
            _needs[function] = function.IsRecursive ? whole * (maxNesting + 1) : whole;
        }

        long most = 1024;
        foreach (var probe in program.Probes)
        {
            most = Math.Max(most, Own(probe.Locals) + Need(probe.Body));
        }

        return (int)Math.Min(most + _unit, Most);
    }

    private long Own(IReadOnlyList<Local> locals) => locals.Count(l => l.Type == ScriptType.String) * _unit;

    private long Need(Stmt? statement) => statement switch
    {
        null => 0,
        BlockStmt s => s.Statements.Count == 0 ? 0 : s.Statements.Max(Need),
        IfStmt s => Math.Max(Sum(s.Condition), Math.Max(Need(s.Then), Need(s.Else))),
        LoopStmt s => Math.Max(Math.Max(Sum(s.Condition), Sum(s.Step)), Need(s.Body)),
        ForeachStmt s => Sum([.. s.BucketKeys, .. s.Slice ?? [], s.Limit]) + Buckets(s.OverBuckets ? s.Array : null) + Need(s.Body),
        TryStmt s => Math.Max(Need(s.Body), Need(s.Handler)),
        _ => Sum(statement),
    };

    private long Buckets(Global? global) => global?.Shape is { } shape ? (shape.BucketCount * 10L) + 32 : 0;

    private long Sum(Expr? expression) => Sum([expression]);

    private long Sum(IReadOnlyList<Expr?> expressions)
    {
        var sum = new Adder(this);
        foreach (var expression in expressions)
        {
            sum.Visit(expression);
        }

        return sum.Total + sum.Deepest;
    }

    private long Sum(Stmt statement)
    {
        var sum = new Adder(this);
        sum.Visit(statement);
        return sum.Total + sum.Deepest;
    }

    private sealed class Adder(TextSpace space) : LoweredWalker
    {
        public long Total { get; private set; }

        public long Deepest { get; private set; }

        public override void Visit(Expr? expression)
        {
            switch (expression)
            {
                case StringConst:
                    break;
                case HistogramTextExpr e:
                    Total += space.Buckets(e.Aggregate);
                    break;
                case BucketExpr e:
                    Total += space.Buckets(e.Aggregate);
                    break;
                case CallExpr e:
                    for (var f = e.Function; f is not null; f = f.NextOverload)
                    {
                        Deepest = Math.Max(Deepest, space._needs.GetValueOrDefault(f));
                    }

                    Total += e.Type == ScriptType.String ? 2 * space._unit : 0;
                    break;
                case IntrinsicExpr { Intrinsic.Id: IntrinsicId.EscapeText or IntrinsicId.KernelBufferQuoted or IntrinsicId.UserBufferQuoted }:
                    Total += 3 * space._unit;
                    break;
                case IntrinsicExpr { Intrinsic.Id: >= IntrinsicId.ProbeFunction and <= IntrinsicId.UserSymbolPlace }:
                    // A buffer for the kernel's name of an address, the addresses of a stack, and the text.
                    Total += (3 * space._unit) + 800 + (8 * space.MaxBackTrace);
                    break;
                case { Type: ScriptType.String }:
                    Total += 2 * space._unit;
                    break;
            }

            base.Visit(expression);
        }

        public override void Visit(Stmt? statement)
        {
            Total += statement is ForeachStmt { OverBuckets: true } s ? space.Buckets(s.Array) : 0;
            base.Visit(statement);
        }
    }
}
