using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Analysis;

/// <summary>Visits every node of a tree once, parents first. Subclasses override what they care for and call the base to go on.</summary>
internal abstract class Walker
{
    public virtual void Visit(Stmt? statement)
    {
        switch (statement)
        {
            case null or BreakStmt or ContinueStmt or NextStmt or LeaveStmt or Deferral.UnlockStmt:
                break;
            case Deferral.HostStmt s:
                foreach (var leaf in s.Leaves)
                {
                    Visit(leaf);
                }

                break;
            case Deferral.TakeStmt s:
                Visit(s.Loop.Slice);
                Visit(s.Loop.Limit);
                break;
            case Deferral.VisitStmt s:
                Visit(s.Take.Loop);
                break;
            case RegionStmt s:
                Visit(s.Body);
                break;
            case BlockStmt s:
                foreach (var child in s.Statements)
                {
                    Visit(child);
                }

                break;
            case ExprStmt s:
                Visit(s.Expression);
                break;
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
                Visit(s.Slice);
                Visit(s.Limit);
                Visit(s.BucketKeys);
                Visit(s.Body);
                break;
            case ReturnStmt s:
                Visit(s.Value);
                break;
            case DeleteStmt s:
                Visit(s.Keys);
                break;
            case StatAddStmt s:
                Visit(s.Keys);
                Visit(s.Value);
                break;
            case TryStmt s:
                Visit(s.Body);
                Visit(s.Handler);
                break;
            case PrintStmt s:
                Visit(s.Arguments);
                break;
            case SendStmt s:
                Visit(s.Leaves);
                break;
            default:
                throw new InvalidOperationException($"statement {statement.GetType().Name} is not known to the BPF compiler");
        }
    }

    public virtual void Visit(Expr? expression)
    {
        switch (expression)
        {
            case null or LongConst or StringConst or ContextExpr or Plan.LeafExpr or ColumnExpr or EmbeddedCExpr:
                break;
            case ReadExpr e:
                Visit(e.Place);
                break;
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
            case UnaryExpr e:
                Visit(e.Operand);
                break;
            case ConditionalExpr e:
                Visit(e.Condition);
                Visit(e.WhenTrue);
                Visit(e.WhenFalse);
                break;
            case ConcatExpr e:
                Visit(e.Parts);
                break;
            case InExpr e:
                Visit(e.Keys);
                break;
            case CallExpr e:
                Visit(e.Arguments);
                break;
            case IntrinsicExpr e:
                Visit(e.Arguments);
                break;
            case RawBytesExpr e:
                Visit(e.Address);
                Visit(e.Count);
                break;
            case DerefExpr e:
                Visit(e.Address);
                break;
            case FormatExpr e:
                Visit(e.Arguments);
                break;
            case HistogramTextExpr e:
                Visit(e.Keys);
                break;
            case BucketsExpr e:
                Visit(e.Keys);
                break;
            case Plan.HistogramLeafExpr e:
                Visit(e.Buckets);
                break;
            case StatExpr e:
                Visit(e.Keys);
                break;
            case BucketExpr e:
                Visit(e.Keys);
                Visit(e.Index);
                break;
            case RegexExpr e:
                Visit(e.Subject);
                break;
            case SequenceExpr e:
                foreach (var child in e.Statements)
                {
                    Visit(child);
                }

                Visit(e.Value);
                break;
            default:
                throw new InvalidOperationException($"expression {expression.GetType().Name} is not known to the BPF compiler");
        }
    }

    /// <summary>The keys of an element; a place itself is no expression.</summary>
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
