using SystemTap.Language.Syntax;
using SystemTap.Semantics.Lowered;

namespace SystemTap.KernelModule.Translation;

/// <summary>What evaluating something changes, as far as other operands of the same expression can see.</summary>
[Flags]
internal enum Effect
{
    None = 0,

    /// <summary>Locals of the running function.</summary>
    Locals = 1,
    Globals = 2,
}

/// <summary>
/// Facts about functions that the translation of calls depends on: what they write, whether their statements must be counted, how deep calls
/// nest, how much text space a handler can need.
/// </summary>
internal sealed class ProgramFacts
{
    private readonly LoweredProgram _program;
    private readonly Dictionary<Function, BodyFacts> _functions = new(ReferenceEqualityComparer.Instance);
    private readonly HashSet<Function> _counted = new(ReferenceEqualityComparer.Instance);
    private readonly HashSet<Probe> _countedProbes = new(ReferenceEqualityComparer.Instance);

    public ProgramFacts(LoweredProgram program)
    {
        _program = program;
        foreach (var function in program.Functions)
        {
            _functions[function] = BodyFacts.Of(function.Body, function.EmbeddedCode is not null);
        }

        SpreadWrites();
        MaxNesting = CallDepth.Of(program);
        foreach (var probe in program.Probes)
        {
            var facts = BodyFacts.Of(probe.Body, embedded: false);
            if (!program.Limits.SuppressTimeLimits && NeedsCounting(facts))
            {
                _countedProbes.Add(probe);
                Count(facts);
            }
        }
    }

    /// <summary>Most nested calls.</summary>
    public int MaxNesting { get; }

    /// <summary>The function's statements count against MAXACTION one by one.</summary>
    public bool IsCounted(Function function) => _counted.Contains(function);

    /// <summary>The handler's statements count one by one. Others have no loop and fewer statements than MAXACTION allows.</summary>
    public bool IsCounted(Probe probe) => _countedProbes.Contains(probe);

    public bool HasStringVariables(Function function) => function.Locals.Any(l => l.Type == ScriptType.String && l.Index >= function.ParameterCount);

    /// <summary>What evaluating an expression changes.</summary>
    public Effect EffectOf(Expr? expression)
    {
        if (expression is null)
        {
            return Effect.None;
        }

        var facts = new BodyFacts();
        facts.Visit(expression);
        var effect = facts.Effects;
        foreach (var (callee, _) in facts.Calls)
        {
            effect |= EffectOfCall(callee);
        }

        return effect;
    }

    private Effect EffectOfCall(Function callee)
    {
        var effect = Effect.None;
        for (var f = callee; f is not null; f = f.NextOverload)
        {
            effect |= _functions.TryGetValue(f, out var facts) ? facts.Effects & Effect.Globals : Effect.Globals;
        }

        return effect;
    }

    private void SpreadWrites()
    {
        for (var changed = true; changed;)
        {
            changed = false;
            foreach (var facts in _functions.Values)
            {
                if ((facts.Effects & Effect.Globals) == 0 && facts.Calls.Keys.Any(f => (EffectOfCall(f) & Effect.Globals) != 0))
                {
                    facts.Effects |= Effect.Globals;
                    changed = true;
                }
            }
        }
    }

    private bool NeedsCounting(BodyFacts facts) =>
        Statements(facts, new HashSet<Function>(ReferenceEqualityComparer.Instance)) is var statements && (statements < 0 || statements > _program.Limits.MaxAction);

    // Statements of a run at most; −1: not bounded.
    private long Statements(BodyFacts facts, HashSet<Function> active)
    {
        if (facts.HasLoops)
        {
            return -1;
        }

        long total = facts.Statements;
        foreach (var (callee, times) in facts.Calls)
        {
            for (var f = callee; f is not null; f = f.NextOverload)
            {
                if (f.IsRecursive || !active.Add(f))
                {
                    return -1;
                }

                var below = Statements(_functions[f], active);
                active.Remove(f);
                if (below < 0 || (total += below * times) > int.MaxValue)
                {
                    return -1;
                }
            }
        }

        return total;
    }

    private void Count(BodyFacts facts)
    {
        foreach (var callee in facts.Calls.Keys)
        {
            for (var f = callee; f is not null; f = f.NextOverload)
            {
                if (_counted.Add(f))
                {
                    Count(_functions[f]);
                }
            }
        }
    }

    /// <summary>What one body does itself.</summary>
    private sealed class BodyFacts : LoweredWalker
    {
        public Dictionary<Function, int> Calls { get; } = new(ReferenceEqualityComparer.Instance);

        public Effect Effects { get; set; }

        public bool HasLoops { get; private set; }

        public int Statements { get; private set; }

        public static BodyFacts Of(Stmt body, bool embedded)
        {
            var facts = new BodyFacts();
            facts.Visit(body);
            if (embedded)
            {
                facts.Effects |= Effect.Globals;
            }

            return facts;
        }

        public override void Visit(Stmt? statement)
        {
            Statements += statement is null or BlockStmt ? 0 : 1;
            HasLoops |= statement is LoopStmt or ForeachStmt;
            switch (statement)
            {
                case ForeachStmt or TryStmt:
                    Effects |= Effect.Locals;
                    break;
                case DeleteStmt or StatAddStmt:
                    Effects |= Effect.Globals;
                    break;
            }

            base.Visit(statement);
        }

        public override void Visit(Expr? expression)
        {
            switch (expression)
            {
                case CallExpr e:
                    Calls[e.Function] = Calls.GetValueOrDefault(e.Function) + 1;
                    break;
                case AssignExpr e:
                    Write(e.Place);
                    break;
                case UpdateExpr e:
                    Write(e.Place);
                    break;
                case EmbeddedCExpr:
                    Effects |= Effect.Globals | Effect.Locals;
                    break;
            }

            base.Visit(expression);
        }

        private void Write(Place place) => Effects |= place is LocalPlace ? Effect.Locals : Effect.Globals;
    }
}
