using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using SystemTap.Language.Syntax;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Tests.Probes;

/// <summary>Evaluates the expressions that the target binder makes, over a piece of made-up memory. Written from the node's documentation alone.</summary>
internal sealed class MiniEvaluator(byte[] memory, long origin)
{
    public sealed class Fault(string message) : Exception(message);

    private sealed class Returned(object value) : Exception
    {
        public object Value { get; } = value;
    }

    public long Long(Expr e, Dictionary<Local, object>? locals = null) => (long)Value(e, locals ?? []);

    public string Text(Expr e) => (string)Value(e, []);

    private object Value(Expr e, Dictionary<Local, object> locals)
    {
        switch (e)
        {
            case LongConst c:
                return c.Value;
            case StringConst s:
                return s.Value;
            case ReadExpr { Place: LocalPlace l }:
                return locals[l.Local];
            case BinaryExpr b:
                long left = (long)Value(b.Left, locals), right = (long)Value(b.Right, locals);
                return b.Operator switch
                {
                    BinaryOperator.Add => left + right,
                    BinaryOperator.Multiply => left * right,
                    BinaryOperator.Less => left < right ? 1L : 0L,
                    BinaryOperator.Equal => left == right ? 1L : 0L,
                    _ => throw new NotSupportedException(b.Operator.ToString()),
                };
            case DerefExpr d:
                return Load(d, (long)Value(d.Address, locals));
            case ConcatExpr c:
                return string.Concat(c.Parts.Select(p => (string)Value(p, locals)));
            case FormatExpr f:
                return Format(f, locals);
            case CallExpr call:
                var inner = new Dictionary<Local, object>();
                for (var i = 0; i < call.Arguments.Count; i++)
                {
                    inner[call.Function.Locals[i]] = Value(call.Arguments[i], locals);
                }

                try
                {
                    Run(call.Function.Body, inner);
                    return "";
                }
                catch (Returned r)
                {
                    return r.Value;
                }

            case IntrinsicExpr { Intrinsic.Id: IntrinsicId.KernelString or IntrinsicId.UserString } s:
                return StringAt((long)Value(s.Arguments[0], locals), (long)Value(s.Arguments[1], locals));
            case IntrinsicExpr { Intrinsic.Id: IntrinsicId.EscapeText } q:
                return "\"" + Value(q.Arguments[0], locals) + "\"";
            default:
                throw new NotSupportedException(e.GetType().Name);
        }
    }

    private void Run(Stmt s, Dictionary<Local, object> locals)
    {
        switch (s)
        {
            case BlockStmt b:
                foreach (var inner in b.Statements)
                {
                    Run(inner, locals);
                }

                break;
            case ReturnStmt r:
                throw new Returned(Value(r.Value!, locals));
            case IfStmt i:
                if ((long)Value(i.Condition, locals) != 0)
                {
                    Run(i.Then, locals);
                }
                else if (i.Else is not null)
                {
                    Run(i.Else, locals);
                }

                break;
            case TryStmt t:
                try
                {
                    Run(t.Body, locals);
                }
                catch (Fault)
                {
                    Run(t.Handler, locals);
                }

                break;
            default:
                throw new NotSupportedException(s.GetType().Name);
        }
    }

    private ReadOnlySpan<byte> Bytes(long address, int size)
    {
        var at = address - origin;
        return at >= 0 && at + size <= memory.Length ? memory.AsSpan((int)at, size) : throw new Fault("read fault at 0x" + address.ToString("x"));
    }

    private long Load(DerefExpr d, long address)
    {
        var bytes = Bytes(address, d.Size);
        ulong raw = d.Size switch { 1 => bytes[0], 2 => BinaryPrimitives.ReadUInt16LittleEndian(bytes), 4 => BinaryPrimitives.ReadUInt32LittleEndian(bytes), _ => BinaryPrimitives.ReadUInt64LittleEndian(bytes) };
        var width = d.BitWidth > 0 ? d.BitWidth : d.Size * 8;
        raw >>= d.BitShift;
        var left = 64 - width;
        return d.IsSigned ? (long)(raw << left) >> left : (long)(raw << left >> left);
    }

    private string StringAt(long address, long most)
    {
        var sb = new StringBuilder();
        for (var i = 0; i < most; i++)
        {
            var b = Bytes(address + i, 1)[0];
            if (b == 0)
            {
                break;
            }

            sb.Append((char)b);
        }

        return sb.ToString();
    }

    private string Format(FormatExpr f, Dictionary<Local, object> locals)
    {
        var sb = new StringBuilder();
        var next = 0;
        foreach (var segment in f.Segments)
        {
            if (segment.Conversion == FormatConversion.Literal)
            {
                sb.Append(segment.Text);
                continue;
            }

            var value = Value(f.Arguments[next++], locals);
            sb.Append(segment.Conversion switch
            {
                FormatConversion.Signed => ((long)value).ToString(CultureInfo.InvariantCulture),
                FormatConversion.Unsigned => ((ulong)(long)value).ToString(CultureInfo.InvariantCulture),
                FormatConversion.Pointer => "0x" + ((long)value).ToString("x"),
                FormatConversion.Char => ((char)(long)value).ToString(),
                FormatConversion.String => (string)value,
                _ => throw new NotSupportedException(segment.Conversion.ToString()),
            });
        }

        return sb.ToString();
    }
}
