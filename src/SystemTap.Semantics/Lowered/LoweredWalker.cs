namespace SystemTap.Semantics.Lowered;

/// <summary>
/// Visits every statement, place and expression of lowered trees in order of evaluation. Override what is of interest; call base to go deeper.
/// Nodes that an engine puts into its trees say themselves what is in them (<see cref="IEngineNode"/>).
/// </summary>
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
            default:
                VisitEngine(statement as IEngineNode, statement);
                break;
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
            default:
                VisitEngine(expression as IEngineNode, expression);
                break;
        }
    }

    public virtual void Visit(Place place)
    {
        if (place is ElementPlace element)
        {
            Visit(element.Keys);
        }
    }

    /// <summary>Visits each of a list; nothing for no list.</summary>
    public void Visit(IReadOnlyList<Expr?>? expressions)
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

    private void VisitEngine(IEngineNode? node, object what)
    {
        if (node is null)
        {
            throw new InvalidOperationException("unknown node " + what.GetType().Name);
        }

        node.VisitChildren(this);
    }
}

/// <summary>A walker that goes into the functions that are called, too, with their overloads: once into each, before the arguments of the call.</summary>
public abstract class CallingWalker : LoweredWalker
{
    private readonly HashSet<Function> _entered = new(ReferenceEqualityComparer.Instance);

    public override void Visit(Expr? expression)
    {
        for (var f = (expression as CallExpr)?.Function; f is not null && _entered.Add(f); f = f.NextOverload)
        {
            Visit(f.Body);
        }

        base.Visit(expression);
    }
}

/// <summary>A statement or expression that only one engine has, between the lowered program and its code.</summary>
public interface IEngineNode
{
    /// <summary>Lets a walker visit what is evaluated as part of this node, in order.</summary>
    void VisitChildren(LoweredWalker walker);

    /// <summary>It reads globals itself, not only by what <see cref="VisitChildren"/> shows.</summary>
    bool ReadsGlobals => false;
}

/// <summary>Questions about what is anywhere in a tree.</summary>
public static class LoweredSearch
{
    /// <summary>Whether a call of such a function is in the statement (bodies of called functions are not looked into).</summary>
    public static bool Calls(Stmt body, Func<Function, bool> isMeant)
    {
        var search = new Search(null, e => e is CallExpr call && isMeant(call.Function));
        search.Visit(body);
        return search.Found;
    }

    /// <summary>Whether a <c>next</c> is in the statement.</summary>
    public static bool SaysNext(Stmt body) => Has<NextStmt>(body);

    /// <summary>Whether a statement of the kind is in the statement.</summary>
    public static bool Has<T>(Stmt body)
        where T : Stmt
    {
        var search = new Search(static s => s is T, null);
        search.Visit(body);
        return search.Found;
    }

    /// <summary>Whether such an expression is in the statement.</summary>
    public static bool Has(Stmt body, Func<Expr, bool> isMeant)
    {
        var search = new Search(null, isMeant);
        search.Visit(body);
        return search.Found;
    }

    private sealed class Search(Func<Stmt, bool>? isStatement, Func<Expr, bool>? isExpression) : LoweredWalker
    {
        public bool Found { get; private set; }

        public override void Visit(Stmt? statement)
        {
            Found |= statement is not null && isStatement is not null && isStatement(statement);
            base.Visit(statement);
        }

        public override void Visit(Expr? expression)
        {
            Found |= expression is not null && isExpression is not null && isExpression(expression);
            base.Visit(expression);
        }
    }
}
