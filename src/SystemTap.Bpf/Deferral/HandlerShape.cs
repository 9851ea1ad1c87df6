using System.Globalization;
using System.Text;
using SystemTap.Bpf.Analysis;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Deferral;

// Handlers equal but for constants
// --------------------------------
// `probe syscall.* { n[name]++ }` becomes some 350 handlers that differ in one literal. The shape of a handler is its tree written as text with
// a hole for every constant; handlers with the same shape become one program and a table of their constants by system-call number. Constants
// that are the same in all of them stay constants.

/// <summary>The shape of a handler, its constants in order, its locals by first occurrence.</summary>
internal sealed class HandlerShape : LoweredWalker
{
    private readonly StringBuilder _text = new();
    private readonly Dictionary<Local, int> _numbers = new(ReferenceEqualityComparer.Instance);
    private readonly Probe _probe;

    private HandlerShape(Probe probe) => _probe = probe;

    /// <summary>Equal texts are mergeable handlers.</summary>
    public string Text { get; private set; } = "";

    /// <summary>The constant nodes in order.</summary>
    public List<Expr> Holes { get; } = [];

    /// <summary>Their values: long or string.</summary>
    public List<object> Values { get; } = [];

    public List<Local> Locals { get; } = [];

    public static HandlerShape Of(Probe probe)
    {
        var shape = new HandlerShape(probe);
        shape.Visit(probe.Body);
        shape.Text = shape._text.ToString();
        return shape;
    }

    public override void Visit(Stmt? statement)
    {
        if (statement is null)
        {
            Write("~");
            return;
        }

        switch (statement)
        {
            case BlockStmt s:
                Write("{", s.Statements.Count);
                break;
            case ExprStmt:
                Write("e");
                break;
            case IfStmt:
                Write("if");
                break;
            case LoopStmt:
                Write("for");
                break;
            case BreakStmt:
                Write("break");
                break;
            case ContinueStmt:
                Write("continue");
                break;
            case NextStmt:
                Write("next");
                break;
            case ReturnStmt:
                Write("return");
                break;
            case DeleteStmt s:
                Write("delete", s.Global.Index, s.Keys?.Count ?? -1);
                break;
            case StatAddStmt s:
                Write("<<<", s.Aggregate.Index);
                break;
            case TryStmt s:
                Write("try");
                Write(s.Message);
                break;
            case HostStmt s:
                Write("host");
                Visit(s.Body);
                return;
            case PrintStmt s:
                Write("print");
                Write(s.Segments);
                break;
            default:
                // Not worth merging: every such handler has a shape of its own.
                Write("unique", _probe.Index);
                break;
        }

        base.Visit(statement);
    }

    public override void Visit(Expr? expression)
    {
        switch (expression)
        {
            case null:
                Write("*");
                return;
            case LongConst c:
                Write("L");
                Holes.Add(c);
                Values.Add(c.Value);
                return;
            case StringConst c:
                Write("S");
                Holes.Add(c);
                Values.Add(c.Value);
                return;
            case IntrinsicExpr { Intrinsic.Id: IntrinsicId.ProbePointText or IntrinsicId.ProbeName or IntrinsicId.ProbeFunction or IntrinsicId.PointFunction or IntrinsicId.ProbeModule } i:
                Write("S");
                Holes.Add(i);
                Values.Add(i.Intrinsic.Id switch
                {
                    IntrinsicId.ProbeName => _probe.Name,
                    IntrinsicId.ProbeFunction or IntrinsicId.PointFunction => ProbedFunction.Name(_probe.Spec) ?? "",
                    IntrinsicId.ProbeModule => ProbedFunction.Module(_probe.Spec),
                    _ => _probe.PointText,
                });
                return;

            // Arguments that must be literals are part of the shape.
            case IntrinsicExpr { Intrinsic.Id: IntrinsicId.TableName or IntrinsicId.TableFlags or IntrinsicId.ParseLong or IntrinsicId.RegisterByName
                or IntrinsicId.UserRegisterByName or IntrinsicId.FunctionArgument or IntrinsicId.KernelString or IntrinsicId.UserString or IntrinsicId.Substring
                or IntrinsicId.Argument } i:
                Write("i", (int)i.Intrinsic.Id);
                foreach (var argument in i.Arguments)
                {
                    switch (argument)
                    {
                        case LongConst c:
                            _text.Append(CultureInfo.InvariantCulture, $"={c.Value};");
                            break;
                        case StringConst c:
                            _text.Append("='").Append(c.Value).Append("';");
                            break;
                        default:
                            Visit(argument);
                            break;
                    }
                }

                return;
            case IntrinsicExpr i:
                Write("i", (int)i.Intrinsic.Id);
                break;
            case ReadExpr e:
                Write("r");
                Write(e.Place);
                break;
            case AssignExpr e:
                Write("=");
                Write(e.Place);
                break;
            case UpdateExpr e:
                Write("u", (int)e.Operator, e.YieldsOld ? 1 : 0);
                Write(e.Place);
                break;
            case BinaryExpr e:
                Write("b", (int)e.Operator);
                break;
            case StringCompareExpr e:
                Write("s", (int)e.Operator);
                break;
            case LogicalExpr e:
                Write("l", e.IsAnd ? 1 : 0);
                break;
            case UnaryExpr e:
                Write("n", (int)e.Operator);
                break;
            case ConditionalExpr:
                Write("?");
                break;
            case ConcatExpr e:
                Write(".", e.Parts.Count);
                break;
            case InExpr e:
                Write("in", e.Array.Index);
                break;
            case CallExpr e:
                Write("c", System.Runtime.CompilerServices.RuntimeHelpers.GetHashCode(e.Function));
                break;
            case ContextExpr e:
                Write("x", (int)e.Value, e.Index, e.Size, e.IsSigned ? 1 : 0, e.BtfPointee);
                break;
            case DerefExpr e:
                Write("d", e.Size, e.IsSigned ? 1 : 0, e.IsUser ? 1 : 0, e.BitShift, e.BitWidth);
                break;
            case FormatExpr e:
                Write("f");
                Write(e.Segments);
                break;
            case StatExpr e:
                Write("@", (int)e.Kind, e.Aggregate.Index);
                break;
            default:
                Write("unique", _probe.Index);
                break;
        }

        base.Visit(expression);
    }

    private void Write(Place place)
    {
        switch (place)
        {
            case LocalPlace p:
                Write(p.Local);
                break;
            case GlobalPlace p:
                Write("g", p.Global.Index);
                break;
            case ElementPlace p:
                Write("a", p.Array.Index);
                break;
        }
    }

    private void Write(Local? local)
    {
        if (local is null)
        {
            Write("-");
            return;
        }

        if (!_numbers.TryGetValue(local, out var number))
        {
            number = _numbers[local] = Locals.Count;
            Locals.Add(local);
        }

        Write("v", number, (int)local.Type);
    }

    private void Write(IReadOnlyList<Language.Syntax.FormatSegment> segments)
    {
        foreach (var s in segments)
        {
            _text.Append('<').Append(s.Text);
            Write(">", (int)s.Conversion, (int)s.Flag, (int)s.WidthKind, s.Width, (int)s.PrecisionKind, s.Precision);
        }
    }

    private void Write(string tag, params ReadOnlySpan<int> numbers)
    {
        _text.Append(tag);
        foreach (var n in numbers)
        {
            _text.Append(CultureInfo.InvariantCulture, $",{n}");
        }

        _text.Append(';');
    }
}

/// <summary>Replaces chosen nodes of a handler.</summary>
internal sealed class NodeReplacer(Dictionary<Expr, Expr> replacements)
{
    public Stmt Replace(Stmt s) => Mapper.Children(s, Replace, Replace);

    private Expr Replace(Expr e)
    {
        if (replacements.TryGetValue(e, out var other))
        {
            return other;
        }

        if (e is SequenceExpr s)
        {
            var list = new Stmt[s.Statements.Count];
            for (var i = 0; i < list.Length; i++)
            {
                list[i] = Replace(s.Statements[i]);
            }

            return new SequenceExpr(list, Replace(s.Value), s.Span);
        }

        return Mapper.Children(e, Replace);
    }
}
