using SystemTap.Language.Syntax;
using SystemTap.Semantics.Probes;

namespace SystemTap.Semantics.Binding;

/// <summary>
/// Conditions known before types are: <c>@defined</c>, <c>@probewrite</c> and literals joined by <c>! &amp;&amp; ||</c>. What they rule out is
/// never bound, so tapsets can name variables and functions that this kernel does not have.
/// </summary>
internal sealed class ConstantConditions(BindingSession session)
{
    /// <summary>Truth of the condition in this body, or null when it is decided at run time.</summary>
    public bool? Evaluate(BodyUnit unit, Expression e)
    {
        switch (e)
        {
            case NumberLiteral n:
                return session.IsOptimizing ? n.Value != 0 : null;
            case DefinedExpression d:
                return IsDefined(unit, d);
            case ProbeWriteExpression w:
                return IsWritten(unit, w);
            case UnaryExpression { Operator: UnaryOperator.Not } u:
                return !Evaluate(unit, u.Operand);
            case BinaryExpression { Operator: BinaryOperator.LogicalAnd } b:
                return Evaluate(unit, b.Left) switch
                {
                    false => false,
                    true => Evaluate(unit, b.Right),
                    null => null,
                };
            case BinaryExpression { Operator: BinaryOperator.LogicalOr } b:
                return Evaluate(unit, b.Left) switch
                {
                    true => true,
                    false => Evaluate(unit, b.Right),
                    null => null,
                };
            default:
                return null;
        }
    }

    /// <summary>The answer of <c>@defined</c>.</summary>
    public bool IsDefined(BodyUnit unit, DefinedExpression e)
    {
        var known = unit.Defined ??= [];
        if (!known.TryGetValue(e, out var answer))
        {
            known[e] = answer = Resolves(unit, e.Operand);
        }

        return answer;
    }

    /// <summary>The answer of <c>@probewrite</c>.</summary>
    public static bool IsWritten(BodyUnit unit, ProbeWriteExpression e) => SyntaxFacts.Writes(unit.UserBlock, e.Variable);

    private bool Resolves(BodyUnit unit, Expression operand)
    {
        switch (operand)
        {
            case TargetVariable v:
                return session.CTypes.TargetValue(unit, v.Name, v.Span) is not null || IsVariableSet(v.Name) && unit.Context != ProbeContext.None;
            case TargetExpression t:
                return session.CTypes.Probe(unit, t) is { } value
                    && (t.PrettyDepth == 0 || session.TargetBinder.Pretty(value, t.PrettyDepth, t.Span, quiet: true) is not null);
            case CastExpression or AtVarExpression:
                return session.CTypes.Probe(unit, operand) is not null;
            case EnumExpression e:
                return session.TargetBinder.For(unit.Context).EnumValue(e.Name.Value, e.Span, quiet: true) is not null;
            case EntryExpression e:
                return session.EntryOf(unit, e.Operand) is { } use && Resolves(use.EntryUnit, use.Operand);
            default:
                var walker = new Checker(this, unit);
                walker.VisitParts(operand);
                return walker.AllResolve;
        }
    }

    public static bool IsVariableSet(string name) => name is "$$vars" or "$$parms" or "$$locals" or "$$return";

    private sealed class Checker(ConstantConditions owner, BodyUnit unit) : SyntaxWalker
    {
        public bool AllResolve { get; private set; } = true;

        public void VisitParts(Expression e) => base.Visit(e);

        public override void Visit(Expression? expression)
        {
            if (expression is TargetVariable or TargetExpression or CastExpression or AtVarExpression or EnumExpression or EntryExpression)
            {
                AllResolve = AllResolve && owner.Resolves(unit, expression);
            }
            else
            {
                base.Visit(expression);
            }
        }
    }
}
