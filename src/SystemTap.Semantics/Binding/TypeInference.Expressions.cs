using SystemTap.Language.Diagnostics;
using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Semantics.Binding;

internal sealed partial class TypeInference
{
    /// <summary>An expression whose value is dropped: void is welcome.</summary>
    private void InferStatement(Expression? e)
    {
        if (e is not null && Infer(e, null) is null)
        {
            _unknown = true;
        }
    }

    /// <summary>The type of an expression, null while unknown; a variable without a type takes <paramref name="wanted"/>.</summary>
    private ScriptType? Infer(Expression e, ScriptType? wanted)
    {
        switch (e)
        {
            case NumberLiteral or DefinedExpression or ProbeWriteExpression or CastExpression or AtVarExpression
                or EnumExpression or ConstExpression or RegisterExpression or PerfExpression:
                if (e is CastExpression c)
                {
                    Require(c.Operand, ScriptType.Long);
                }

                return ScriptType.Long;
            case StringLiteral:
                return ScriptType.String;
            case IdentifierExpression id:
                var symbol = Symbol(id);
                return InferSlot(symbol.Slot, wanted, id.Span, id.Name);
            case IndexExpression x:
                return InferIndex(x, wanted);
            case UnaryExpression u:
                Require(u.Operand, ScriptType.Long);
                return ScriptType.Long;
            case IncrementExpression i:
                InferTarget(i.Operand, ScriptType.Long);
                return ScriptType.Long;
            case BinaryExpression b:
                return InferBinary(b);
            case RegexExpression r:
                Require(r.Operand, ScriptType.String);
                return ScriptType.Long;
            case InExpression i:
                RequireKeys(Symbol(i.Array) as GlobalSymbol, i.Keys);
                return ScriptType.Long;
            case TernaryExpression t:
                return InferTernary(t, wanted);
            case AssignmentExpression a:
                return InferAssignment(a, wanted);
            case StatisticAddExpression s:
                InferTarget(s.Target, ScriptType.Statistics);
                Require(s.Value, ScriptType.Long);
                return ScriptType.Void;
            case CallExpression call:
                return InferCall(call, wanted);
            case StatisticExpression s:
                InferAggregate(s.Operand);
                return ScriptType.Long;
            case HistogramExpression h:
                InferAggregate(h.Operand);
                return ScriptType.String;
            case PrintExpression p:
                InferPrint(p);
                return p.ReturnsString ? ScriptType.String : ScriptType.Void;
            case EmbeddedCExpression embedded:
                return embedded.Code.Contains("/* string */", StringComparison.Ordinal) ? ScriptType.String : ScriptType.Long;
            case TargetVariable v:
                return InferTargetVariable(v);
            case TargetExpression t:
                if (t.Value is not TargetVariable)
                {
                    Require(t.Value, ScriptType.Long);
                }

                foreach (var accessor in t.Accessors)
                {
                    if (accessor is IndexAccessor index)
                    {
                        Require(index.Index, ScriptType.Long);
                    }
                }

                return t.PrettyDepth > 0 ? ScriptType.String : ScriptType.Long;
            case EntryExpression n:
                return InferEntry(n.Operand);
            case EnumNameExpression n:
                Require(n.Operand, ScriptType.Long);
                return ScriptType.String;
            case DerefExpression d:
                Require(d.Address, ScriptType.Long);
                return ScriptType.Long;
            default:
                throw new InvalidOperationException("unknown expression " + e.GetType().Name);
        }
    }

    private ScriptType? InferSlot(TypeSlot slot, ScriptType? wanted, SourceSpan span, string name)
    {
        if (slot.Type is { } known)
        {
            return known;
        }

        if (wanted is { } type and (ScriptType.Long or ScriptType.String))
        {
            Learn(slot, type, span, name);
            return type;
        }

        _unknown = true;
        return null;
    }

    private ScriptType? InferIndex(IndexExpression x, ScriptType? wanted)
    {
        if (x.Array is HistogramExpression h)
        {
            InferAggregate(h.Operand);
            foreach (var index in x.Indexes)
            {
                Require(index, ScriptType.Long);
            }

            return ScriptType.Long;
        }

        var id = (IdentifierExpression)x.Array;
        if (Symbol(id) is not GlobalSymbol array)
        {
            Require(id, ScriptType.Long);
            foreach (var index in x.Indexes)
            {
                Require(index, ScriptType.Long);
            }

            return ScriptType.Long;
        }

        RequireKeys(array, x.Indexes);
        return InferSlot(array.Slot, wanted, x.Span, array.Name);
    }

    /// <summary>The left side of an assignment, which gets a value of this type.</summary>
    private void InferTarget(Expression target, ScriptType type)
    {
        switch (target)
        {
            case IdentifierExpression id:
                Learn(Symbol(id).Slot, type, id.Span, id.Name);
                break;
            case IndexExpression { Array: IdentifierExpression id } x:
                if (Symbol(id) is GlobalSymbol array)
                {
                    RequireKeys(array, x.Indexes);
                    Learn(array.Slot, type, x.Span, id.Name);
                }

                break;
            default:
                if (Infer(target, type) is { } found && found != type)
                {
                    ReportMismatch(target.Span, Describe(target), found, type, null);
                }

                break;
        }
    }

    private ScriptType? InferBinary(BinaryExpression b)
    {
        switch (b.Operator)
        {
            case BinaryOperator.Concat:
                var hint = ConcatHint(b);
                Require(b.Left, ScriptType.String, hint);
                Require(b.Right, ScriptType.String, hint);
                return ScriptType.String;
            case BinaryOperator.LogicalAnd or BinaryOperator.LogicalOr:
                if (session.Conditions.Evaluate(_unit, b) is not null)
                {
                    return ScriptType.Long;
                }

                if (session.Conditions.Evaluate(_unit, b.Left) is null)
                {
                    Require(b.Left, ScriptType.Long);
                }

                if (session.Conditions.Evaluate(_unit, b.Right) is null)
                {
                    Require(b.Right, ScriptType.Long);
                }

                return ScriptType.Long;
            case BinaryOperator.Less or BinaryOperator.Greater or BinaryOperator.LessOrEqual or BinaryOperator.GreaterOrEqual
                or BinaryOperator.Equal or BinaryOperator.NotEqual:
                RequireSame(b.Left, b.Right, null);
                return ScriptType.Long;
            default:
                Require(b.Left, ScriptType.Long);
                Require(b.Right, ScriptType.Long);
                return ScriptType.Long;
        }
    }

    // What looks like C to a newcomer, and is the operator '.' to us.
    private static string? ConcatHint(BinaryExpression b) => (b.Left, b.Right) switch
    {
        (NumberLiteral, NumberLiteral) => "there are no fractions: numbers are whole, and '.' joins texts",
        (TargetVariable or TargetExpression, IdentifierExpression id) => $"'.' joins texts; members are reached by '->': write ->{id.Name}",
        _ => null,
    };

    /// <summary>Both must have the same type, long or string.</summary>
    private ScriptType? RequireSame(Expression left, Expression right, ScriptType? wanted)
    {
        var l = Infer(left, wanted);
        var r = Infer(right, l ?? wanted);
        if (l is null && r is { } fromRight)
        {
            l = Infer(left, fromRight);
        }

        if (l is null || r is null)
        {
            _unknown = true;
            return l ?? r;
        }

        if (l is ScriptType.Void or ScriptType.Statistics)
        {
            ReportMismatch(left.Span, Describe(left), l.Value, wanted ?? ScriptType.Long, DecidedAt(left));
        }
        else if (l != r)
        {
            var decided = DecidedAt(right);
            ReportMismatch(right.Span, Describe(right), r.Value, l.Value, decided ?? left.Span, decided is null ? l : r);
        }

        return l;
    }

    private ScriptType? InferTernary(TernaryExpression t, ScriptType? wanted)
    {
        if (session.Conditions.Evaluate(_unit, t.Condition) is { } truth)
        {
            return Infer(truth ? t.WhenTrue : t.WhenFalse, wanted);
        }

        Require(t.Condition, ScriptType.Long);
        return RequireSame(t.WhenTrue, t.WhenFalse, wanted);
    }

    private ScriptType? InferAssignment(AssignmentExpression a, ScriptType? wanted)
    {
        if (a.Operator is { } op)
        {
            var type = op == BinaryOperator.Concat ? ScriptType.String : ScriptType.Long;
            InferTarget(a.Target, type);
            Require(a.Value, type);
            return type;
        }

        var slotType = a.Target switch
        {
            IdentifierExpression id => Symbol(id).Slot.Type,
            IndexExpression { Array: IdentifierExpression id } => Symbol(id).Slot.Type,
            TargetVariable v => InferTargetVariable(v),
            _ => ScriptType.Long,
        };
        if (slotType == ScriptType.Statistics)
        {
            ReportMismatch(a.Target.Span, Describe(a.Target), ScriptType.Statistics, ScriptType.Long, DecidedAt(a.Target));
            return ScriptType.Long;
        }

        var found = Infer(a.Value, slotType ?? wanted);
        switch (found)
        {
            case null:
                _unknown = true;
                InferTargetKeys(a.Target);
                return slotType;
            case ScriptType.Void or ScriptType.Statistics:
                ReportMismatch(a.Value.Span, Describe(a.Value), found.Value, slotType ?? ScriptType.Long, DecidedAt(a.Value));
                InferTarget(a.Target, slotType ?? ScriptType.Long);
                return slotType ?? ScriptType.Long;
        }

        if (slotType is { } known && known != found)
        {
            var target = DecidedAt(a.Target);
            ReportMismatch(a.Value.Span, Describe(a.Value), found.Value, known, target ?? DecidedAt(a.Value), target is null ? found : known);
            return known;
        }

        InferTarget(a.Target, found.Value);
        return found;
    }

    private void InferTargetKeys(Expression target)
    {
        if (target is IndexExpression { Array: IdentifierExpression id } x)
        {
            RequireKeys(Symbol(id) as GlobalSymbol, x.Indexes);
        }
    }

    private ScriptType? InferCall(CallExpression call, ScriptType? wanted)
    {
        if (IntrinsicTable.Find(call.Name) is { } intrinsic && call.Span.Source is { IsTapset: true })
        {
            for (var i = 0; i < intrinsic.Parameters.Count && i < call.Arguments.Count; i++)
            {
                Require(call.Arguments[i], intrinsic.Parameters[i]);
            }

            return intrinsic.ReturnType;
        }

        if (session.ResolveCall(_unit, call) is not { Unit: { } callee } function)
        {
            return ScriptType.Long;
        }

        for (var i = 0; i < call.Arguments.Count; i++)
        {
            var slot = callee.Locals[i].Slot;
            if (slot.Type is { } type)
            {
                Require(call.Arguments[i], type);
            }
            else if (Infer(call.Arguments[i], null) is { } found)
            {
                if (found is ScriptType.Void or ScriptType.Statistics)
                {
                    ReportMismatch(call.Arguments[i].Span, Describe(call.Arguments[i]), found, ScriptType.Long, DecidedAt(call.Arguments[i]));
                }
                else
                {
                    Learn(slot, found, call.Arguments[i].Span, callee.Locals[i].Name);
                    callee.IsSettled = false;
                }
            }
            else
            {
                _unknown = true;
            }
        }

        // A result that is only ever wanted as one type has it: recursive functions without another hint.
        return InferSlot(function.Return, wanted, call.Span, function.Name);
    }

    private void InferAggregate(Expression operand)
    {
        switch (operand)
        {
            case IdentifierExpression id when Symbol(id) is LocalSymbol { AggregateLoop.Array: IdentifierExpression array }:
                Learn(Symbol(array).Slot, ScriptType.Statistics, id.Span, array.Name);
                break;
            case IdentifierExpression or IndexExpression:
                InferTarget(operand, ScriptType.Statistics);
                break;
        }
    }

    private void InferPrint(PrintExpression p)
    {
        if (p.Kind == PrintKind.Format)
        {
            InferFormat(p);
            return;
        }

        foreach (var argument in p.Arguments)
        {
            if (p.Kind == PrintKind.Char)
            {
                Require(argument, ScriptType.Long);
                continue;
            }

            switch (Infer(argument, null))
            {
                case null:
                    _unknown = true;
                    break;
                case ScriptType.Void:
                    ReportMismatch(argument.Span, Describe(argument), ScriptType.Void, ScriptType.String, DecidedAt(argument));
                    break;
                case ScriptType.Statistics:
                    ReportMismatch(argument.Span, Describe(argument), ScriptType.Statistics, ScriptType.Long, DecidedAt(argument));
                    break;
            }
        }
    }

    private void InferFormat(PrintExpression p)
    {
        var next = 0;
        foreach (var segment in p.Format)
        {
            if (segment.Conversion == FormatConversion.Literal)
            {
                continue;
            }

            if (segment.WidthKind == FormatSize.Dynamic)
            {
                Take(ScriptType.Long);
            }

            if (segment.PrecisionKind == FormatSize.Dynamic)
            {
                Take(ScriptType.Long);
            }

            if (segment.Conversion == FormatConversion.String)
            {
                Take(ScriptType.String, "%d prints a number");
            }
            else
            {
                Take(ScriptType.Long, "%s prints a string");
            }
        }

        if (next != p.Arguments.Count)
        {
            session.Diagnostics.Add(new Diagnostic("semantic.format-count", Severity.SemanticError,
                $"format needs {next} value{(next == 1 ? "" : "s")} and gets {p.Arguments.Count}", p.FormatLiteral?.Span ?? p.Span));
        }

        void Take(ScriptType type, string? hint = null)
        {
            if (next < p.Arguments.Count)
            {
                Require(p.Arguments[next], type, hint);
            }

            next++;
        }
    }

    private ScriptType? InferTargetVariable(TargetVariable v)
    {
        if (ConstantConditions.IsVariableSet(v.Name))
        {
            return ScriptType.String;
        }

        if (session.ProcfsValueVariable(_unit, v) is not null)
        {
            return ScriptType.String;
        }

        if (session.CTypes.TargetValue(_unit, v.Name, v.Span) is { } value)
        {
            return value.Value.Type;
        }

        return _unit.Context.EntryPoint is not null ? InferEntry(v) : ScriptType.Long;
    }

    private ScriptType? InferEntry(Expression operand)
    {
        if (session.EntryOf(_unit, operand) is not { } use)
        {
            return ScriptType.Long;
        }

        var outer = _unit;
        _unit = use.EntryUnit;
        var type = Infer(operand, null);
        if (type is ScriptType.Void or ScriptType.Statistics)
        {
            ReportMismatch(operand.Span, Describe(operand), type.Value, ScriptType.Long, DecidedAt(operand));
            type = ScriptType.Long;
        }

        _unit = outer;
        use.Type = type;
        return type;
    }
}
