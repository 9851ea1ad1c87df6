using SystemTap.Language.Diagnostics;
using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Semantics.Binding;

/// <summary>
/// Finds the one type of every variable, key, parameter and result. Facts flow both ways: an expression tells its variables what it
/// needs, variables tell expressions what they hold. All bodies are visited until nothing new is learnt; a body in which nothing was unknown
/// is not visited again. Facts are never withdrawn, so the rounds end.
/// </summary>
internal sealed partial class TypeInference(BindingSession session)
{
    private BodyUnit _unit = null!;
    private bool _progress;
    private bool _unknown;

    // Of a variable that is used as two types the first contradiction is told: the others follow from it.
    private readonly HashSet<TypeSlot> _contradicted = [];

    public void Run()
    {
        do
        {
            _progress = false;
            foreach (var unit in session.Functions)
            {
                Visit(unit);
            }

            foreach (var unit in session.Probes)
            {
                Visit(unit);
            }
        }
        while (_progress || SettleLibraryGlobals());

        var before = session.Diagnostics.ErrorCount;
        ReportUnresolved(session.Functions);
        ReportUnresolved(session.Probes);
        foreach (var global in session.Symbols.Globals)
        {
            if (global.IsUsed && session.Diagnostics.ErrorCount == before)
            {
                ReportIfUnresolved(global.Slot, global.Name, global.Span);
                for (var i = 0; i < (global.Keys?.Length ?? 0); i++)
                {
                    ReportIfUnresolved(global.Keys![i], $"{global.Name}' key '{i + 1}", global.Span);
                }
            }
        }
    }

    // A global of the library whose writers the script does not call (commit() without speculate()) is empty for ever: any type serves.
    private bool SettleLibraryGlobals()
    {
        var found = false;
        foreach (var global in session.Symbols.Globals)
        {
            if (global.IsUsed && global.Slot.Type is null && global.Span.Source is { IsTapset: true })
            {
                global.Slot.Set(ScriptType.Long, global.Span);
                found = true;
            }
        }

        return found;
    }

    private void Visit(BodyUnit unit)
    {
        if (unit.IsSettled)
        {
            return;
        }

        _unit = unit;
        _unknown = false;
        if (unit.Function is { Next: { } next } function)
        {
            for (var i = 0; i < unit.Locals.Count && i < next.Unit!.Locals.Count && unit.Locals[i].IsParameter; i++)
            {
                Unify(unit.Locals[i].Slot, next.Unit.Locals[i].Slot, unit.Locals[i].Name, unit.Locals[i].Span);
            }

            Unify(function.Return, next.Return, function.Name, function.Definition.Span);
        }

        foreach (var condition in unit.Conditions)
        {
            Require(condition, ScriptType.Long);
        }

        foreach (var block in unit.Blocks)
        {
            Visit(block);
        }

        foreach (var local in unit.Locals)
        {
            _unknown |= local.Slot.Type is null && (local.IsRead || local.IsWritten);
        }

        unit.IsSettled = !_unknown;
    }

    private void Unify(TypeSlot a, TypeSlot b, string name, SourceSpan span)
    {
        if (a.Type is { } ta)
        {
            Learn(b, ta, span, name);
        }
        else if (b.Type is { } tb)
        {
            Learn(a, tb, span, name);
        }
        else
        {
            _unknown = true;
        }
    }

    private void ReportUnresolved(List<BodyUnit> units)
    {
        foreach (var unit in units)
        {
            foreach (var local in unit.Locals)
            {
                // The value variable of a foreach over aggregates has no type of its own.
                if ((local.IsRead || local.IsWritten) && local.AggregateLoop is null)
                {
                    ReportIfUnresolved(local.Slot, local.Name, local.Span);
                }
            }

            if (unit.Function is { } function)
            {
                ReportIfUnresolved(function.Return, function.Name, function.Definition.Span);
            }
        }
    }

    private void ReportIfUnresolved(TypeSlot slot, string name, SourceSpan span)
    {
        if (slot.Type is null)
        {
            session.Report("semantic.unresolved-type", span, $"unresolved type: nothing tells whether '{name}' is a number or a string");
        }
    }

    /// <summary>Gives a slot a type, or reports the contradiction with the place that gave it another one.</summary>
    private void Learn(TypeSlot slot, ScriptType type, SourceSpan place, string name)
    {
        if (slot.Type is { } known)
        {
            if (known != type && _contradicted.Add(slot))
            {
                ReportMismatch(place, $"'{name}'", known, type, slot.Place);
            }

            return;
        }

        slot.Set(type, place);
        _progress = true;
    }

    private void ReportMismatch(SourceSpan place, string what, ScriptType has, ScriptType needed, SourceSpan? decided, ScriptType? decidedAs = null, string? hint = null)
    {
        var message = has == ScriptType.Void
            ? $"type mismatch: {what} has no value and {Article(needed)} is needed here"
            : $"type mismatch: {what} is {Article(has)} and {Article(needed)} is needed here";
        session.Diagnostics.Add(new Diagnostic("semantic.type-mismatch", Severity.SemanticError, message, place)
        {
            Related = decided is { Source: not null } related && related != place ? related : null,
            RelatedMessage = "type was first inferred here (" + Name(decidedAs ?? has) + ")",
            Hint = hint ?? (has, needed) switch
            {
                (ScriptType.Long, ScriptType.String) => "sprint(x) makes a string of a number",
                (ScriptType.String, ScriptType.Long) => "strtol(s, 10) makes a number of a string",
                (ScriptType.Statistics, _) => "read an aggregate by @count, @sum, @min, @max or @avg",
                _ => null,
            },
        });
    }

    internal static string Name(ScriptType type) => type switch
    {
        ScriptType.Long => "long",
        ScriptType.String => "string",
        ScriptType.Statistics => "stats",
        _ => "void",
    };

    private static string Article(ScriptType type) => type switch
    {
        ScriptType.Statistics => "an aggregate",
        ScriptType.Void => "no value",
        _ => "a " + Name(type),
    };

    /// <summary>The expression must have this type. A hint says more than how to convert.</summary>
    private void Require(Expression? e, ScriptType type, string? hint = null)
    {
        if (e is null)
        {
            return;
        }

        var found = Infer(e, type);
        if (found is null)
        {
            _unknown = true;
        }
        else if (found != type && (SlotOf(e) is not { } slot || _contradicted.Add(slot)))
        {
            ReportMismatch(e.Span, Describe(e), found.Value, type, DecidedAt(e), hint: hint);
        }
    }

    private string Describe(Expression e) => e switch
    {
        IdentifierExpression id => $"'{id.Name}'",
        IndexExpression { Array: IdentifierExpression id } => $"'{id.Name}[]'",
        CallExpression c => $"function '{c.Name}'",
        StringLiteral => "this literal",
        NumberLiteral => "this number",
        TargetVariable v => $"'{v.Name}'",
        _ => "this expression",
    };

    private SourceSpan? DecidedAt(Expression e) => e is CallExpression c ? session.ResolveCall(_unit, c)?.Return.Place : SlotOf(e)?.Place;

    private TypeSlot? SlotOf(Expression e) => e switch
    {
        IdentifierExpression id => session.Peek(_unit, id)?.Slot,
        IndexExpression { Array: IdentifierExpression id } => session.Peek(_unit, id)?.Slot,
        _ => null,
    };

    private void Visit(Statement? s)
    {
        if (s is null or EmptyStatement || (_unit.Kept is { } kept && !kept.Contains(s)))
        {
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
                InferStatement(e.Expression);
                break;
            case IfStatement i:
                if (session.Conditions.Evaluate(_unit, i.Condition) is { } truth)
                {
                    Visit(truth ? i.Then : i.Else);
                    break;
                }

                Require(i.Condition, ScriptType.Long);
                Visit(i.Then);
                Visit(i.Else);
                break;
            case WhileStatement w:
                Require(w.Condition, ScriptType.Long);
                Visit(w.Body);
                break;
            case ForStatement f:
                InferStatement(f.Initializer);
                Require(f.Condition, ScriptType.Long);
                InferStatement(f.Increment);
                Visit(f.Body);
                break;
            case ForeachStatement f:
                VisitForeach(f);
                break;
            case ReturnStatement { Value: { } value } when _unit.Function is { } function:
                if (function.Return.Type is { } wanted)
                {
                    if (wanted == ScriptType.Void)
                    {
                        // A void annotation does not exist: only embedded code or a function without values ends here.
                        break;
                    }

                    Require(value, wanted);
                }
                else if (Infer(value, null) is { } found)
                {
                    if (found is ScriptType.Void or ScriptType.Statistics)
                    {
                        ReportMismatch(value.Span, Describe(value), found, ScriptType.Long, DecidedAt(value));
                    }
                    else
                    {
                        Learn(function.Return, found, value.Span, function.Name);
                    }
                }
                else
                {
                    _unknown = true;
                }

                break;
            case DeleteStatement { Operand: IndexExpression { Array: IdentifierExpression id } x }:
                RequireKeys(Symbol(id) as GlobalSymbol, x.Indexes);
                break;
            case TryStatement t:
                Visit(t.Body);
                if (t.Variable is { } caught)
                {
                    Learn(Symbol(caught).Slot, ScriptType.String, caught.Span, caught.Name);
                }

                Visit(t.Handler);
                break;
        }
    }

    private void VisitForeach(ForeachStatement f)
    {
        Require(f.Limit, ScriptType.Long);
        if (f.Array is HistogramExpression h)
        {
            InferAggregate(h.Operand);
            foreach (var key in f.Keys)
            {
                Learn(Symbol(key).Slot, ScriptType.Long, key.Span, key.Name);
            }

            if (f.Value is { } count)
            {
                Learn(Symbol(count).Slot, ScriptType.Long, count.Span, count.Name);
            }
        }
        else if (f.Array is IdentifierExpression id && Symbol(id) is GlobalSymbol { Keys: { } keys } array)
        {
            for (var i = 0; i < keys.Length && i < f.Keys.Count; i++)
            {
                Unify(keys[i], Symbol(f.Keys[i]).Slot, f.Keys[i].Name, f.Keys[i].Span);
            }

            RequireKeys(array, f.Slice);
            if (f.SortStatistic is not null)
            {
                Learn(array.Slot, ScriptType.Statistics, id.Span, id.Name);
            }

            if (f.Value is { } value && array.Slot.Type != ScriptType.Statistics)
            {
                Unify(array.Slot, Symbol(value).Slot, value.Name, value.Span);
            }

            _unknown |= array.Slot.Type is null;
        }

        Visit(f.Body);
    }

    private VariableSymbol Symbol(IdentifierExpression id) => session.Resolve(_unit, id);

    private void RequireKeys(GlobalSymbol? array, IReadOnlyList<Expression?>? keys)
    {
        if (array?.Keys is not { } slots || keys is null)
        {
            return;
        }

        for (var i = 0; i < slots.Length && i < keys.Count; i++)
        {
            if (keys[i] is not { } key)
            {
                continue;
            }

            if (slots[i].Type is { } type)
            {
                Require(key, type);
            }
            else if (Infer(key, null) is { } found)
            {
                if (found is ScriptType.Long or ScriptType.String)
                {
                    Learn(slots[i], found, key.Span, array.Name);
                }
                else
                {
                    ReportMismatch(key.Span, Describe(key), found, ScriptType.Long, DecidedAt(key));
                }
            }
            else
            {
                _unknown = true;
            }
        }
    }
}
