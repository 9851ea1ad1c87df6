using SystemTap.Language.Syntax;
using SystemTap.Semantics.Intrinsics;

namespace SystemTap.Semantics.Binding;

/// <summary>
/// Which expressions may be dropped when nobody wants their value. A run-time error is not an effect here, as in SystemTap: reading
/// a bad pointer into a variable that nobody reads is dropped. Works on syntax, because it decides what is bound at all.
/// </summary>
internal sealed class EffectAnalysis(BindingSession session)
{
    private readonly Dictionary<FunctionDefinition, bool> _functions = [];
    private readonly Dictionary<FunctionDefinition, bool> _contexts = [];

    /// <summary>The expression changes something besides its value.</summary>
    public bool HasEffects(BodyUnit unit, Expression e)
    {
        switch (e)
        {
            case LiteralExpression or IdentifierExpression or TargetVariable or AtVarExpression or PerfExpression or ProbeWriteExpression
                or ConstExpression or EnumExpression or RegisterExpression or DefinedExpression:
                return false;
            default:
                var walker = new Walker(this, unit, null);
                walker.Visit(e);
                return walker.Found;
        }
    }

    /// <summary>A call of this function changes something besides its value. Recursive functions count as having effects.</summary>
    public bool HasEffects(FunctionSymbol function)
    {
        var definition = function.Definition;
        if (_functions.TryGetValue(definition, out var known))
        {
            return known;
        }

        _functions[definition] = true;
        bool result;
        if (definition.EmbeddedCode is { } code)
        {
            result = !code.Contains("/* pure */", StringComparison.Ordinal);
        }
        else
        {
            var unit = function.Unit ?? ScratchUnit(function);
            var locals = new HashSet<string>(StringComparer.Ordinal);
            foreach (var parameter in definition.Parameters)
            {
                locals.Add(parameter.Name);
            }

            var walker = new Walker(this, unit, locals);
            walker.Visit(definition.Body);
            result = walker.Found;
        }

        if (!result && function.Next is { } next)
        {
            result = HasEffects(next);
        }

        return _functions[definition] = result;
    }

    /// <summary>The function or one it calls mentions target variables, so each calling probe needs its own copy.</summary>
    public bool NeedsContext(FunctionSymbol function)
    {
        var definition = function.Definition;
        if (_contexts.TryGetValue(definition, out var known))
        {
            return known;
        }

        _contexts[definition] = false;
        var result = SyntaxFacts.MentionsContext(definition.Body);
        if (!result && definition.Body is not null)
        {
            var calls = new CallCollector();
            calls.Visit(definition.Body);
            foreach (var call in calls.Calls)
            {
                if (session.Symbols.FindFunction(call.Name, call.Arguments.Count, call.Span.Source) is { } callee && NeedsContext(callee))
                {
                    result = true;
                    break;
                }
            }
        }

        if (!result && function.Next is { } next)
        {
            result = NeedsContext(next);
        }

        return _contexts[definition] = result;
    }

    private static BodyUnit ScratchUnit(FunctionSymbol function)
    {
        var unit = new BodyUnit { Function = function, Blocks = [] };
        foreach (var parameter in function.Definition.Parameters)
        {
            unit.Scope.TryAdd(parameter.Name, new LocalSymbol(parameter.Name, parameter.Span, isParameter: true));
        }

        return unit;
    }

    private sealed class CallCollector : SyntaxWalker
    {
        public List<CallExpression> Calls { get; } = [];

        public override void Visit(Expression? expression)
        {
            if (expression is CallExpression call)
            {
                Calls.Add(call);
            }

            base.Visit(expression);
        }
    }

    private sealed class Walker(EffectAnalysis owner, BodyUnit unit, HashSet<string>? functionLocals) : SyntaxWalker
    {
        public bool Found { get; private set; }

        public override void Visit(Statement? statement)
        {
            if (Found)
            {
                return;
            }

            switch (statement)
            {
                // Leaving or skipping is the body's own affair inside a function.
                case DeleteStatement d:
                    Found |= !IsOwnLocal(d.Operand);
                    break;
                case ForeachStatement f:
                    foreach (var key in f.Keys)
                    {
                        Found |= !IsOwnLocal(key);
                    }

                    Found |= f.Value is not null && !IsOwnLocal(f.Value);
                    break;
                case TryStatement { Variable: { } caught }:
                    Found |= !IsOwnLocal(caught);
                    break;
            }

            base.Visit(statement);
        }

        public override void Visit(Expression? expression)
        {
            if (Found)
            {
                return;
            }

            switch (expression)
            {
                case DefinedExpression:
                    return;
                case AssignmentExpression e:
                    Found |= !IsOwnLocal(e.Target);
                    break;
                case IncrementExpression e:
                    Found |= !IsOwnLocal(e.Operand);
                    break;
                case StatisticAddExpression or RegexExpression:
                    Found = true;
                    return;
                case PrintExpression { ReturnsString: false }:
                    Found = true;
                    return;
                case EmbeddedCExpression c:
                    Found |= !c.Code.Contains("/* pure */", StringComparison.Ordinal);
                    return;
                case CallExpression c:
                    if (IntrinsicTable.Find(c.Name) is { } intrinsic && (c.Span.Source?.IsTapset ?? false))
                    {
                        Found |= !intrinsic.Has(IntrinsicTraits.Pure);
                    }
                    else if (owner.Session.Symbols.FindFunction(c.Name, c.Arguments.Count, c.Span.Source) is { } callee)
                    {
                        Found |= owner.HasEffects(callee);
                    }
                    else
                    {
                        // Unresolved: kept, so that binding reports it.
                        Found = true;
                    }

                    break;
                case TernaryExpression t when owner.Session.Conditions.Evaluate(unit, t.Condition) is { } truth:
                    Visit(truth ? t.WhenTrue : t.WhenFalse);
                    return;
            }

            base.Visit(expression);
        }

        private bool IsOwnLocal(Expression target) =>
            functionLocals is not null && target is IdentifierExpression id
            && owner.Session.Resolve(unit, id) is LocalSymbol;
    }

    private BindingSession Session => session;
}
