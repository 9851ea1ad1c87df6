using SystemTap.Language.Syntax;
using SystemTap.Semantics.Lowered;

namespace SystemTap.KernelModule.Translation;

// Expressions: numbers, control, calls, memory.
internal sealed partial class BodyEmitter
{
    private static Operand Constant(string code) => new(code, Effect.None, IsConstant: true);

    private static Operand Temporary(string name) => new(name, Effect.None);

    // A temporary that holds the number.
    private Operand Store(string code)
    {
        var name = Fresh("t");
        _w.Line($"s64 {name} = {Bare(code)};");
        return Temporary(name);
    }

    // A temporary that holds the string's address and length; what it points into does not change with that.
    private Operand StoreText(string code, Effect pointsInto = Effect.None)
    {
        UsesText();
        var name = Fresh("t");
        _w.Line($"struct stap_str {name} = {code};");
        return new Operand(name, pointsInto);
    }

    /// <summary>Evaluates operands in order. What a later one changes is saved before.</summary>
    private Operand[] Operands(IReadOnlyList<Expr?> expressions)
    {
        var operands = new Operand[expressions.Count];
        for (var i = 0; i < operands.Length; i++)
        {
            if (expressions[i] is not { } expression)
            {
                continue;
            }

            var operand = Value(expression);
            var later = Effect.None;
            for (var k = i + 1; k < operands.Length; k++)
            {
                later |= _context.Facts.EffectOf(expressions[k]);
            }

            if ((operand.Reads & later) != 0)
            {
                operand = Save(expression.Type, operand);
            }

            operands[i] = operand;
        }

        return operands;
    }

    private Operand Save(ScriptType type, Operand operand) =>
        type == ScriptType.String ? StoreText($"stap_keep(c, {operand.Code})") : Store(operand.Code);

    private Operand Value(Expr expression)
    {
        switch (expression)
        {
            case LongConst e:
                return Constant(C.Long(e.Value));
            case StringConst e:
                return Constant(C.Text(Cut(e.Value)));
            case ReadExpr e:
                return Read(e);
            case AssignExpr e:
                return Assign(e, wanted: true);
            case UpdateExpr e:
                return Update(e, wanted: true);
            case BinaryExpr e:
                return Binary(e);
            case StringCompareExpr e:
                return CompareTexts(e);
            case LogicalExpr e:
                return Logical(e);
            case UnaryExpr e:
                return Unary(e);
            case ConditionalExpr e:
                return Conditional(e);
            case ConcatExpr e:
                return Concat(e);
            case InExpr e:
                return In(e);
            case CallExpr e:
                return Call(e);
            case IntrinsicExpr e:
                return Intrinsic(e);
            case ContextExpr e:
                return Context(e);
            case DerefExpr e:
                return Deref(e);
            case FormatExpr e:
                return Format(e);
            case HistogramTextExpr e:
                return Histogram(e);
            case StatExpr e:
                return Extract(e);
            case BucketExpr e:
                return Bucket(e);
            case RegexExpr e:
                return Regex(e);
            case SequenceExpr e:
                return Sequence(e);
            case EmbeddedCExpr e:
                return EmbeddedExpression(e);
            default:
                throw new InvalidOperationException("unknown expression " + expression.GetType().Name);
        }
    }

    // A statement's expression: the value is not wanted.
    private void Dropped(Expr expression)
    {
        switch (expression)
        {
            case AssignExpr e:
                Assign(e, wanted: false);
                break;
            case UpdateExpr e:
                Update(e, wanted: false);
                break;
            case ConditionalExpr e:
                var condition = Value(e.Condition);
                _w.Open($"if ({Bare(condition.Code)})");
                Dropped(e.WhenTrue);
                _w.Close(" else {");
                _w.Indent++;
                Dropped(e.WhenFalse);
                _w.Close();
                break;
            case EmbeddedCExpr e:
                _w.Line(_context.Embedded.Statement(e));
                CheckFailed();
                break;
            default:
                // What has effects was written as statements; the operand itself has none.
                Value(expression);
                break;
        }
    }

    private string Cut(string text) => text.Length >= _context.Program.Limits.MaxStringLength ? text[..(_context.Program.Limits.MaxStringLength - 1)] : text;

    private Operand Binary(BinaryExpr e)
    {
        var o = Operands([e.Left, e.Right]);
        var reads = o[0].Reads | o[1].Reads;
        if (e.Operator is BinaryOperator.Divide or BinaryOperator.Modulo && !(e.Right is LongConst { Value: not 0 }))
        {
            FailIf($"!{o[1].Code}", $"stap_fail(c, {P(e.Span)}, \"division by 0\");");
        }

        return new Operand(Arithmetic(e.Operator, o[0].Code, o[1].Code), reads);
    }

    // Both sides are 64-bit or comparisons (int), and the script compiler is told that signed arithmetic wraps.
    private static string Arithmetic(BinaryOperator op, string left, string right) => op switch
    {
        BinaryOperator.Multiply => $"({left} * {right})",
        BinaryOperator.Divide => $"stap_div({Bare(left)}, {Bare(right)})",
        BinaryOperator.Modulo => $"stap_mod({Bare(left)}, {Bare(right)})",
        BinaryOperator.Add => $"({left} + {right})",
        BinaryOperator.Subtract => $"({left} - {right})",
        BinaryOperator.ShiftLeft => $"(s64)((u64)(s64){left} << ({right} & 63))",
        BinaryOperator.ShiftRight => $"((s64){left} >> ({right} & 63))",
        BinaryOperator.ShiftRightLogical => $"(s64)((u64)(s64){left} >> ({right} & 63))",
        BinaryOperator.Less => $"({left} < {right})",
        BinaryOperator.Greater => $"({left} > {right})",
        BinaryOperator.LessOrEqual => $"({left} <= {right})",
        BinaryOperator.GreaterOrEqual => $"({left} >= {right})",
        BinaryOperator.Equal => $"({left} == {right})",
        BinaryOperator.NotEqual => $"({left} != {right})",
        BinaryOperator.BitAnd => $"({left} & {right})",
        BinaryOperator.BitXor => $"({left} ^ {right})",
        BinaryOperator.BitOr => $"({left} | {right})",
        _ => throw new InvalidOperationException($"operator {op} is not arithmetic"),
    };

    private Operand Unary(UnaryExpr e)
    {
        var o = Value(e.Operand);
        return o with
        {
            Code = e.Operator switch
            {
                UnaryOperator.Minus => $"(-{o.Code})",
                UnaryOperator.Not => $"(!{o.Code})",
                UnaryOperator.Complement => $"(~(s64){o.Code})",
                _ => o.Code,
            },
            IsConstant = false,
        };
    }

    // The right side is evaluated only when the left does not decide.
    private Operand Logical(LogicalExpr e)
    {
        var left = Value(e.Left);
        var position = _w.Length;
        if (IsSimple(e.Right))
        {
            var right = Value(e.Right);
            System.Diagnostics.Debug.Assert(_w.Length == position, "a simple expression writes no statements");
            return new Operand($"({left.Code} {(e.IsAnd ? "&&" : "||")} {right.Code})", left.Reads | right.Reads);
        }

        var name = Fresh("t");
        _w.Line($"s64 {name} = {(e.IsAnd ? "0" : "1")};");
        _w.Open(e.IsAnd ? $"if ({Bare(left.Code)})" : $"if (!{left.Code})");
        var value = Value(e.Right);
        _w.Line($"{name} = {value.Code} != 0;");
        _w.Close();
        return Temporary(name);
    }

    private Operand Conditional(ConditionalExpr e)
    {
        var condition = Value(e.Condition);
        if (e.Type != ScriptType.String && IsSimple(e.WhenTrue) && IsSimple(e.WhenFalse))
        {
            var (yes, no) = (Value(e.WhenTrue), Value(e.WhenFalse));
            return new Operand($"({condition.Code} ? {yes.Code} : {no.Code})", condition.Reads | yes.Reads | no.Reads);
        }

        var name = Fresh("t");
        var isVoid = e.Type == ScriptType.Void;
        if (!isVoid)
        {
            _w.Line(e.Type == ScriptType.String ? $"struct stap_str {name};" : $"s64 {name};");
        }

        _w.Open($"if ({Bare(condition.Code)})");
        var whenTrue = Value(e.WhenTrue);
        Set(whenTrue);
        _w.Close(" else {");
        _w.Indent++;
        var whenFalse = Value(e.WhenFalse);
        Set(whenFalse);
        _w.Close();
        return new Operand(isVoid ? "0" : name, e.Type == ScriptType.String ? whenTrue.Reads | whenFalse.Reads : Effect.None);

        void Set(Operand value)
        {
            if (!isVoid)
            {
                _w.Line($"{name} = {Bare(value.Code)};");
            }
        }
    }

    // Becomes an operand without any statement.
    private bool IsSimple(Expr expression) => expression switch
    {
        LongConst or StringConst => true,
        ReadExpr { Place: not ElementPlace } => true,
        BinaryExpr e => (e.Operator is not (BinaryOperator.Divide or BinaryOperator.Modulo) || e.Right is LongConst { Value: not 0 }) && IsSimple(e.Left) && IsSimple(e.Right),
        StringCompareExpr e => IsSimple(e.Left) && IsSimple(e.Right),
        LogicalExpr e => IsSimple(e.Left) && IsSimple(e.Right),
        UnaryExpr e => IsSimple(e.Operand),
        ConditionalExpr { Type: not ScriptType.String } e => IsSimple(e.Condition) && IsSimple(e.WhenTrue) && IsSimple(e.WhenFalse),
        _ => false,
    };

    private Operand Sequence(SequenceExpr e)
    {
        var outer = EnterScope(Fresh(""));
        foreach (var statement in e.Statements)
        {
            Statement(statement);
        }

        // What the value uses stays until the statement around ends.
        var value = Value(e.Value);
        var since = _textSinceDrop;
        _textSinceDrop = false;
        outer.Since |= since;
        LeaveSequence(outer);
        return value;
    }

    private void LeaveSequence((string Base, bool Since, int Declared, bool Used) outer)
    {
        if (_baseUsed)
        {
            _w.InsertAt(_baseDeclared, new string('\t', _w.Indent) + $"const u32 {_base} = c->text_used;\n");
        }

        (_base, _textSinceDrop, _baseDeclared, _baseUsed) = outer;
    }

    // --- calls

    private Operand Call(CallExpr e)
    {
        var function = e.Function;
        var operands = Operands(e.Arguments);
        var arguments = new string[operands.Length + 1];
        arguments[0] = "c";
        for (var i = 0; i < operands.Length; i++)
        {
            var text = e.Arguments[i].Type == ScriptType.String;

            // The callee holds a view of the argument while it runs.
            var operand = text && (operands[i].Reads & Effect.Globals) != 0 && (_context.Facts.EffectOf(e) & Effect.Globals) != 0 ? Save(ScriptType.String, operands[i]) : operands[i];
            arguments[i + 1] = Bare(operand.Code);
        }

        // Overloads that say `next` are tried in turn with the same arguments, which must not change meanwhile.
        if (function.NextOverload is not null)
        {
            for (var i = 0; i < operands.Length; i++)
            {
                if (operands[i].Reads != Effect.None)
                {
                    arguments[i + 1] = Save(e.Arguments[i].Type, operands[i] with { Code = arguments[i + 1] }).Code;
                }
            }
        }

        var result = e.Type == ScriptType.Void ? null : Fresh("t");
        if (result is not null)
        {
            _w.Line(e.Type == ScriptType.String ? $"struct stap_str {result};" : $"s64 {result};");
        }

        if (e.Type == ScriptType.String)
        {
            UsesText();
        }

        var quiet = _context.Quiet.Contains(function) && function.NextOverload is null && !SaysNext(function);
        if (!quiet)
        {
            _calls = true;
            FailIf($"stap_too_deep(c, {P(e.Span)})", $"stap_fail(c, {P(e.Span)}, \"MAXNESTING exceeded\");");
        }

        Invoke(function);
        if (SaysNext(function))
        {
            var depth = 0;
            for (var next = function.NextOverload; next is not null; next = next.NextOverload)
            {
                _w.Open("if (c->next)");
                _w.Line("c->next = 0;");
                depth++;
                Invoke(next);
                if (!SaysNext(next))
                {
                    break;
                }
            }

            while (depth-- > 0)
            {
                _w.Close();
            }

            _w.Open("if (STAP_UNLIKELY(c->next))");
            _w.Line("c->next = 0;");
            _w.Line("c->depth--;"); // The call itself failed: it is no caller of the place.
            Fail($"stap_fail(c, {P(e.Span)}, \"all functions exhausted\");");
            _w.Close();
        }

        if (!quiet)
        {
            _w.Line("c->depth--;");
        }

        return result is null ? Constant("0") : Temporary(result);

        void Invoke(Function callee)
        {
            var call = $"{_context.Name(callee)}({string.Join(", ", arguments)});";
            _w.Line(result is null ? call : $"{result} = {call}");
            if (_context.Fallible.Contains(callee) || callee.IsRecursive || callee.EmbeddedCode is not null)
            {
                CheckFailed();
            }
        }
    }

    private static bool SaysNext(Function function) => LoweredSearch.SaysNext(function.Body) || (function.EmbeddedCode?.Contains("STAP_NEXT", StringComparison.Ordinal) ?? false);

    // --- the event and memory

    private Operand Context(ContextExpr e)
    {
        switch (e.Value)
        {
            case ContextValue.TracepointArgument or ContextValue.SyscallArgument:
                return Constant(Extended($"c->args[{e.Index}]", e.Size, e.IsSigned)) with { IsConstant = false };
            case ContextValue.SyscallNumber:
                return new Operand("c->syscall", Effect.None);
            case ContextValue.SyscallReturn or ContextValue.FunctionReturn:
                return new Operand(Extended("c->value", e.Size, e.IsSigned), Effect.None);
            case ContextValue.Register:
                return new Operand(Extended($"stap_register_at(c, {e.Index})", e.Size, e.IsSigned), Effect.None);
            case ContextValue.VectorRegister:
                return new Operand(Extended(Store($"stap_vector_half(c, {e.Index})").Code, e.Size, e.IsSigned), Effect.None);
            case ContextValue.FunctionArgument:
                var argument = Store($"stap_function_argument(c, {P(e.Span)}, {e.Index})");
                CheckFailed();
                return new Operand(Extended(argument.Code, e.Size, e.IsSigned), Effect.None);
            case ContextValue.ProcfsValue:
                return new Operand("stap_view(c->procfs)", Effect.None);
            default:
                throw new ModuleCannotException($"the kernel-module runtime cannot read the event's value {e.Value}", e.Span);
        }
    }

    private static string Extended(string code, int size, bool isSigned) => size switch
    {
        1 => isSigned ? $"(s64)(s8){code}" : $"(s64)(u8){code}",
        2 => isSigned ? $"(s64)(s16){code}" : $"(s64)(u16){code}",
        4 => isSigned ? $"(s64)(s32){code}" : $"(s64)(u32){code}",
        _ => $"(s64){code}",
    };

    private Operand Deref(DerefExpr e)
    {
        var address = Value(e.Address);
        var name = Fresh("v");
        _w.Line($"u64 {name};");
        FailIf($"!stap_read_{(e.IsUser ? "user" : "kernel")}((u64)({Bare(address.Code)}), {e.Size}, &{name})",
            $"stap_fail_read(c, {P(e.Span)}, (u64)({Bare(address.Code)}), {C.LiteralOrNull(e.MemberName)});");
        if (e.BitWidth <= 0)
        {
            return Temporary(Extended(name, e.Size, e.IsSigned));
        }

        var spare = 64 - e.BitWidth;
        var shifted = e.BitShift == 0 ? name : $"({name} >> {e.BitShift})";
        return Temporary(e.IsSigned ? $"((s64)({shifted} << {spare}) >> {spare})" : $"(s64)({shifted} << {spare} >> {spare})");
    }

    private Operand EmbeddedExpression(EmbeddedCExpr e)
    {
        var call = _context.Embedded.Expression(e);
        var result = e.Type == ScriptType.String ? StoreText(call) : Store(call);
        CheckFailed();
        return result;
    }
}
