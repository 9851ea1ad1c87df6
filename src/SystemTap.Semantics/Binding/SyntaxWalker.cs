using SystemTap.Language.Syntax;

namespace SystemTap.Semantics.Binding;

/// <summary>Visits every statement and expression of a tree in source order. Override what is of interest; call base to go deeper.</summary>
internal abstract class SyntaxWalker
{
    public virtual void Visit(Statement? statement)
    {
        switch (statement)
        {
            case null or EmptyStatement or BreakStatement or ContinueStatement or NextStatement:
                break;
            case BlockStatement s:
                foreach (var inner in s.Statements)
                {
                    Visit(inner);
                }

                break;
            case ExpressionStatement s: Visit(s.Expression); break;
            case IfStatement s:
                Visit(s.Condition);
                Visit(s.Then);
                Visit(s.Else);
                break;
            case WhileStatement s:
                Visit(s.Condition);
                Visit(s.Body);
                break;
            case ForStatement s:
                Visit(s.Initializer);
                Visit(s.Condition);
                Visit(s.Body);
                Visit(s.Increment);
                break;
            case ForeachStatement s:
                VisitAll(s.Slice);
                Visit(s.Limit);
                Visit(s.Array);
                VisitAll(s.Keys);
                Visit(s.Value);
                Visit(s.Body);
                break;
            case ReturnStatement s: Visit(s.Value); break;
            case DeleteStatement s: Visit(s.Operand); break;
            case TryStatement s:
                Visit(s.Body);
                Visit(s.Variable);
                Visit(s.Handler);
                break;
            default: throw new InvalidOperationException("unknown statement " + statement.GetType().Name);
        }
    }

    public virtual void Visit(Expression? expression)
    {
        switch (expression)
        {
            case null or LiteralExpression or IdentifierExpression or TargetVariable or AtVarExpression or PerfExpression
                or ProbeWriteExpression or ConstExpression or EnumExpression or RegisterExpression or EmbeddedCExpression:
                break;
            case IndexExpression e:
                Visit(e.Array);
                VisitAll(e.Indexes);
                break;
            case UnaryExpression e: Visit(e.Operand); break;
            case IncrementExpression e: Visit(e.Operand); break;
            case BinaryExpression e:
                Visit(e.Left);
                Visit(e.Right);
                break;
            case RegexExpression e: Visit(e.Operand); break;
            case InExpression e:
                VisitAll(e.Keys);
                Visit(e.Array);
                break;
            case TernaryExpression e:
                Visit(e.Condition);
                Visit(e.WhenTrue);
                Visit(e.WhenFalse);
                break;
            case AssignmentExpression e:
                Visit(e.Target);
                Visit(e.Value);
                break;
            case StatisticAddExpression e:
                Visit(e.Target);
                Visit(e.Value);
                break;
            case CallExpression e: VisitAll(e.Arguments); break;
            case StatisticExpression e: Visit(e.Operand); break;
            case HistogramExpression e: Visit(e.Operand); break;
            case PrintExpression e: VisitAll(e.Arguments); break;
            case CastExpression e: Visit(e.Operand); break;
            case TargetExpression e:
                Visit(e.Value);
                foreach (var accessor in e.Accessors)
                {
                    if (accessor is IndexAccessor index)
                    {
                        Visit(index.Index);
                    }
                }

                break;
            case DefinedExpression e: Visit(e.Operand); break;
            case EntryExpression e: Visit(e.Operand); break;
            case EnumNameExpression e: Visit(e.Operand); break;
            case DerefExpression e: Visit(e.Address); break;
            default: throw new InvalidOperationException("unknown expression " + expression.GetType().Name);
        }
    }

    protected void VisitAll(IReadOnlyList<Expression?>? expressions)
    {
        if (expressions is null)
        {
            return;
        }

        for (var i = 0; i < expressions.Count; i++)
        {
            Visit(expressions[i]);
        }
    }
}
