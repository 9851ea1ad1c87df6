using System.Globalization;
using System.Text;
using SystemTap.Language.Syntax;

namespace SystemTap.Language.Formatting;

/// <summary>
/// Prints a tree as script text that parses to an equal tree: every operator inside another is in
/// parentheses, every simple statement has its semicolon. Made for <c>-p1</c>; it is no pretty formatter, comments are gone.
/// </summary>
public sealed partial class ScriptPrinter
{
    private readonly StringBuilder _out;
    private int _indent;

    private ScriptPrinter(StringBuilder output) => _out = output;

    /// <summary>A file as the <c>-p1</c> dump: <c># parse tree dump</c>, <c># file NAME</c>, then the text.</summary>
    public static string PrintDump(ScriptFile file) => "# parse tree dump\n# file " + file.Source.Path.ReplaceLineEndings(" ") + "\n" + Print(file);

    /// <summary>A node as script text. A definition or file ends with a line end, statements and expressions do not.</summary>
    public static string Print(SyntaxNode node)
    {
        var sb = new StringBuilder();
        var printer = new ScriptPrinter(sb);
        switch (node)
        {
            case ScriptFile file:
                foreach (var item in file.Items)
                {
                    printer.Definition(item);
                }

                break;
            case TopLevelNode definition:
                printer.Definition(definition);
                break;
            case Statement statement:
                printer.Statement(statement);
                break;
            case Expression expression:
                printer.Bare(expression);
                break;
            case ProbePoint point:
                printer.Point(point);
                break;
            default:
                sb.Append(node);
                break;
        }

        return sb.ToString();
    }

    // ---- definitions ----

    private void Definition(TopLevelNode node)
    {
        switch (node)
        {
            case EmbeddedCDefinition embedded:
                _out.Append("%{").Append(embedded.Code).Append("%}");
                break;
            case GlobalDefinition global:
                Global(global);
                break;
            case FunctionDefinition function:
                Function(function);
                break;
            case ProbeDefinition probe:
                _out.Append("probe ");
                Points(probe.Points);
                _out.Append(' ');
                Block(probe.Body);
                break;
            case AliasDefinition alias:
                Alias(alias);
                break;
        }

        _out.Append('\n');
    }

    private void Global(GlobalDefinition global)
    {
        _out.Append(global.IsPrivate ? "private global " : "global ").Append(global.Name);
        if (global.Wraps)
        {
            _out.Append('%');
        }

        if (global.MaxSize is { } size)
        {
            _out.Append('[').Append(Number(size)).Append(']');
        }

        if (global.Initializer is { } initializer)
        {
            _out.Append(" = ").Append(initializer.ToScript());
        }
    }

    private void Function(FunctionDefinition function)
    {
        if (function.IsPrivate)
        {
            _out.Append("private ");
        }

        _out.Append("function ").Append(function.Name);
        Type(function.ReturnType);
        _out.Append(" (");
        for (var i = 0; i < function.Parameters.Count; i++)
        {
            if (i > 0)
            {
                _out.Append(", ");
            }

            _out.Append(function.Parameters[i].Name);
            Type(function.Parameters[i].Type);
        }

        _out.Append(") ");
        if (function.Priority is { } priority)
        {
            _out.Append(": ").Append(Number(priority)).Append(' ');
        }

        if (function.EmbeddedCode is { } code)
        {
            _out.Append("%{").Append(code).Append("%}");
        }
        else
        {
            Block(function.Body!);
        }
    }

    private void Type(TypeAnnotation type) => _out.Append(type switch
    {
        TypeAnnotation.Long => ":long",
        TypeAnnotation.String => ":string",
        _ => "",
    });

    private void Alias(AliasDefinition alias)
    {
        _out.Append("probe ");
        foreach (var name in alias.Names)
        {
            Point(name);
            _out.Append(alias.IsEpilogueStyle ? " += " : " = ");
        }

        Points(alias.Points);
        _out.Append(' ');
        Block(alias.Body);
        if (alias.Epilogue is { } epilogue)
        {
            _out.Append(", ");
            Block(epilogue);
        }
    }

    private void Points(IReadOnlyList<ProbePoint> points)
    {
        for (var i = 0; i < points.Count; i++)
        {
            if (i > 0)
            {
                _out.Append(", ");
            }

            Point(points[i]);
        }
    }

    private void Point(ProbePoint point)
    {
        _out.Append(point);
        if (point.IsOptional)
        {
            _out.Append(point.IsSufficient ? " !" : " ?");
        }

        if (point.Condition is { } condition)
        {
            _out.Append(" if (");
            Bare(condition);
            _out.Append(')');
        }
    }

    // ---- statements ----

    private void NewLine() => _out.Append('\n').Append(' ', Math.Min(_indent, 200));

    private void Block(BlockStatement block)
    {
        _out.Append('{');
        _indent += 2;
        foreach (var statement in block.Statements)
        {
            NewLine();
            Statement(statement);
        }

        _indent -= 2;
        NewLine();
        _out.Append('}');
    }

    private void Statement(Statement statement)
    {
        switch (statement)
        {
            case BlockStatement block:
                Block(block);
                break;
            case EmptyStatement:
                _out.Append(';');
                break;
            case ExpressionStatement simple:
                Bare(simple.Expression);
                _out.Append(';');
                break;
            case IfStatement conditional:
                If(conditional);
                break;
            case WhileStatement loop:
                _out.Append("while (");
                Bare(loop.Condition);
                _out.Append(") ");
                Statement(loop.Body);
                break;
            case ForStatement loop:
                _out.Append("for (");
                Optional(loop.Initializer);
                _out.Append("; ");
                Optional(loop.Condition);
                _out.Append("; ");
                Optional(loop.Increment);
                _out.Append(") ");
                Statement(loop.Body);
                break;
            case ForeachStatement loop:
                Foreach(loop);
                break;
            case BreakStatement:
                _out.Append("break;");
                break;
            case ContinueStatement:
                _out.Append("continue;");
                break;
            case NextStatement:
                _out.Append("next;");
                break;
            case ReturnStatement { Value: null }:
                _out.Append("return;");
                break;
            case ReturnStatement result:
                _out.Append("return ");
                Bare(result.Value);
                _out.Append(';');
                break;
            case DeleteStatement delete:
                _out.Append("delete ");
                Bare(delete.Operand);
                _out.Append(';');
                break;
            case TryStatement attempt:
                _out.Append("try ");
                Block(attempt.Body);
                _out.Append(" catch ");
                if (attempt.Variable is { } variable)
                {
                    _out.Append('(').Append(variable.Name).Append(") ");
                }

                Block(attempt.Handler);
                break;
        }
    }

    /// <summary>An <c>else if</c> chain goes on one level.</summary>
    private void If(IfStatement statement)
    {
        while (true)
        {
            _out.Append("if (");
            Bare(statement.Condition);
            _out.Append(") ");
            if (statement.Else is null)
            {
                Statement(statement.Then);
                return;
            }

            // An else would go to an open if inside; no parsed tree has one there.
            if (EndsWithOpenIf(statement.Then))
            {
                Block(new BlockStatement(statement.Then.Span, [statement.Then]));
            }
            else
            {
                Statement(statement.Then);
            }

            if (statement.Then is BlockStatement)
            {
                _out.Append(' ');
            }
            else
            {
                NewLine();
            }

            _out.Append("else ");
            if (statement.Else is not IfStatement next)
            {
                Statement(statement.Else);
                return;
            }

            statement = next;
        }
    }

    private static bool EndsWithOpenIf(Statement statement)
    {
        while (true)
        {
            switch (statement)
            {
                case IfStatement { Else: null }:
                    return true;
                case IfStatement conditional:
                    statement = conditional.Else!;
                    break;
                case WhileStatement loop:
                    statement = loop.Body;
                    break;
                case ForStatement loop:
                    statement = loop.Body;
                    break;
                case ForeachStatement loop:
                    statement = loop.Body;
                    break;
                default:
                    return false;
            }
        }
    }

    private void Foreach(ForeachStatement loop)
    {
        var mark = loop.Direction switch
        {
            SortDirection.Ascending => "+",
            SortDirection.Descending => "-",
            _ => "",
        };
        _out.Append("foreach (");
        if (loop.Value is { } value)
        {
            _out.Append(value.Name).Append(" = ");
        }

        _out.Append('[');
        for (var i = 0; i < loop.Keys.Count; i++)
        {
            if (i > 0)
            {
                _out.Append(", ");
            }

            _out.Append(loop.Keys[i].Name);
            if (loop.SortKey == i + 1)
            {
                _out.Append(mark);
            }
        }

        _out.Append("] in ");
        Bare(loop.Array);
        if (loop.Slice is { } slice)
        {
            Indexes(slice);
        }

        if (loop.SortStatistic is { } statistic)
        {
            _out.Append(" @").Append(StatisticName(statistic));
        }

        if (loop.SortKey == 0)
        {
            _out.Append(mark);
        }

        if (loop.Limit is { } limit)
        {
            _out.Append(" limit ");
            Bare(limit);
        }

        _out.Append(") ");
        Statement(loop.Body);
    }

    private void Optional(Expression? expression)
    {
        if (expression is not null)
        {
            Bare(expression);
        }
    }

    private static string Number(long value) => value.ToString(CultureInfo.InvariantCulture);

    internal static string StatisticName(StatisticKind kind) => kind switch
    {
        StatisticKind.Count => "count",
        StatisticKind.Sum => "sum",
        StatisticKind.Min => "min",
        StatisticKind.Max => "max",
        StatisticKind.Average => "avg",
        _ => "variance",
    };
}
