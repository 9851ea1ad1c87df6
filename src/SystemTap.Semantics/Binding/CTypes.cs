using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Probes;

namespace SystemTap.Semantics.Binding;

/// <summary>
/// C types of script values, on demand: <c>@defined</c> asks whether a path resolves, autocast asks what <c>t</c> points to in <c>t-&gt;f</c>.
/// Works on types only: values are stand-ins, so it can run before script types are inferred and never leaves anything behind.
/// A variable has the type of the first of its assignments that has one; recursion through itself gives none.
/// </summary>
internal sealed class CTypes(BindingSession session)
{
    /// <summary>The value of <c>$name</c> at the body's event, or null.</summary>
    public TypedValue? TargetValue(BodyUnit unit, string name, SourceSpan span)
    {
        var known = unit.TargetValues ??= new(StringComparer.Ordinal);
        if (!known.TryGetValue(name, out var value))
        {
            known[name] = value = unit.Context.Find(name, span);
        }

        return value;
    }

    /// <summary>The value with its C type as accessors see it (not loaded); null when something does not resolve. Reports nothing.</summary>
    public TypedValue? Probe(BodyUnit unit, Expression e)
    {
        var binder = session.TargetBinder.For(unit.Context);
        switch (e)
        {
            case TargetVariable v:
                return TargetValue(unit, v.Name, v.Span)
                    ?? (unit.Context.EntryPoint is { } entry ? entry.Context.Resolve(v.Name, v.Span) : null);
            case AtVarExpression v:
                return binder.Variable(v.Name.Value, v.Module?.Value, v.Span, quiet: true);
            case CastExpression c:
                return binder.Cast(Dummy(c.Span), c.Type.Value, c.Module?.Value, c.Span, quiet: true);
            case EntryExpression n:
                return session.EntryOf(unit, n.Operand) is { } use ? Loaded(Probe(use.EntryUnit, use.Operand), n.Span) : null;
            case TargetExpression t:
                var value = Probe(unit, t.Value);
                foreach (var accessor in t.Accessors)
                {
                    if (value is null)
                    {
                        return null;
                    }

                    value = accessor switch
                    {
                        MemberAccessor m => binder.Member(value, m.Name, m.Span, quiet: true),
                        IndexAccessor i => binder.Index(value, Dummy(i.Span), i.Span, quiet: true),
                        _ => null,
                    };
                }

                return value is not null && t.AddressOf ? binder.AddressOf(value, t.Span, quiet: true) : value;
            case IndexExpression { Array: IdentifierExpression id, Indexes: [{ } index] } x
                when session.Peek(unit, id) is LocalSymbol variable:
                return Of(variable) is { } ctype ? binder.Index(new TypedValue(Dummy(id.Span), ctype), Dummy(index.Span), x.Span, quiet: true) : null;
            default:
                return OfExpression(unit, e) is { } type ? new TypedValue(Dummy(e.Span), type) : null;
        }
    }

    /// <summary>C type of a variable, or null.</summary>
    public CType? Of(VariableSymbol symbol)
    {
        if (symbol.CTypeState != CTypeState.Unknown)
        {
            return symbol.CType;
        }

        symbol.CTypeState = CTypeState.InProgress;
        if (symbol.Assignments is { } assignments)
        {
            foreach (var (value, unit) in assignments)
            {
                if (OfExpression(unit, value) is { } type)
                {
                    symbol.CType = type;
                    break;
                }
            }
        }

        symbol.CTypeState = CTypeState.Known;
        return symbol.CType;
    }

    /// <summary>C type of a function's result, or null.</summary>
    public CType? Of(FunctionSymbol function)
    {
        if (function.CTypeState != CTypeState.Unknown)
        {
            return function.CType;
        }

        function.CTypeState = CTypeState.InProgress;
        if (function.Unit is { } unit && function.Definition.Body is { } body)
        {
            function.CType = OfReturns(unit, body);
        }

        function.CTypeState = CTypeState.Known;
        return function.CType;
    }

    /// <summary>C type of an expression's (loaded) value, or null.</summary>
    public CType? OfExpression(BodyUnit unit, Expression e)
    {
        switch (e)
        {
            case IdentifierExpression id:
                return session.Peek(unit, id) is { } symbol ? Of(symbol) : null;
            case TernaryExpression t:
                return session.Conditions.Evaluate(unit, t.Condition) switch
                {
                    true => OfExpression(unit, t.WhenTrue),
                    false => OfExpression(unit, t.WhenFalse),
                    null => OfExpression(unit, t.WhenTrue) ?? OfExpression(unit, t.WhenFalse),
                };
            case AssignmentExpression { Operator: null } a:
                return OfExpression(unit, a.Value);
            case CallExpression c:
                return session.ResolveCall(unit, c) is { Unit: not null } function ? Of(function) : null;
            case TargetExpression { PrettyDepth: > 0 }:
                return null;
            case TargetVariable or AtVarExpression or CastExpression or TargetExpression or EntryExpression:
                return Loaded(Probe(unit, e), e.Span)?.CType;
            case IndexExpression { Array: IdentifierExpression name }:
                return session.Peek(unit, name) is { } array
                    ? array is GlobalSymbol ? Of(array) : Loaded(Probe(unit, e), e.Span)?.CType
                    : null;
            default:
                return null;
        }
    }

    private CType? OfReturns(BodyUnit unit, Statement? s)
    {
        switch (s)
        {
            case ReturnStatement { Value: { } value }:
                return OfExpression(unit, value);
            case BlockStatement b:
                foreach (var inner in b.Statements)
                {
                    if (OfReturns(unit, inner) is { } found)
                    {
                        return found;
                    }
                }

                return null;
            case IfStatement i:
                return session.Conditions.Evaluate(unit, i.Condition) switch
                {
                    true => OfReturns(unit, i.Then),
                    false => OfReturns(unit, i.Else),
                    null => OfReturns(unit, i.Then) ?? OfReturns(unit, i.Else),
                };
            case WhileStatement w: return OfReturns(unit, w.Body);
            case ForStatement f: return OfReturns(unit, f.Body);
            case ForeachStatement f: return OfReturns(unit, f.Body);
            case TryStatement t: return OfReturns(unit, t.Body) ?? OfReturns(unit, t.Handler);
            default: return null;
        }
    }

    private TypedValue? Loaded(TypedValue? value, SourceSpan span) =>
        value is null ? null : !value.HasValue ? value with { CType = null } : value.CType is null ? value : session.TargetBinder.Load(value, span);

    private static LongConst Dummy(SourceSpan span) => new(0, span);
}
