using SystemTap.Language.Diagnostics;
using SystemTap.Language.Text;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Lowering;

namespace SystemTap.Semantics.Elaboration;

/// <summary>What needs the whole lowered program: recursion, purity, order of functions, arrays changed while iterated, empty probes.</summary>
internal sealed class Finish
{
    private readonly ProgramBuilder _builder;
    private readonly Dictionary<Function, Summary> _summaries = [];
    private readonly List<Function> _ordered = [];

    private Finish(ProgramBuilder builder) => _builder = builder;

    public static (LoweredProgram Program, IReadOnlyList<ProbeOrigin> Origins) Run(ProgramBuilder builder)
    {
        var finish = new Finish(builder);
        finish.Summarise();
        finish.CheckForeach();
        var origins = finish.DropEmptyProbes();
        var probes = new Probe[origins.Count];
        for (var i = 0; i < probes.Length; i++)
        {
            probes[i] = origins[i].Probe;
        }

        var embedded = new List<EmbeddedBlock>();
        foreach (var code in builder.Session.Symbols.EmbeddedC)
        {
            embedded.Add(new EmbeddedBlock(code.Code, code.Span));
        }

        return (new LoweredProgram
        {
            Globals = builder.Globals,
            Functions = finish._ordered,
            Probes = probes,
            Limits = builder.Session.Options.Limits,
            Regexes = builder.Regexes,
            EmbeddedC = embedded,
        }, origins);
    }

    private void Summarise()
    {
        // Besides the script's functions there are those the target binder made (pretty printers): bodies lead to them.
        var found = new Queue<Function>(_builder.Functions);
        foreach (var probe in _builder.Probes)
        {
            var summary = new Summary();
            summary.Visit(probe.Body);
            foreach (var callee in summary.Calls)
            {
                found.Enqueue(callee);
            }
        }

        var roots = new List<Function>();
        while (found.TryDequeue(out var function))
        {
            if (_summaries.ContainsKey(function))
            {
                continue;
            }

            roots.Add(function);
            var summary = new Summary();
            summary.Visit(function.Body);
            summary.IsPure &= function.EmbeddedCode is null;
            if (function.NextOverload is { } next)
            {
                summary.Calls.Add(next);
            }

            foreach (var callee in summary.Calls)
            {
                found.Enqueue(callee);
            }

            _summaries[function] = summary;
        }

        // Callees before callers; a call back to something on the path is recursion.
        var state = new Dictionary<Function, int>();
        var path = new List<Function>();
        foreach (var function in roots)
        {
            Order(function, state, path);
        }

        // Everything a function writes through others. Rounds end: sets only grow, purity only falls.
        bool changed;
        do
        {
            changed = false;
            foreach (var function in _ordered)
            {
                var summary = _summaries[function];
                foreach (var callee in summary.Calls)
                {
                    var inner = _summaries[callee];
                    foreach (var (global, span) in inner.Writes)
                    {
                        changed |= summary.Writes.TryAdd(global, span);
                    }

                    if (summary.IsPure && !inner.IsPure)
                    {
                        summary.IsPure = false;
                        changed = true;
                    }
                }
            }
        }
        while (changed);
        foreach (var function in _ordered)
        {
            var summary = _summaries[function];
            function.IsPure = summary is { IsPure: true, HasLoop: false, HasNext: false } && !function.IsRecursive;
        }
    }

    private void Order(Function function, Dictionary<Function, int> state, List<Function> path)
    {
        if (state.TryGetValue(function, out var seen))
        {
            if (seen == 1)
            {
                for (var i = path.Count - 1; i >= 0; i--)
                {
                    path[i].IsRecursive = true;
                    if (path[i] == function)
                    {
                        break;
                    }
                }
            }

            return;
        }

        state[function] = 1;
        path.Add(function);
        foreach (var callee in _summaries[function].Calls)
        {
            Order(callee, state, path);
        }

        path.RemoveAt(path.Count - 1);
        state[function] = 2;
        _ordered.Add(function);
    }

    private void CheckForeach()
    {
        foreach (var function in _builder.Functions)
        {
            new ForeachChecker(this).Visit(function.Body);
        }

        foreach (var probe in _builder.Probes)
        {
            new ForeachChecker(this).Visit(probe.Body);
        }
    }

    private List<ProbeOrigin> DropEmptyProbes()
    {
        var all = _builder.Origins;
        if (!_builder.Session.IsOptimizing)
        {
            return all;
        }

        var kept = new List<ProbeOrigin>(all.Count);
        foreach (var origin in all)
        {
            if (origin.Probe.Body is not BlockStmt { Statements.Count: 0 } || origin.Probe.Spec is PerfSpec { CounterName: not null })
            {
                kept.Add(origin);
            }
        }

        // A script of empty probes still is a session, for instance to watch -c run.
        if (kept.Count == 0 || kept.Count == all.Count)
        {
            return all;
        }

        for (var i = 0; i < kept.Count; i++)
        {
            if (kept[i].Probe is var old && old.Index != i)
            {
                kept[i] = kept[i] with
                {
                    Probe = new Probe
                    {
                        Index = i,
                        Spec = old.Spec,
                        PointText = old.PointText,
                        Name = old.Name,
                        Locals = old.Locals,
                        Body = old.Body,
                        Condition = old.Condition,
                        Span = old.Span,
                    },
                };
            }
        }

        return kept;
    }

    /// <summary>What one body does itself.</summary>
    private sealed class Summary : LoweredWalker
    {
        public List<Function> Calls { get; } = [];

        public Dictionary<Global, SourceSpan> Writes { get; } = [];

        /// <summary>Nothing but a result, and nothing that can fail.</summary>
        public bool IsPure { get; set; } = true;

        public bool HasLoop { get; private set; }

        public bool HasNext { get; private set; }

        public override void Visit(Stmt? statement)
        {
            switch (statement)
            {
                case LoopStmt or ForeachStmt: HasLoop = true; break;
                case NextStmt: HasNext = true; break;
                case PrintStmt or TryStmt: IsPure = false; break;
                case DeleteStmt d:
                    IsPure = false;
                    Writes.TryAdd(d.Global, d.Span);
                    break;
                case StatAddStmt s:
                    IsPure = false;
                    Writes.TryAdd(s.Aggregate, s.Span);
                    break;
            }

            base.Visit(statement);
        }

        public override void Visit(Expr? expression)
        {
            switch (expression)
            {
                case AssignExpr a: Write(a.Place, a.Span); break;
                case UpdateExpr u: Write(u.Place, u.Span); break;
                case CallExpr c: Calls.Add(c.Function); break;
                case IntrinsicExpr i:
                    IsPure &= i.Intrinsic.Has(IntrinsicTraits.Pure) && !i.Intrinsic.Has(IntrinsicTraits.Fallible);
                    break;
                case BinaryExpr { Operator: Language.Syntax.BinaryOperator.Divide or Language.Syntax.BinaryOperator.Modulo, Right: not LongConst { Value: not 0 } }
                    or DerefExpr or RegexExpr or EmbeddedCExpr or HistogramTextExpr or BucketExpr
                    or StatExpr { Kind: not (Language.Syntax.StatisticKind.Count or Language.Syntax.StatisticKind.Sum) }:
                    IsPure = false;
                    break;
            }

            base.Visit(expression);
        }

        private void Write(Place place, SourceSpan span)
        {
            switch (place)
            {
                case GlobalPlace g:
                    IsPure = false;
                    Writes.TryAdd(g.Global, span);
                    break;
                case ElementPlace e:
                    IsPure = false;
                    Writes.TryAdd(e.Array, span);
                    break;
            }
        }
    }

    private sealed class ForeachChecker(Finish owner) : LoweredWalker
    {
        public override void Visit(Stmt? statement)
        {
            if (statement is ForeachStmt { Array: var array } loop)
            {
                var body = new Summary();
                body.Visit(loop.Body);
                if (body.Writes.TryGetValue(array, out var span))
                {
                    Report(array, span, loop.Span, null);
                }
                else
                {
                    foreach (var callee in body.Calls)
                    {
                        if (owner._summaries[callee].Writes.TryGetValue(array, out span))
                        {
                            Report(array, span, loop.Span, callee.Name);
                            break;
                        }
                    }
                }
            }

            base.Visit(statement);
        }

        private void Report(Global array, SourceSpan place, SourceSpan loop, string? through) =>
            owner._builder.Session.Diagnostics.Add(new Diagnostic("semantic.foreach-modified", Severity.SemanticError,
                $"array '{array.Name}' is modified during its 'foreach' iteration" + (through is null ? "" : $", in function '{through}'"), place)
            {
                Related = loop,
                RelatedMessage = "iterated here",
                Hint = "collect the changes in another array and apply them after the loop",
            });
    }
}
