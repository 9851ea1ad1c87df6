using System.Globalization;
using System.Text;
using SystemTap.Language.Formatting;
using SystemTap.Language.Syntax;

namespace SystemTap.Semantics.Lowered;

/// <summary>Readable text of lowered bodies, for <c>-p2 -v</c>, tests and debugging. Locals and globals go by name, built-ins by their <c>_stap_</c> name.</summary>
public sealed class LoweredPrinter
{
    private readonly StringBuilder _out = new();
    private int _indent;

    /// <summary>The text of one statement, without a final newline.</summary>
    public static string Print(Stmt statement)
    {
        var printer = new LoweredPrinter();
        printer.Write(statement);
        return printer._out.ToString().TrimEnd('\n');
    }

    /// <summary>The text of one expression.</summary>
    public static string Print(Expr expression)
    {
        var printer = new LoweredPrinter();
        printer.Write(expression);
        return printer._out.ToString();
    }

    private void Line(string text) => _out.Append(' ', _indent * 2).Append(text).Append('\n');

    private void Line(string head, Expr? expression, string tail = "")
    {
        _out.Append(' ', _indent * 2).Append(head);
        Write(expression);
        _out.Append(tail).Append('\n');
    }

    private void Write(Stmt? statement)
    {
        switch (statement)
        {
            case null: break;
            case BlockStmt s:
                foreach (var inner in s.Statements)
                {
                    Write(inner);
                }

                break;
            case ExprStmt s: Line("", s.Expression); break;
            case IfStmt s:
                Line("if (", s.Condition, ")");
                Nested(s.Then);
                if (s.Else is not null)
                {
                    Line("else");
                    Nested(s.Else);
                }

                break;
            case LoopStmt s:
                _out.Append(' ', _indent * 2).Append("for (; ");
                Write(s.Condition);
                _out.Append("; ");
                Write(s.Step);
                _out.Append(")\n");
                Nested(s.Body);
                break;
            case ForeachStmt s: WriteForeach(s); break;
            case BreakStmt: Line("break"); break;
            case ContinueStmt: Line("continue"); break;
            case NextStmt: Line("next"); break;
            case ReturnStmt s: Line(s.Value is null ? "return" : "return ", s.Value); break;
            case DeleteStmt s:
                _out.Append(' ', _indent * 2).Append("delete ").Append(s.Global.Name);
                Keys(s.Keys);
                _out.Append('\n');
                break;
            case StatAddStmt s:
                _out.Append(' ', _indent * 2).Append(s.Aggregate.Name);
                Keys(s.Keys);
                _out.Append(" <<< ");
                Write(s.Value);
                _out.Append('\n');
                break;
            case TryStmt s:
                Line("try");
                Nested(s.Body);
                Line(s.Message is null ? "catch" : "catch (" + s.Message.Name + ")");
                Nested(s.Handler);
                break;
            case PrintStmt s:
                _out.Append(' ', _indent * 2).Append("printf(");
                Format(s.Segments, s.Arguments);
                _out.Append(")\n");
                break;
            default: throw new InvalidOperationException("unknown statement " + statement.GetType().Name);
        }
    }

    private void WriteForeach(ForeachStmt s)
    {
        _out.Append(' ', _indent * 2).Append("foreach (");
        if (s.Value is not null)
        {
            _out.Append(s.Value.Name).Append(" = ");
        }

        _out.Append('[');
        for (var i = 0; i < s.Keys.Count; i++)
        {
            _out.Append(i > 0 ? ", " : "").Append(s.Keys[i].Name);
            Direction(s, i + 1);
        }

        _out.Append("] in ").Append(s.OverBuckets ? "@hist(" : "").Append(s.Array.Name);
        Keys(s.OverBuckets && s.BucketKeys.Count > 0 ? s.BucketKeys : s.Slice);
        _out.Append(s.OverBuckets ? ")" : "");
        if (s.Array.Type == ScriptType.Statistics && s.Direction != SortDirection.None && s.SortKey == 0)
        {
            _out.Append(" @").Append(Extractor(s.SortStatistic));
        }

        Direction(s, 0);
        if (s.Limit is not null)
        {
            _out.Append(" limit ");
            Write(s.Limit);
        }

        _out.Append(")\n");
        Nested(s.Body);
    }

    private void Direction(ForeachStmt s, int key)
    {
        if (s.SortKey == key)
        {
            _out.Append(s.Direction switch
            {
                SortDirection.Ascending => "+",
                SortDirection.Descending => "-",
                _ => "",
            });
        }
    }

    private void Nested(Stmt s)
    {
        _indent++;
        if (s is BlockStmt { Statements.Count: 0 })
        {
            Line(";");
        }

        Write(s);
        _indent--;
    }

    private void Write(Expr? expression)
    {
        switch (expression)
        {
            case null: break;
            case LongConst e: _out.Append(e.Value.ToString(CultureInfo.InvariantCulture)); break;
            case StringConst e: _out.Append(StringEscapes.Quote(e.Value)); break;
            case ReadExpr e: Write(e.Place); break;
            case AssignExpr e:
                Write(e.Place);
                _out.Append(" = ");
                Write(e.Value);
                break;
            case UpdateExpr { Operand: LongConst { Value: 1 }, Operator: BinaryOperator.Add or BinaryOperator.Subtract } e:
                var sign = e.Operator == BinaryOperator.Add ? "++" : "--";
                _out.Append(e.YieldsOld ? "" : sign);
                Write(e.Place);
                _out.Append(e.YieldsOld ? sign : "");
                break;
            case UpdateExpr e:
                Write(e.Place);
                _out.Append(' ').Append(ScriptPrinter.OperatorText(e.Operator)).Append("= ");
                Write(e.Operand);
                break;
            case BinaryExpr e: Binary(e.Left, ScriptPrinter.OperatorText(e.Operator), e.Right); break;
            case StringCompareExpr e: Binary(e.Left, ScriptPrinter.OperatorText(e.Operator), e.Right); break;
            case LogicalExpr e: Binary(e.Left, e.IsAnd ? "&&" : "||", e.Right); break;
            case UnaryExpr e:
                _out.Append(e.Operator switch
                {
                    UnaryOperator.Minus => "-",
                    UnaryOperator.Not => "!",
                    UnaryOperator.Complement => "~",
                    _ => "+",
                });
                Write(e.Operand);
                break;
            case ConditionalExpr e:
                _out.Append('(');
                Write(e.Condition);
                _out.Append(" ? ");
                Write(e.WhenTrue);
                _out.Append(" : ");
                Write(e.WhenFalse);
                _out.Append(')');
                break;
            case ConcatExpr e:
                _out.Append('(');
                for (var i = 0; i < e.Parts.Count; i++)
                {
                    _out.Append(i > 0 ? " . " : "");
                    Write(e.Parts[i]);
                }

                _out.Append(')');
                break;
            case InExpr e:
                _out.Append('(');
                Keys(e.Keys);
                _out.Append(" in ").Append(e.Array.Name).Append(')');
                break;
            case CallExpr e: Call(e.Function.Name, e.Arguments); break;
            case IntrinsicExpr e: Call(e.Intrinsic.Name, e.Arguments); break;
            case ContextExpr e:
                _out.Append("@context(").Append(Context(e.Value)).Append(", ").Append(e.Index).Append(')');
                break;
            case DerefExpr e:
                _out.Append(e.IsUser ? "@uderef(" : "@kderef(").Append(e.Size).Append(", ");
                Write(e.Address);
                _out.Append(')');
                break;
            case FormatExpr e:
                _out.Append("sprintf(");
                Format(e.Segments, e.Arguments);
                _out.Append(')');
                break;
            case HistogramTextExpr e:
                _out.Append("@hist(").Append(e.Aggregate.Name);
                Keys(e.Keys);
                _out.Append(')');
                break;
            case StatExpr e:
                _out.Append('@').Append(Extractor(e.Kind)).Append('(').Append(e.Aggregate.Name);
                Keys(e.Keys);
                _out.Append(')');
                break;
            case BucketExpr e:
                _out.Append("@hist(").Append(e.Aggregate.Name);
                Keys(e.Keys);
                _out.Append(")[");
                Write(e.Index);
                _out.Append(']');
                break;
            case RegexExpr e: Binary(e.Subject, e.IsNegated ? "!~" : "=~", new StringConst(e.Regex.Pattern, e.Span)); break;
            case SequenceExpr e:
                _out.Append("{ ");
                foreach (var s in e.Statements)
                {
                    _out.Append(Print(s).Replace("\n", "; ")).Append("; ");
                }

                Write(e.Value);
                _out.Append(" }");
                break;
            case EmbeddedCExpr e: _out.Append("%{").Append(e.Code).Append("%}"); break;
            default: throw new InvalidOperationException("unknown expression " + expression.GetType().Name);
        }
    }

    private static string Extractor(StatisticKind kind) => kind switch
    {
        StatisticKind.Count => "count",
        StatisticKind.Sum => "sum",
        StatisticKind.Min => "min",
        StatisticKind.Max => "max",
        StatisticKind.Average => "avg",
        _ => "variance",
    };

    private static string Context(ContextValue value) => value switch
    {
        ContextValue.TracepointArgument => "tracepoint argument",
        ContextValue.SyscallArgument => "syscall argument",
        ContextValue.SyscallNumber => "syscall number",
        ContextValue.SyscallReturn => "syscall return",
        ContextValue.FunctionArgument => "function argument",
        ContextValue.FunctionReturn => "function return",
        ContextValue.Register => "register",
        ContextValue.VectorRegister => "vector register",
        _ => "procfs value",
    };

    private void Binary(Expr left, string op, Expr right)
    {
        _out.Append('(');
        Write(left);
        _out.Append(' ').Append(op).Append(' ');
        Write(right);
        _out.Append(')');
    }

    private void Write(Place place)
    {
        switch (place)
        {
            case LocalPlace p: _out.Append(p.Local.Name); break;
            case GlobalPlace p: _out.Append(p.Global.Name); break;
            case ElementPlace p:
                _out.Append(p.Array.Name);
                Keys(p.Keys);
                break;
        }
    }

    private void Keys(IReadOnlyList<Expr?>? keys)
    {
        if (keys is not { Count: > 0 })
        {
            return;
        }

        _out.Append('[');
        for (var i = 0; i < keys.Count; i++)
        {
            _out.Append(i > 0 ? ", " : "");
            if (keys[i] is { } key)
            {
                Write(key);
            }
            else
            {
                _out.Append('*');
            }
        }

        _out.Append(']');
    }

    private void Call(string name, IReadOnlyList<Expr> arguments)
    {
        _out.Append(name).Append('(');
        for (var i = 0; i < arguments.Count; i++)
        {
            _out.Append(i > 0 ? ", " : "");
            Write(arguments[i]);
        }

        _out.Append(')');
    }

    private void Format(IReadOnlyList<FormatSegment> segments, IReadOnlyList<Expr> arguments)
    {
        var text = new StringBuilder();
        foreach (var s in segments)
        {
            if (s.Conversion == FormatConversion.Literal)
            {
                text.Append(s.Text.Replace("%", "%%"));
                continue;
            }

            text.Append('%').Append(s.Flag switch
            {
                FormatFlag.Zero => "0",
                FormatFlag.Plus => "+",
                FormatFlag.Left => "-",
                FormatFlag.Space => " ",
                FormatFlag.Alternate => "#",
                _ => "",
            });
            Size(s.WidthKind, s.Width);
            if (s.PrecisionKind != FormatSize.Unspecified)
            {
                text.Append('.');
                Size(s.PrecisionKind, s.Precision);
            }

            text.Append(s.Conversion switch
            {
                FormatConversion.Signed => 'd',
                FormatConversion.Unsigned => 'u',
                FormatConversion.HexLower => 'x',
                FormatConversion.HexUpper => 'X',
                FormatConversion.Octal => 'o',
                FormatConversion.Pointer => 'p',
                FormatConversion.Char => 'c',
                FormatConversion.String => 's',
                FormatConversion.Binary => 'b',
                FormatConversion.Memory => 'm',
                _ => 'M',
            });
        }

        _out.Append(StringEscapes.Quote(text.ToString()));
        foreach (var argument in arguments)
        {
            _out.Append(", ");
            Write(argument);
        }

        void Size(FormatSize kind, int value)
        {
            switch (kind)
            {
                case FormatSize.Fixed: text.Append(value); break;
                case FormatSize.Dynamic: text.Append('*'); break;
            }
        }
    }
}
