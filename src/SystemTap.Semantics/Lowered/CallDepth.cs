namespace SystemTap.Semantics.Lowered;

/// <summary>
/// How deep calls may nest when MAXNESTING does not say: the deepest chain of the program, ten more when a function calls itself. The same for every engine.
/// An overload that <c>next</c> may reach counts as a callee of the call: the call site tries one after the other, so all stand at the same depth.
/// </summary>
public static class CallDepth
{
    /// <summary>Most active calls at one time.</summary>
    public static int Of(LoweredProgram program)
    {
        if (program.Limits.MaxNesting > 0)
        {
            return program.Limits.MaxNesting;
        }

        var depths = new Dictionary<Function, int>(ReferenceEqualityComparer.Instance);
        var deepest = 1;
        var recursive = false;
        foreach (var function in program.Functions)
        {
            recursive |= function.IsRecursive;
            deepest = Math.Max(deepest, Of(function, depths));
        }

        return recursive ? deepest + 10 : deepest;
    }

    // A callee that is being looked at is the closing edge of a ring and adds nothing.
    private static int Of(Function function, Dictionary<Function, int> depths)
    {
        if (depths.TryGetValue(function, out var known))
        {
            return known;
        }

        depths[function] = 0;
        var below = 0;
        foreach (var callee in Callees(function))
        {
            below = Math.Max(below, Of(callee, depths));
        }

        return depths[function] = below + 1;
    }

    /// <summary>The functions that a function's body calls itself, with the overloads <c>next</c> may reach.</summary>
    public static IReadOnlyCollection<Function> Callees(Function function)
    {
        var finder = new Finder();
        finder.Visit(function.Body);
        return finder.Found;
    }

    private sealed class Finder : LoweredWalker
    {
        public HashSet<Function> Found { get; } = new(ReferenceEqualityComparer.Instance);

        public override void Visit(Expr? expression)
        {
            if (expression is CallExpr c)
            {
                for (var f = c.Function; f is not null; f = f.NextOverload)
                {
                    Found.Add(f);
                }
            }

            base.Visit(expression);
        }
    }
}
