using SystemTap.Language.Diagnostics;
using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Probes;

namespace SystemTap.Semantics.Binding;

/// <summary>
/// First walk over the kept statements of a body: gives names their meaning, finds the functions it calls, records who reads and writes what,
/// and checks everything that does not need types (places of break and return, targets of assignments, arities).
/// </summary>
internal sealed partial class Discovery(BindingSession session, BodyUnit unit)
{
    private int _loops;
    private bool _dead;

    public static void Run(BindingSession session, BodyUnit unit)
    {
        if (session.IsOptimizing)
        {
            Liveness.Compute(session, unit);
        }

        var discovery = new Discovery(session, unit);
        foreach (var condition in unit.Conditions)
        {
            discovery.CheckCondition(condition);
            discovery.Visit(condition, used: true);
        }

        foreach (var block in unit.Blocks)
        {
            discovery._block = block;
            discovery.Visit(block);
        }
    }

    /// <summary>Binds a lone expression in its own unit (the operand of <c>@entry</c>).</summary>
    public static void Run(BindingSession session, BodyUnit unit, Expression e) => new Discovery(session, unit).Visit(e, used: true);

    private void Visit(Statement? s)
    {
        if (s is null or EmptyStatement)
        {
            return;
        }

        if (!_dead && unit.Kept is { } kept && !kept.Contains(s))
        {
            VisitRemoved(s);
            return;
        }

        switch (s)
        {
            case BlockStatement b:
                foreach (var inner in b.Statements)
                {
                    Visit(inner);
                }

                break;
            case ExpressionStatement e:
                Visit(e.Expression, used: false);
                break;
            case IfStatement i:
                if (!_dead && session.Conditions.Evaluate(unit, i.Condition) is { } truth)
                {
                    VisitRemovedBranch(truth ? i.Else : i.Then);
                    Visit(truth ? i.Then : i.Else);
                    break;
                }

                Visit(i.Condition, used: true);
                Visit(i.Then);
                Visit(i.Else);
                break;
            case WhileStatement w:
                Visit(w.Condition, used: true);
                VisitLoopBody(w.Body);
                break;
            case ForStatement f:
                Visit(f.Initializer, used: false);
                Visit(f.Condition, used: true);
                Visit(f.Increment, used: false);
                VisitLoopBody(f.Body);
                break;
            case ForeachStatement f:
                VisitForeach(f);
                break;
            case BreakStatement or ContinueStatement:
                if (_loops == 0)
                {
                    var word = s is BreakStatement ? "break" : "continue";
                    session.Report("semantic.outside-loop", s.Span, $"'{word}' stands outside of a loop");
                }

                break;
            case ReturnStatement r:
                if (unit.IsProbe)
                {
                    session.Report("semantic.return-in-probe", r.Span, "'return' stands outside of a function", "use 'next' to leave a probe handler");
                }

                Visit(r.Value, used: true);
                break;
            case DeleteStatement d:
                VisitDelete(d);
                break;
            case TryStatement t:
                Visit(t.Body);
                if (t.Variable is { } caught)
                {
                    Write(Lookup(caught));
                }

                Visit(t.Handler);
                break;
        }
    }

    private void VisitLoopBody(Statement body)
    {
        _loops++;
        Visit(body);
        _loops--;
    }

    private void VisitForeach(ForeachStatement f)
    {
        foreach (var key in f.Keys)
        {
            Write(Lookup(key));
        }

        if (f.Value is { } value)
        {
            var symbol = Lookup(value);
            Write(symbol);
            if (symbol is LocalSymbol local)
            {
                local.AggregateLoop = f;
            }
        }

        VisitAll(f.Slice);
        Visit(f.Limit, used: true);
        switch (f.Array)
        {
            case IdentifierExpression id:
                var count = f.Keys.Count;
                if (ArrayOf(id, id.Span) is { } array)
                {
                    Read(array);
                    if (f.SortStatistic is { } sortBy)
                    {
                        NeedStatistic(array, sortBy);
                    }

                    SetArity(array, count, id.Span);
                    if (f.Slice is { } slice && slice.Count != count)
                    {
                        ReportArity(array, slice.Count, id.Span);
                    }

                    if (f.SortKey > count)
                    {
                        session.Report("semantic.sort-key", f.Span, $"foreach sorts by key {f.SortKey} of '{id.Name}', which has {count}");
                    }
                }

                break;
            case HistogramExpression h:
                VisitHistogram(h);
                if (f.Keys.Count != 1)
                {
                    session.Report("semantic.array-arity", f.Span, $"foreach over a histogram needs one variable, not {f.Keys.Count}");
                }

                break;
            default:
                session.Report("semantic.foreach-array", f.Array.Span, "foreach needs an array");
                break;
        }

        VisitLoopBody(f.Body);
    }

    private void VisitDelete(DeleteStatement d)
    {
        switch (d.Operand)
        {
            case IdentifierExpression id:
                var symbol = Lookup(id);
                if (!_dead)
                {
                    symbol.IsWritten = true;
                }

                break;
            case IndexExpression { Array: IdentifierExpression id } index:
                if (ArrayOf(id, index.Span) is { } array)
                {
                    SetArity(array, index.Indexes.Count, index.Span);
                    Write(array);
                }

                VisitAll(index.Indexes);
                break;
            default:
                session.Report("semantic.delete-target", d.Operand.Span, "delete needs a variable or an array element");
                break;
        }
    }

    /// <summary>A statement that liveness dropped: names the user got wrong are still reported, and what was dropped is said.</summary>
    private void VisitRemoved(Statement s)
    {
        var isOwn = IsUsersText(s.Span);
        if (isOwn && !IsAliasText)
        {
            WarnRemoved(s);
        }

        if (isOwn)
        {
            _dead = true;
            Visit(s);
            _dead = false;
        }
    }

    private bool IsUsersText(SourceSpan span) => span.Source is not { IsTapset: true };

    private bool IsAliasText => _block is not null && unit.IsProbe && !ReferenceEquals(_block, unit.UserBlock);

    private BlockStatement? _block;

    private void WarnRemoved(Statement s)
    {
        if (session.Options.NoWarnings)
        {
            return;
        }

        switch (s)
        {
            case ExpressionStatement { Expression: AssignmentExpression { Target: IdentifierExpression id } }:
                session.Diagnostics.Warn("semantic.elided-assignment", id.Span, $"Eliding assignment to '{id.Name}'", "nothing reads it");
                break;
            case ExpressionStatement { Expression: IncrementExpression { Operand: IdentifierExpression id } }:
                session.Diagnostics.Warn("semantic.elided-assignment", id.Span, $"Eliding assignment to '{id.Name}'", "nothing reads it");
                break;
            case ExpressionStatement e:
                session.Diagnostics.Warn("semantic.elided-expression", e.Span, "Eliding side-effect-free expression");
                break;
            case IfStatement i when session.Conditions.Evaluate(unit, i.Condition) is null:
                session.Diagnostics.Warn("semantic.elided-statement", i.Span, "Eliding side-effect-free 'if' statement");
                break;
            case WhileStatement or ForStatement or ForeachStatement:
                session.Diagnostics.Warn("semantic.elided-statement", s.Span, "Eliding side-effect-free loop statement");
                break;
        }
    }

    private void VisitRemovedBranch(Statement? s)
    {
        // Dead by @defined: names there need not exist.
    }

    private VariableSymbol Lookup(IdentifierExpression id)
    {
        if (_dead)
        {
            return session.Peek(unit, id) ?? session.Symbols.FindGlobal(id.Name, id.Span.Source, false)
                ?? (VariableSymbol)new LocalSymbol(id.Name, id.Span, isParameter: false);
        }

        var symbol = session.Resolve(unit, id);
        if (symbol is GlobalSymbol { IsTapset: true } global)
        {
            session.Symbols.Join(global.Span.Source);
        }

        return symbol;
    }

    private void Read(VariableSymbol symbol)
    {
        if (!_dead)
        {
            symbol.IsRead = true;
        }
    }

    private void Write(VariableSymbol symbol)
    {
        if (!_dead)
        {
            symbol.IsWritten = true;
        }
    }

    /// <summary>The array a name means; reports and returns null when it is not a global.</summary>
    private GlobalSymbol? ArrayOf(IdentifierExpression id, SourceSpan span)
    {
        if (Lookup(id) is GlobalSymbol global)
        {
            return global;
        }

        if (!_dead)
        {
            session.Diagnostics.Add(new Diagnostic("semantic.unresolved-array", Severity.SemanticError,
                $"unresolved array '{id.Name}': it has no global declaration", span)
            {
                Hint = Suggestions.DidYouMean(id.Name, session.Symbols.GlobalNames, 1) ?? $"add 'global {id.Name}'",
            });
        }

        return null;
    }

    private void SetArity(GlobalSymbol array, int count, SourceSpan place)
    {
        if (_dead)
        {
            return;
        }

        if (array.Keys is null)
        {
            array.Keys = new TypeSlot[count];
            for (var i = 0; i < count; i++)
            {
                array.Keys[i] = new TypeSlot();
            }

            array.ArityPlace = place;
            if (count > 9)
            {
                session.Report("semantic.array-arity", place, $"array '{array.Name}' has {count} keys, at most 9 are possible");
            }
            else if (count > 0 && array.Definition.Initializer is not null)
            {
                session.Report("semantic.array-initializer", array.Span, $"array '{array.Name}' cannot be initialised, only scalars can");
            }
            else if (count == 0 && (array.Definition.MaxSize is not null || array.Definition.Wraps))
            {
                session.Report("semantic.scalar-size", place, $"'{array.Name}' is declared as an array and used as a scalar");
            }
        }
        else if (array.Keys.Length != count)
        {
            ReportArity(array, count, place);
        }
    }

    private void ReportArity(GlobalSymbol array, int count, SourceSpan place)
    {
        static string Text(int n) => n == 0 ? "a scalar" : n == 1 ? "an array of 1 key" : $"an array of {n} keys";
        session.Diagnostics.Add(new Diagnostic("semantic.array-arity", Severity.SemanticError,
            $"inconsistent arity: '{array.Name}' is used as {Text(count)} here", place)
        {
            Related = array.ArityPlace,
            RelatedMessage = $"first used as {Text(array.Keys!.Length)} here",
        });
    }

    private void CheckCondition(Expression condition)
    {
        var walker = new ConditionChecker(session, unit);
        walker.Visit(condition);
    }

    /// <summary>Probe conditions: globals, literals and operators only.</summary>
    private sealed class ConditionChecker(BindingSession session, BodyUnit unit) : SyntaxWalker
    {
        private const string ConditionHint = "let the handler test it: { if (!(…)) next; … }";

        public override void Visit(Expression? expression)
        {
            switch (expression)
            {
                case null or LiteralExpression or UnaryExpression or BinaryExpression or TernaryExpression or RegexExpression or InExpression
                    or StatisticExpression or DefinedExpression:
                    break;
                case IndexExpression { Array: IdentifierExpression }:
                    break;
                case IdentifierExpression id:
                    if (session.Symbols.FindGlobal(id.Name, id.Span.Source, false) is null)
                    {
                        session.Report("semantic.condition", id.Span,
                            $"probe condition of '{unit.Probe?.Name}' names '{id.Name}', which is not a global", ConditionHint);
                        return;
                    }

                    break;
                default:
                    session.Report("semantic.condition", expression.Span,
                        $"probe condition of '{unit.Probe?.Name}' may use globals, literals and operators only", ConditionHint);
                    return;
            }

            base.Visit(expression);
        }
    }
}
