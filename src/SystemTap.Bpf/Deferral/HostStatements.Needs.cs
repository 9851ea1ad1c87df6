using SystemTap.Bpf.Analysis;
using SystemTap.Language.Text;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Deferral;

// What statements, expressions and functions need: stap, the kernel, or a global that has moved to stap.

internal sealed partial class HostStatements
{
    private sealed class FunctionFacts
    {
        public bool NeedsStap { get; set; }

        public bool NeedsKernel { get; init; }

        public HashSet<Global> Globals { get; } = new(ReferenceEqualityComparer.Instance);
    }

    private FunctionFacts Facts(Function function)
    {
        if (!_functions.TryGetValue(function, out var facts))
        {
            _functions[function] = facts = new FunctionFacts { NeedsKernel = NeedsKernel(function) };
            for (Function? f = function; f is not null; f = f.NextOverload)
            {
                new FunctionWalker(this, facts).Visit(f.Body);
            }
        }

        return facts;
    }

    /// <summary>Needs stap: makes a text only stap can make (other than to print it), or touches a global that has moved.</summary>
    private bool Needs(Stmt? s)
    {
        var walker = new NeedWalker(this);
        walker.Visit(s);
        return walker.Needed;
    }

    /// <summary>The same of a statement whose failures are caught.</summary>
    private bool TriedNeeds(Stmt s)
    {
        var walker = new NeedWalker(this, tries: 1);
        walker.Visit(s);
        return walker.Needed;
    }

    private bool Needs(Expr? e)
    {
        var walker = new NeedWalker(this);
        walker.Visit(e);
        return walker.Needed;
    }

    /// <summary>Finds texts that only stap can make, in called functions too.</summary>
    internal sealed class StapsOnlyFinder : CallingWalker
    {
        private bool _found;

        public static bool In(Expr e)
        {
            var finder = new StapsOnlyFinder();
            finder.Visit(e);
            return finder._found;
        }

        /// <summary>In the handlers that run in the kernel.</summary>
        public static bool In(LoweredProgram program)
        {
            var finder = new StapsOnlyFinder();
            foreach (var probe in program.Probes)
            {
                if (probe.Spec.RunsInKernel)
                {
                    finder.Visit(probe.Body);
                }
            }

            return finder._found;
        }

        public override void Visit(Expr? expression)
        {
            _found |= expression is HistogramTextExpr || (expression is IntrinsicExpr i && IsStapsOnly(i.Intrinsic.Id));
            base.Visit(expression);
        }
    }

    /// <summary>Finds texts of stap that may fail to be made, in called functions too.</summary>
    private sealed class FailureFinder : CallingWalker
    {
        private bool _found;

        public static bool In(Expr e)
        {
            var finder = new FailureFinder();
            finder.Visit(e);
            return finder._found;
        }

        public override void Visit(Expr? expression)
        {
            _found |= expression is IntrinsicExpr i && IsStapsOnly(i.Intrinsic.Id) && i.Intrinsic.Has(IntrinsicTraits.Fallible);
            base.Visit(expression);
        }
    }

    private sealed class NeedWalker(HostStatements owner, int tries = 0) : LoweredWalker
    {
        private int _tries = tries;

        public bool Needed { get; private set; }

        public override void Visit(Stmt? statement)
        {
            switch (statement)
            {
                case TryStmt t:
                    _tries++;
                    Visit(t.Body);
                    _tries--;
                    Visit(t.Handler);
                    return;
                case PrintStmt p when _tries > 0 && p.Arguments.Any(FailureFinder.In):
                    // Its failure is caught where it happens, in stap.
                    Needed = true;
                    return;
                case PrintStmt p:
                    // What is printed is deferred without our doing; only its reads of moved globals count.
                    foreach (var argument in p.Arguments)
                    {
                        Needed |= new GlobalFinder(owner).Touches(argument) || KernelOperation.OnStapsText(argument);
                    }

                    return;
                case ExprStmt { Expression: IntrinsicExpr { Intrinsic.Id: IntrinsicId.Log } log }:
                    Needed |= new GlobalFinder(owner).Touches(log.Arguments[0]) || KernelOperation.OnStapsText(log.Arguments[0]);
                    return;
                case DeleteStmt d:
                    Needed |= owner._moved.Contains(d.Global);
                    break;
                case StatAddStmt a:
                    Needed |= owner._moved.Contains(a.Aggregate);
                    break;
                case ForeachStmt f:
                    Needed |= owner._moved.Contains(f.Array);
                    break;
            }

            base.Visit(statement);
        }

        public override void Visit(Expr? expression)
        {
            Needed |= expression switch
            {
                IntrinsicExpr i => IsStapsOnly(i.Intrinsic.Id),
                HistogramTextExpr => true,
                CallExpr c => owner.Facts(c.Function) is var facts && (facts.NeedsStap || facts.Globals.Overlaps(owner._moved)),
                _ => GlobalOf(expression) is { } g && owner._moved.Contains(g),
            };
            base.Visit(expression);
        }
    }

    /// <summary>Finds operations that printing cannot be left with – a match, the pieces of a text – on texts that only stap can make.</summary>
    private sealed class KernelOperation : LoweredWalker
    {
        private int _inside;
        private bool _found;

        public static bool OnStapsText(Expr e)
        {
            var finder = new KernelOperation();
            finder.Visit(e);
            return finder._found;
        }

        public override void Visit(Expr? expression)
        {
            _found |= _inside > 0 && expression is IntrinsicExpr i && IsStapsOnly(i.Intrinsic.Id);
            var isKernels = expression is not null && !Purity.IsDeferrable(expression) && !(expression is IntrinsicExpr own && IsStapsOnly(own.Intrinsic.Id));
            _inside += isKernels ? 1 : 0;
            base.Visit(expression);
            _inside -= isKernels ? 1 : 0;
        }
    }

    private sealed class GlobalFinder(HostStatements owner) : LoweredWalker
    {
        private bool _found;

        public bool Touches(Expr e)
        {
            Visit(e);
            return _found;
        }

        public override void Visit(Expr? expression)
        {
            _found |= GlobalOf(expression) is { } g && owner._moved.Contains(g)
                || expression is CallExpr c && owner.Facts(c.Function).Globals.Overlaps(owner._moved);
            base.Visit(expression);
        }
    }

    /// <summary>Stap cannot evaluate it for a handler of the kernel.</summary>
    private static bool IsKernels(Expr? e) => e is DerefExpr or ContextExpr or EmbeddedCExpr || (e is IntrinsicExpr i && !StapCan(i.Intrinsic));

    /// <summary>Something in the function, or in what it calls, only the kernel can evaluate.</summary>
    public static bool NeedsKernel(Function function)
    {
        var walker = new KernelNeed();
        walker.Follow(function);
        return walker.Found;
    }

    private sealed class KernelNeed : LoweredWalker
    {
        private readonly HashSet<Function> _seen = new(ReferenceEqualityComparer.Instance);

        public bool Found { get; private set; }

        public void Follow(Function function)
        {
            for (var f = function; f is not null && _seen.Add(f); f = f.NextOverload)
            {
                Found |= f.EmbeddedCode is not null;
                Visit(f.Body);
            }
        }

        public override void Visit(Expr? expression)
        {
            Found |= IsKernels(expression);
            if (expression is CallExpr c)
            {
                Follow(c.Function);
            }

            base.Visit(expression);
        }
    }

    private sealed class FunctionWalker(HostStatements owner, FunctionFacts facts) : LoweredWalker
    {
        public override void Visit(Stmt? statement)
        {
            switch (statement)
            {
                case PrintStmt:
                    // Its texts are deferred without our doing.
                    var before = facts.NeedsStap;
                    base.Visit(statement);
                    facts.NeedsStap = before;
                    return;
                case DeleteStmt d:
                    facts.Globals.Add(d.Global);
                    break;
                case StatAddStmt a:
                    facts.Globals.Add(a.Aggregate);
                    break;
                case ForeachStmt f:
                    facts.Globals.Add(f.Array);
                    break;
            }

            base.Visit(statement);
        }

        public override void Visit(Expr? expression)
        {
            if (GlobalOf(expression) is { IsReadOnly: false } g)
            {
                facts.Globals.Add(g);
            }

            switch (expression)
            {
                case IntrinsicExpr i:
                    facts.NeedsStap |= IsStapsOnly(i.Intrinsic.Id);
                    break;
                case HistogramTextExpr:
                    facts.NeedsStap = true;
                    break;
                case CallExpr c:
                    var other = owner.Facts(c.Function);
                    facts.NeedsStap |= other.NeedsStap;
                    facts.Globals.UnionWith(other.Globals);
                    break;
            }

            base.Visit(expression);
        }
    }

    /// <summary>The function only computes a value: it can be called before it is asked for.</summary>
    private static bool IsQuiet(Function f) => f.ReturnType != ScriptType.Void && (f.IsPure || !EffectFinder.In(f));
}
