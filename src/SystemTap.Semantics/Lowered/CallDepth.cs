namespace SystemTap.Semantics.Lowered;

/// <summary>How deep calls may nest when MAXNESTING does not say: the deepest chain of the program, ten more when a function calls itself. The same for every engine.</summary>
public static class CallDepth
{
    /// <summary>Most active calls at one time.</summary>
    public static int Of(LoweredProgram program)
    {
        if (program.Limits.MaxNesting > 0)
        {
            return program.Limits.MaxNesting;
        }

        // Callees stand before callers, so that a callee without a depth yet is the closing edge of a ring.
        var depths = new Dictionary<Function, int>(ReferenceEqualityComparer.Instance);
        var deepest = 1;
        var recursive = false;
        foreach (var function in program.Functions)
        {
            recursive |= function.IsRecursive;
            var below = 0;
            foreach (var callee in Callees(function))
            {
                below = Math.Max(below, depths.GetValueOrDefault(callee));
            }

            depths[function] = below + 1;
            deepest = Math.Max(deepest, below + 1);
        }

        return recursive ? deepest + 10 : deepest;
    }

    /// <summary>The functions that a function's body calls itself.</summary>
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
                Found.Add(c.Function);
            }

            base.Visit(expression);
        }
    }
}
