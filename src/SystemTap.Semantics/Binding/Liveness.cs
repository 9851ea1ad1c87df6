using SystemTap.Language.Syntax;

namespace SystemTap.Semantics.Binding;

/// <summary>
/// Decides on syntax which statements of a body stay. An assignment to a local that nothing reads, an expression without effects, an
/// <c>if</c> or loop around nothing go. Alias prologues set a dozen variables of which a script reads one, so this runs before
/// anything else is bound: what is not kept costs one look.
/// </summary>
/// <remarks>
/// The set of live names grows until nothing changes. Statements are visited last to first, because prologue lines read what earlier
/// lines set; most bodies need one pass and one to see that it is stable. Kept statements have their expressions walked once.
/// </remarks>
internal sealed class Liveness(BindingSession session, BodyUnit unit)
{
    private readonly HashSet<Statement> _kept = [];
    private readonly HashSet<string> _live = new(StringComparer.Ordinal);
    private readonly NameReader _reader = new();
    private bool _changed;

    /// <summary>Fills <see cref="BodyUnit.Kept"/>.</summary>
    public static void Compute(BindingSession session, BodyUnit unit)
    {
        var liveness = new Liveness(session, unit);
        liveness._reader.Bind(liveness, session, unit);
        do
        {
            liveness._changed = false;
            for (var i = unit.Blocks.Count - 1; i >= 0; i--)
            {
                liveness.Keep(unit.Blocks[i]);
            }
        }
        while (liveness._changed);
        unit.Kept = liveness._kept;
    }

    private bool Keep(Statement? s)
    {
        switch (s)
        {
            case null or EmptyStatement:
                return false;
            case BlockStatement b:
                var any = false;
                for (var i = b.Statements.Count - 1; i >= 0; i--)
                {
                    any |= Keep(b.Statements[i]);
                }

                return any && Mark(b);
            case ExpressionStatement e:
                if (_kept.Contains(e))
                {
                    return true;
                }

                return !IsRemovable(e.Expression) && Mark(e, e.Expression);
            case IfStatement i:
                switch (session.Conditions.Evaluate(unit, i.Condition))
                {
                    case true: return Keep(i.Then) && Mark(i);
                    case false: return Keep(i.Else) && Mark(i);
                }

                return (Keep(i.Then) | Keep(i.Else) || HasEffects(i.Condition)) && Mark(i, i.Condition);
            case WhileStatement w:
                if (session.Conditions.Evaluate(unit, w.Condition) == false)
                {
                    return false;
                }

                // A loop that may not end is an effect: its condition must be left alone unless nothing inside can change it.
                return (Keep(w.Body) || HasEffects(w.Condition) || w.Condition is NumberLiteral) && Mark(w, w.Condition);
            case ForStatement f:
                var bodyStays = Keep(f.Body);
                if (!bodyStays && !Changes(f.Initializer) && !Changes(f.Condition) && !Changes(f.Increment) && f.Condition is not null)
                {
                    return false;
                }

                return Mark(f, f.Initializer, f.Condition, f.Increment);
            case ForeachStatement f:
                // Loop variables keep their last value: a loop whose key is read afterwards does something even when its body does not.
                var isRead = f.Value is not null && !IsDeadLocal(f.Value);
                foreach (var key in f.Keys)
                {
                    isRead |= !IsDeadLocal(key);
                }

                if (!Keep(f.Body) && !isRead)
                {
                    return false;
                }

                if (_kept.Add(f))
                {
                    _changed = true;
                    _reader.VisitHead(f);
                }

                return true;
            case TryStatement t:
                return Keep(t.Body) | Keep(t.Handler) && _kept.Contains(t.Body) && Mark(t);
            case DeleteStatement d:
                return Mark(d, d.Operand is IndexExpression ? d.Operand : null);
            case ReturnStatement r:
                return Mark(r, r.Value);
            default:
                return Mark(s);
        }
    }

    /// <summary>For loop heads: effects, or writing a variable that is read somewhere.</summary>
    private bool Changes(Expression? e) => e is not null && !IsRemovable(e);

    private bool IsRemovable(Expression e)
    {
        switch (e)
        {
            case AssignmentExpression { Target: IdentifierExpression id } a when IsDeadLocal(id):
                return IsRemovable(a.Value);
            case IncrementExpression { Operand: IdentifierExpression id }:
                return IsDeadLocal(id);
            case TernaryExpression t:
                return !HasEffects(t.Condition) && IsRemovable(t.WhenTrue) && IsRemovable(t.WhenFalse);
            default:
                return !HasEffects(e);
        }
    }

    private bool IsDeadLocal(IdentifierExpression id) => !_live.Contains(session.KeyOf(unit, id.Name, id.Span.Source)) && session.Resolve(unit, id) is LocalSymbol;

    private bool HasEffects(Expression e) => session.Effects.HasEffects(unit, e);

    private bool Mark(Statement s, Expression? first = null, Expression? second = null, Expression? third = null)
    {
        if (_kept.Add(s))
        {
            _changed = true;
            _reader.Visit(first);
            _reader.Visit(second);
            _reader.Visit(third);
        }

        return true;
    }

    /// <summary>Adds the names an expression reads. An assignment's plain target is not read, a compound one only for itself.</summary>
    private sealed class NameReader : SyntaxWalker
    {
        private Liveness _owner = null!;
        private BindingSession _session = null!;
        private BodyUnit _unit = null!;

        public void Bind(Liveness owner, BindingSession session, BodyUnit unit)
        {
            _owner = owner;
            _session = session;
            _unit = unit;
        }

        public void VisitHead(ForeachStatement f)
        {
            VisitAll(f.Slice);
            Visit(f.Limit);
            Visit(f.Array);
        }

        public override void Visit(Expression? expression)
        {
            switch (expression)
            {
                case IdentifierExpression id:
                    if (_owner._live.Add(_session.KeyOf(_unit, id.Name, id.Span.Source)))
                    {
                        _owner._changed = true;
                    }

                    break;
                case AssignmentExpression { Target: IdentifierExpression } a:
                    Visit(a.Value);
                    break;
                case DefinedExpression:
                    break;
                case TernaryExpression t when _session.Conditions.Evaluate(_unit, t.Condition) is { } truth:
                    Visit(truth ? t.WhenTrue : t.WhenFalse);
                    break;
                case EntryExpression:
                    // Bound in the entry probe, with locals of its own.
                    break;
                default:
                    base.Visit(expression);
                    break;
            }
        }
    }
}
