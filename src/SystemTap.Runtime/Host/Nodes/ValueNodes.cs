using SystemTap.Language.Syntax;
using SystemTap.Language.Text;

namespace SystemTap.Runtime.Host.Nodes;

internal sealed class LongConstNode(long value, SourceSpan span) : Node(span)
{
    public override long Long(Machine m) => value;
}

internal sealed class TextConstNode(string value, SourceSpan span) : Node(span)
{
    public override string Text(Machine m) => value;
}

internal sealed class LocalLongNode(int index, SourceSpan span) : Node(span)
{
    public int Index => index;

    public override long Long(Machine m) => m.Longs[m.Base + index];
}

internal sealed class LocalTextNode(int index, SourceSpan span) : Node(span)
{
    public override string Text(Machine m) => m.Texts[m.Base + index];
}

internal sealed class LeafNode(int index, SourceSpan span) : Node(span)
{
    public override long Long(Machine m) => m.LeafLongs[index];

    public override string Text(Machine m) => m.LeafTexts[index];
}

internal sealed class ProcfsValueNode(SourceSpan span) : Node(span)
{
    public override string Text(Machine m) => m.ProcfsText;
}

/// <summary>What only an event in the kernel has.</summary>
internal sealed class NoContextNode(string what, SourceSpan span) : Node(span)
{
    public override long Long(Machine m) => throw Error();

    public override string Text(Machine m) => throw Error();

    private RuntimeError Error() => new($"{what} is not available in this kind of probe", Span);
}

internal sealed class AddNode(Node left, Node right, SourceSpan span) : Node(span)
{
    public override long Long(Machine m) => left.Long(m) + right.Long(m);
}

internal sealed class SubtractNode(Node left, Node right, SourceSpan span) : Node(span)
{
    public override long Long(Machine m) => left.Long(m) - right.Long(m);
}

internal sealed class LessNode(Node left, Node right, SourceSpan span) : Node(span)
{
    public override long Long(Machine m) => left.Long(m) < right.Long(m) ? 1 : 0;
}

internal sealed class EqualNode(Node left, Node right, SourceSpan span) : Node(span)
{
    public override long Long(Machine m) => left.Long(m) == right.Long(m) ? 1 : 0;
}

internal sealed class BinaryNode(BinaryOperator op, Node left, Node right, SourceSpan span) : Node(span)
{
    public override long Long(Machine m)
    {
        var l = left.Long(m);
        return Arithmetic.Apply(op, l, right.Long(m), Span);
    }
}

internal sealed class TextCompareNode(BinaryOperator op, Node left, Node right, SourceSpan span) : Node(span)
{
    public override long Long(Machine m)
    {
        var l = left.Text(m);
        var r = right.Text(m);
        return op switch
        {
            BinaryOperator.Equal => string.Equals(l, r) ? 1 : 0,
            BinaryOperator.NotEqual => string.Equals(l, r) ? 0 : 1,
            _ => Arithmetic.Compare(op, l, r),
        };
    }
}

internal sealed class AndNode(Node left, Node right, SourceSpan span) : Node(span)
{
    public override long Long(Machine m) => left.Long(m) != 0 && right.Long(m) != 0 ? 1 : 0;
}

internal sealed class OrNode(Node left, Node right, SourceSpan span) : Node(span)
{
    public override long Long(Machine m) => left.Long(m) != 0 || right.Long(m) != 0 ? 1 : 0;
}

internal sealed class UnaryNode(UnaryOperator op, Node operand, SourceSpan span) : Node(span)
{
    public override long Long(Machine m)
    {
        var value = operand.Long(m);
        return op switch
        {
            UnaryOperator.Minus => -value,
            UnaryOperator.Not => value == 0 ? 1 : 0,
            UnaryOperator.Complement => ~value,
            _ => value,
        };
    }
}

internal sealed class ConditionalNode(Node condition, Node whenTrue, Node whenFalse, SourceSpan span) : Node(span)
{
    public override long Long(Machine m) => condition.Long(m) != 0 ? whenTrue.Long(m) : whenFalse.Long(m);

    public override string Text(Machine m) => condition.Long(m) != 0 ? whenTrue.Text(m) : whenFalse.Text(m);
}

internal sealed class ConcatNode(Node[] parts, SourceSpan span) : Node(span)
{
    public override string Text(Machine m)
    {
        if (parts.Length == 2)
        {
            var first = parts[0].Text(m);
            return m.Cut(Span, string.Concat(first, parts[1].Text(m)));
        }

        var texts = new string[parts.Length];
        for (var i = 0; i < texts.Length; i++)
        {
            texts[i] = parts[i].Text(m);
        }

        return m.Cut(Span, string.Concat(texts));
    }
}

internal sealed class SequenceNode(Act[] statements, Node value, SourceSpan span) : Node(span)
{
    public override long Long(Machine m)
    {
        Run(m);
        return value.Long(m);
    }

    public override string Text(Machine m)
    {
        Run(m);
        return value.Text(m);
    }

    private void Run(Machine m)
    {
        foreach (var statement in statements)
        {
            statement.Run(m);
        }
    }
}

internal sealed class RegexNode(Node subject, SystemTap.Semantics.Regex.RegexProgram program, bool needsGroups, bool negated, SourceSpan span) : Node(span)
{
    public override long Long(Machine m)
    {
        var text = subject.Text(m);
        bool matched;
        if (needsGroups)
        {
            var slots = 2 * program.GroupCount;
            if (m.MatchGroups.Length < slots)
            {
                m.MatchGroups = new int[slots];
            }

            matched = program.Match(text, m.MatchGroups);
            if (matched)
            {
                m.MatchSubject = text;
                m.MatchCount = program.GroupCount;
            }
        }
        else
        {
            matched = program.IsMatch(text);
        }

        return matched != negated ? 1 : 0;
    }
}

internal sealed class DerefNode(Node address, int size, bool isSigned, bool isUser, int bitShift, int bitWidth, string? member, SourceSpan span) : Node(span)
{
    public override long Long(Machine m)
    {
        var at = (ulong)address.Long(m);
        Span<byte> bytes = stackalloc byte[8];
        bytes.Clear();
        var memory = m.Services.Memory;
        if (!(isUser ? memory.ReadUser(at, bytes[..size]) : memory.ReadKernel(at, bytes[..size])))
        {
            throw new RuntimeError(member is null ? $"read fault at 0x{at:x16}" : $"read fault at 0x{at:x16} ({member})", Span);
        }

        var value = BitConverter.ToInt64(bytes);
        var bits = 8 * size;
        if (bitWidth > 0)
        {
            value = (long)((ulong)value >> bitShift);
            bits = bitWidth;
        }

        var spare = 64 - bits;
        return isSigned ? value << spare >> spare : (long)((ulong)(value << spare) >> spare);
    }
}
