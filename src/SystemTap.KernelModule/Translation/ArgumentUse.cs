using SystemTap.Semantics.Lowered;

namespace SystemTap.KernelModule.Translation;

/// <summary>How many of a tracepoint's or system call's arguments a handler reads: the run-time hands over only those.</summary>
internal sealed class ArgumentUse : LoweredWalker
{
    // What embedded C reads is not known.
    private const int Every = 12;

    private readonly HashSet<Function> _seen = new(ReferenceEqualityComparer.Instance);
    private int _count;

    public static int Of(Probe probe)
    {
        var use = new ArgumentUse();
        use.Visit(probe.Body);
        return use._count;
    }

    public override void Visit(Expr? expression)
    {
        switch (expression)
        {
            case ContextExpr { Value: ContextValue.TracepointArgument or ContextValue.SyscallArgument } e:
                _count = Math.Max(_count, e.Index + 1);
                break;
            case EmbeddedCExpr:
                _count = Every;
                break;
            case CallExpr e:
                for (var f = e.Function; f is not null; f = f.NextOverload)
                {
                    if (_seen.Add(f))
                    {
                        _count = f.EmbeddedCode is not null ? Every : _count;
                        Visit(f.Body);
                    }
                }

                break;
        }

        base.Visit(expression);
    }
}
