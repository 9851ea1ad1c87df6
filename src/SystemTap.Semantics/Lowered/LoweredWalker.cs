namespace SystemTap.Semantics.Lowered;

/// <summary>Visits every statement, place and expression of lowered trees in order of evaluation. Override what is of interest; call base to go deeper.</summary>
public abstract class LoweredWalker
{
    public virtual void Visit(Stmt? statement)
    {
        switch (statement)
        {
            case null or BreakStmt or ContinueStmt or NextStmt:
                break;
            case BlockStmt s:
                for (var i = 0; i < s.Statements.Count; i++)
                {
                    Visit(s.Statements[i]);
                }

                break;
            case ExprStmt s: Visit(s.Expression); break;
            case IfStmt s:
                Visit(s.Condition);
                Visit(s.Then);
                Visit(s.Else);
                break;
            case LoopStmt s:
                Visit(s.Condition);
                Visit(s.Body);
                Visit(s.Step);
                break;
            case ForeachStmt s:
                Visit(s.BucketKeys);
                Visit(s.Slice);
                Visit(s.Limit);
                Visit(s.Body);
                break;
            case ReturnStmt s: Visit(s.Value); break;
            case DeleteStmt s: Visit(s.Keys); break;
            case StatAddStmt s:
                Visit(s.Keys);
                Visit(s.Value);
                break;
            case TryStmt s:
                Visit(s.Body);
                Visit(s.Handler);
                break;
            case PrintStmt s: Visit(s.Arguments); break;
            default: throw new InvalidOperationException("unknown statement " + statement.GetType().Name);
        }
    }

    public virtual void Visit(Expr? expression)
    {
        switch (expression)
        {
            case null or LongConst or StringConst or ContextExpr or EmbeddedCExpr:
                break;
            case ReadExpr e: Visit(e.Place); break;
            case AssignExpr e:
                Visit(e.Place);
                Visit(e.Value);
                break;
            case UpdateExpr e:
                Visit(e.Place);
                Visit(e.Operand);
                break;
            case BinaryExpr e:
                Visit(e.Left);
                Visit(e.Right);
                break;
            case StringCompareExpr e:
                Visit(e.Left);
                Visit(e.Right);
                break;
            case LogicalExpr e:
                Visit(e.Left);
                Visit(e.Right);
                break;
            case UnaryExpr e: Visit(e.Operand); break;
            case ConditionalExpr e:
                Visit(e.Condition);
                Visit(e.WhenTrue);
                Visit(e.WhenFalse);
                break;
            case ConcatExpr e: Visit(e.Parts); break;
            case InExpr e: Visit(e.Keys); break;
            case CallExpr e: Visit(e.Arguments); break;
            case IntrinsicExpr e: Visit(e.Arguments); break;
            case DerefExpr e: Visit(e.Address); break;
            case FormatExpr e: Visit(e.Arguments); break;
            case HistogramTextExpr e: Visit(e.Keys); break;
            case StatExpr e: Visit(e.Keys); break;
            case BucketExpr e:
                Visit(e.Keys);
                Visit(e.Index);
                break;
            case RegexExpr e: Visit(e.Subject); break;
            case SequenceExpr e:
                for (var i = 0; i < e.Statements.Count; i++)
                {
                    Visit(e.Statements[i]);
                }

                Visit(e.Value);
                break;
            default: throw new InvalidOperationException("unknown expression " + expression.GetType().Name);
        }
    }

    public virtual void Visit(Place place)
    {
        if (place is ElementPlace element)
        {
            Visit(element.Keys);
        }
    }

    protected void Visit(IReadOnlyList<Expr?>? expressions)
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
