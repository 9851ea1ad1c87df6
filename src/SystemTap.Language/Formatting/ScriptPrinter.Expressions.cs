using System.Globalization;
using SystemTap.Language.Syntax;

namespace SystemTap.Language.Formatting;

public sealed partial class ScriptPrinter
{
    /// <summary>An expression as an operand: operators in parentheses.</summary>
    private void Operand(Expression expression)
    {
        if (NeedsParentheses(expression))
        {
            _out.Append('(');
            Bare(expression);
            _out.Append(')');
        }
        else
        {
            Bare(expression);
        }
    }

    private static bool NeedsParentheses(Expression expression) => expression is UnaryExpression or IncrementExpression or BinaryExpression
        or RegexExpression or InExpression or TernaryExpression or AssignmentExpression or StatisticAddExpression or TargetExpression;

    /// <summary>An expression without parentheses of its own.</summary>
    private void Bare(Expression? expression)
    {
        switch (expression)
        {
            case NumberLiteral number:
                // A minus would read back as an operator.
                _out.Append(number.Value < 0 ? "0x" + number.Value.ToString("x", CultureInfo.InvariantCulture) : Number(number.Value));
                break;
            case LiteralExpression literal:
                _out.Append(literal.ToScript());
                break;
            case IdentifierExpression identifier:
                _out.Append(identifier.Name);
                break;
            case IndexExpression index:
                Bare(index.Array);
                Indexes(index.Indexes);
                break;
            case UnaryExpression unary:
                _out.Append(unary.Operator switch
                {
                    UnaryOperator.Plus => '+',
                    UnaryOperator.Minus => '-',
                    UnaryOperator.Not => '!',
                    _ => '~',
                });
                Operand(unary.Operand);
                break;
            case IncrementExpression increment:
                var sign = increment.IsDecrement ? "--" : "++";
                if (increment.IsPrefix)
                {
                    _out.Append(sign);
                }

                Operand(increment.Operand);
                if (!increment.IsPrefix)
                {
                    _out.Append(sign);
                }

                break;
            case BinaryExpression binary:
                Operand(binary.Left);
                _out.Append(' ').Append(OperatorText(binary.Operator)).Append(' ');
                Operand(binary.Right);
                break;
            case RegexExpression regex:
                Operand(regex.Operand);
                _out.Append(regex.IsNegated ? " !~ " : " =~ ");
                Bare(regex.Pattern);
                break;
            case InExpression membership:
                Indexes(membership.Keys);
                _out.Append(" in ").Append(membership.Array.Name);
                break;
            case TernaryExpression ternary:
                Operand(ternary.Condition);
                _out.Append(" ? ");
                Operand(ternary.WhenTrue);
                _out.Append(" : ");
                Operand(ternary.WhenFalse);
                break;
            case AssignmentExpression assignment:
                Operand(assignment.Target);
                _out.Append(' ').Append(assignment.Operator is { } op ? OperatorText(op) : "").Append("= ");
                Operand(assignment.Value);
                break;
            case StatisticAddExpression add:
                Operand(add.Target);
                _out.Append(" <<< ");
                Operand(add.Value);
                break;
            case CallExpression call:
                _out.Append(call.Name).Append('(');
                List(call.Arguments);
                _out.Append(')');
                break;
            case PrintExpression print:
                Print(print);
                break;
            case EmbeddedCExpression embedded:
                _out.Append("%{").Append(embedded.Code).Append("%}");
                break;
            case TargetVariable target:
                _out.Append(target.Name);
                break;
            case TargetExpression target:
                Target(target);
                break;
            case not null:
                AtOperator(expression);
                break;
        }
    }

    private void List(IReadOnlyList<Expression> expressions)
    {
        for (var i = 0; i < expressions.Count; i++)
        {
            if (i > 0)
            {
                _out.Append(", ");
            }

            Bare(expressions[i]);
        }
    }

    private void Indexes(IReadOnlyList<Expression?> indexes)
    {
        _out.Append('[');
        for (var i = 0; i < indexes.Count; i++)
        {
            if (i > 0)
            {
                _out.Append(", ");
            }

            if (indexes[i] is { } index)
            {
                Bare(index);
            }
            else
            {
                _out.Append('*');
            }
        }

        _out.Append(']');
    }

    private void Target(TargetExpression target)
    {
        if (target.AddressOf)
        {
            _out.Append('&');
        }

        // "(t)[i]" is an accessor, "t[i]" an array element.
        if (target.Value is IdentifierExpression name && target.Accessors.Count > 0 && target.Accessors[0] is IndexAccessor)
        {
            _out.Append('(').Append(name.Name).Append(')');
        }
        else
        {
            Operand(target.Value);
        }

        foreach (var accessor in target.Accessors)
        {
            if (accessor is MemberAccessor member)
            {
                _out.Append("->").Append(member.Name);
            }
            else
            {
                _out.Append('[');
                Bare(((IndexAccessor)accessor).Index);
                _out.Append(']');
            }
        }

        _out.Append('$', target.PrettyDepth);
    }

    private void Print(PrintExpression print)
    {
        if (print.Kind == PrintKind.Char)
        {
            _out.Append("print_char(");
        }
        else
        {
            _out.Append(print.ReturnsString ? "sprint" : "print").Append(print.Kind switch
            {
                PrintKind.Print => "(",
                PrintKind.PrintLine => "ln(",
                PrintKind.Delimited => "d(",
                PrintKind.DelimitedLine => "dln(",
                _ => "f(",
            });
        }

        var separator = "";
        if (print.FormatLiteral is { } format)
        {
            _out.Append(format.ToScript());
            separator = ", ";
        }
        else if (print.Delimiter is { } delimiter)
        {
            _out.Append(StringEscapes.Quote(delimiter));
            separator = ", ";
        }

        foreach (var argument in print.Arguments)
        {
            _out.Append(separator);
            separator = ", ";
            Bare(argument);
        }

        _out.Append(')');
    }

    private void AtOperator(Expression expression)
    {
        switch (expression)
        {
            case StatisticExpression statistic:
                Open(StatisticName(statistic.Kind), statistic.Operand);
                if (statistic.Shift is { } shift)
                {
                    _out.Append(", ").Append(Number(shift));
                }

                break;
            case HistogramExpression histogram:
                Open(histogram.IsLinear ? "hist_linear" : "hist_log", histogram.Operand);
                if (histogram.IsLinear)
                {
                    _out.Append(", ").Append(Number(histogram.Low)).Append(", ").Append(Number(histogram.High)).Append(", ").Append(Number(histogram.Step));
                }

                break;
            case AtVarExpression variable:
                Open("var", variable.Name);
                More(variable.Module);
                break;
            case CastExpression cast:
                Open("cast", cast.Operand);
                More(cast.Type);
                More(cast.Module);
                break;
            case DefinedExpression defined:
                Open("defined", defined.Operand);
                break;
            case EntryExpression entry:
                Open("entry", entry.Operand);
                break;
            case PerfExpression perf:
                Open("perf", perf.Counter);
                break;
            case ProbeWriteExpression write:
                _out.Append("@probewrite(").Append(write.Variable);
                break;
            case ConstExpression constant:
                Open("const", constant.Code);
                break;
            case EnumExpression enumerator:
                Open("enum", enumerator.Name);
                break;
            case EnumNameExpression enumName:
                Open("enumname", enumName.Operand);
                More(enumName.Type);
                More(enumName.Module);
                break;
            case DerefExpression deref:
                _out.Append(deref.IsUser ? "@uderef(" : "@kderef(").Append(Number(deref.Size)).Append(", ");
                Bare(deref.Address);
                break;
            case RegisterExpression register:
                _out.Append(register.IsUser ? "@uregister(" : "@kregister(").Append(Number(register.Number));
                break;
            default:
                throw new InvalidOperationException("No printed form for " + expression.GetType().Name + ".");
        }

        _out.Append(')');
    }

    private void Open(string word, Expression first)
    {
        _out.Append('@').Append(word).Append('(');
        Bare(first);
    }

    private void More(StringLiteral? literal)
    {
        if (literal is not null)
        {
            _out.Append(", ").Append(literal.ToScript());
        }
    }

    /// <summary>The script's spelling of an operator.</summary>
    public static string OperatorText(BinaryOperator op) => op switch
    {
        BinaryOperator.Multiply => "*",
        BinaryOperator.Divide => "/",
        BinaryOperator.Modulo => "%",
        BinaryOperator.Add => "+",
        BinaryOperator.Subtract => "-",
        BinaryOperator.Concat => ".",
        BinaryOperator.ShiftLeft => "<<",
        BinaryOperator.ShiftRight => ">>",
        BinaryOperator.ShiftRightLogical => ">>>",
        BinaryOperator.Less => "<",
        BinaryOperator.Greater => ">",
        BinaryOperator.LessOrEqual => "<=",
        BinaryOperator.GreaterOrEqual => ">=",
        BinaryOperator.Equal => "==",
        BinaryOperator.NotEqual => "!=",
        BinaryOperator.BitAnd => "&",
        BinaryOperator.BitXor => "^",
        BinaryOperator.BitOr => "|",
        BinaryOperator.LogicalAnd => "&&",
        _ => "||",
    };
}
