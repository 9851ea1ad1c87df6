using System.Text;
using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Probes;
using SystemTap.Targets;

namespace SystemTap.Semantics.Targeting;

// $x$ and $x$$ as text: {.a=1, .b=0xffff888003a50000, .c={...}, .comm="bash", .list=[1, 2, 3, 4, 5, ...]}
//
//   number    signed or unsigned decimal; enums and bools too      char        'a'
//   float, double  as C's %f
//   pointer   0x…; to char: the text in quotes                     char array  the text in quotes
//   struct, union   {.name=…}, members of anonymous ones as their owner's; below depth 1 of "$": {...}
//   array     at most 5 elements; below depth 1 of "$": [...]
//
// Pointers are followed at the top only. Everything read behind an address is read in a function made for that type, which catches read faults:
// printing never fails. A struct that cannot be read is "?", a text that cannot be read is its address.
//
// The text is cut at MAXSTRINGLEN, so members that cannot fit any more are not even read: a task_struct$$ would be thousands of reads.

/// <summary>Makes the expressions of pretty printing.</summary>
internal sealed class PrettyPrinter(Synthetics synthetics, int maxStringLength)
{
    private const int MostElements = 5;
    private const int MostArguments = 128;

    /// <summary>Values of one format; longer texts are joined from several.</summary>
    private const int ArgumentsPerFormat = 32;

    private const int DeepestStruct = 8;

    public Expr Text(TypedValue value, int depth, SourceSpan span)
    {
        if (value.Value.Type == ScriptType.String)
        {
            return value.Value;
        }

        if (value.CType is not { } type)
        {
            return Synthetics.Format(value.Value, FormatConversion.Signed);
        }

        if (type.IsWidened)
        {
            return new CallExpr(RealNumbers.Text(synthetics), [value.Value], span);
        }

        if (value.Parts is { } parts)
        {
            var builder = new Builder(synthetics, maxStringLength);
            Object(builder, new Source(parts), 0, CTypes.Complete(type.Type), type.IsUser, depth, 0);
            return builder.Finish(span);
        }

        if (value.Pointee is { } pointee)
        {
            var builder = new Builder(synthetics, maxStringLength);
            if (CTypes.Element(type) is { PointerDepth: 0 } target && CTypes.Complete(target.Type) is { IsStructOrUnion: true } or { IsArray: true })
            {
                Object(builder, new Source(pointee), 0, CTypes.Complete(target.Type), target.IsUser, depth, 0);
            }
            else
            {
                builder.Text("?");
            }

            return builder.Finish(span);
        }

        if (type.IsInMemory)
        {
            return new CallExpr(Printer(CTypes.Complete(type.Type), type.IsUser, depth), [value.Value], span);
        }

        if (CTypes.IsPointer(type) && CTypes.Element(type) is { } element)
        {
            var target = CTypes.Complete(element.Type);
            if (element.PointerDepth == 0 && target.IsChar)
            {
                return new CallExpr(String(element.IsUser, maxStringLength), [value.Value], span);
            }

            return element.PointerDepth == 0 && (target.IsStructOrUnion || target.IsArray)
                ? new CallExpr(Printer(target, element.IsUser, depth), [value.Value], span)
                : Synthetics.Format(value.Value, FormatConversion.Pointer);
        }

        // A scalar that is read from memory is read by a function, which catches the fault.
        if (value.Value is DerefExpr load)
        {
            var stripped = type.Type.Stripped;
            var function = synthetics.Guarded(
                $"scalar {stripped.Btf.Name} {stripped.Id} {load.Size} {load.IsSigned} {load.IsUser} {load.BitShift} {load.BitWidth}", "__pretty_value",
                p => Scalar(new DerefExpr(p, load.Size, load.IsSigned, load.IsUser, default) { BitShift = load.BitShift, BitWidth = load.BitWidth, MemberName = load.MemberName }, type.Type, span),
                Unreadable);
            return new CallExpr(function, [load.Address], span);
        }

        return Scalar(value.Value, type.Type, span);
    }

    private Function String(bool isUser, int length) => synthetics.QuotedString(isUser, Math.Min(length, maxStringLength), maxStringLength);

    private static Expr Unreadable(Expr address) => new StringConst("?", default);

    private Expr Scalar(Expr value, BtfType type, SourceSpan span)
    {
        var builder = new Builder(synthetics, int.MaxValue);
        builder.Scalar(value, type);
        return builder.Finish(span);
    }

    /// <summary>The function that prints an object of this type at an address.</summary>
    private Function Printer(BtfType type, bool isUser, int depth)
    {
        var stripped = type.Stripped;
        return synthetics.Guarded($"object {stripped.Btf.Name} {stripped.Id} {isUser} {depth}", "__pretty_" + (stripped.Name.Length > 0 ? stripped.Name : "object"),
            p =>
            {
                var builder = new Builder(synthetics, maxStringLength);
                Object(builder, new Source(p), 0, stripped, isUser, depth, 0);
                return builder.Finish(default);
            },
            Unreadable);
    }

    private void Object(Builder builder, Source source, long offset, BtfType type, bool isUser, int depth, int level)
    {
        var stripped = CTypes.Complete(type).Stripped;
        switch (stripped.Kind)
        {
            case BtfKind.Struct or BtfKind.Union:
                if (level >= depth && level > 0 || level > DeepestStruct)
                {
                    builder.Text("{...}");
                    return;
                }

                builder.Text("{");
                var first = true;
                Members(builder, source, offset, stripped, isUser, depth, level, ref first);
                builder.Text("}");
                return;
            case BtfKind.Array:
                Array(builder, source, offset, stripped, isUser, depth, level);
                return;
            case BtfKind.Pointer:
                if (source.Read(offset, 8, false, isUser) is not { } pointer)
                {
                    builder.Text("?");
                }
                else if (stripped.Target.IsChar)
                {
                    builder.Value(new CallExpr(String(isUser || CTypes.PointsToUser(stripped), maxStringLength), [pointer], default), FormatConversion.String);
                }
                else
                {
                    builder.Value(pointer, FormatConversion.Pointer);
                }

                return;
            case BtfKind.Int or BtfKind.Enum or BtfKind.Enum64 when stripped.Size is 1 or 2 or 4 or 8:
            case BtfKind.Float when stripped.Size is 4 or 8:
                builder.ScalarOrUnknown(source.Read(offset, (int)stripped.Size, stripped.IsSigned, isUser), stripped);
                return;
            default:
                builder.Text("?");
                return;
        }
    }

    private void Members(Builder builder, Source source, long offset, BtfType type, bool isUser, int depth, int level, ref bool first)
    {
        foreach (var member in type.Members)
        {
            if (member.NameOffset == 0)
            {
                if (member.Type.IsStructOrUnion && level <= DeepestStruct)
                {
                    Members(builder, source, offset + member.ByteOffset, member.Type.Stripped, isUser, depth, level, ref first);
                }

                continue; // otherwise padding
            }

            if (builder.IsFull)
            {
                builder.Text(", ...");
                return;
            }

            builder.Text((first ? "." : ", .") + member.Name + "=");
            first = false;
            if (!member.IsBitField)
            {
                Object(builder, source, offset + member.ByteOffset, member.Type, isUser, depth, level + 1);
            }
            else
            {
                builder.ScalarOrUnknown(source.Bits(member, offset, isUser), member.Type);
            }
        }
    }

    private void Array(Builder builder, Source source, long offset, BtfType array, bool isUser, int depth, int level)
    {
        var element = array.Target;
        var length = array.Length;
        if (element.IsChar && source.Address(offset) is { } text)
        {
            builder.Value(new CallExpr(String(isUser, length == 0 ? maxStringLength : (int)Math.Min(length, maxStringLength)), [text], default), FormatConversion.String);
            return;
        }

        if (level >= depth && level > 0)
        {
            builder.Text("[...]");
            return;
        }

        builder.Text("[");
        var size = element.Size;
        for (var i = 0; i < length; i++)
        {
            if (i >= MostElements || builder.IsFull)
            {
                builder.Text(", ...");
                break;
            }

            if (i > 0)
            {
                builder.Text(", ");
            }

            Object(builder, source, offset + (i * size), element, isUser, depth, level + 1);
        }

        builder.Text("]");
    }

    /// <summary>Where an object is: at an address, or in parts.</summary>
    private readonly struct Source
    {
        private readonly Expr? _address;
        private readonly ObjectParts? _parts;

        public Source(Expr address) => _address = address;

        public Source(ObjectParts parts) => _parts = parts;

        /// <summary>The address of what lies behind the beginning; null when it has none.</summary>
        public Expr? Address(long offset) => _address is null ? null : TargetBinder.Offset(_address, offset, default);

        /// <summary>A number in it; null when its place is not known.</summary>
        public Expr? Read(long offset, int size, bool isSigned, bool isUser) =>
            Address(offset) is { } at ? new DerefExpr(at, size, isSigned, isUser, default) : _parts!.Read(offset * 8, size * 8, isSigned, default, out _);

        /// <summary>A bit-field; its offset counts from the struct the member was asked of.</summary>
        public Expr? Bits(BtfMember member, long offset, bool isUser) =>
            _parts is not null ? _parts.Read((offset * 8) + member.BitOffset, member.BitFieldSize, member.Type.IsSigned, default, out _)
            : member.BitFieldLoad is var (at, size, left, _) ? new DerefExpr(Address(offset + at)!, size, member.Type.IsSigned, isUser, default)
            {
                BitShift = 64 - member.BitFieldSize - left,
                BitWidth = member.BitFieldSize,
            }
            : null;
    }

    /// <summary>Collects a format and its arguments.</summary>
    private sealed class Builder(Synthetics synthetics, int maxLength)
    {
        private readonly List<FormatSegment> _segments = [];
        private readonly List<Expr> _arguments = [];
        private readonly StringBuilder _literal = new();
        private int _shortest;

        /// <summary>What follows would be cut off (each value prints one character at least).</summary>
        public bool IsFull => _shortest >= maxLength || _arguments.Count >= MostArguments;

        public void Text(string text)
        {
            _literal.Append(text);
            _shortest += text.Length;
        }

        public void Value(Expr value, FormatConversion conversion, FormatFlag flag = FormatFlag.None)
        {
            Flush();
            _segments.Add(new FormatSegment(conversion, "") { Flag = flag });
            _arguments.Add(value);
            _shortest++;
        }

        public void Scalar(Expr value, BtfType type)
        {
            var stripped = type.Stripped;
            if (stripped.IsChar)
            {
                Text("'");
                Value(value, FormatConversion.Char, FormatFlag.Alternate);
                Text("'");
                return;
            }

            if (stripped.IsFloat)
            {
                var wide = stripped.Size == 4 ? new CallExpr(RealNumbers.Widened(synthetics), [value], default) : value;
                Value(new CallExpr(RealNumbers.Text(synthetics), [wide], default), FormatConversion.String);
                return;
            }

            Value(value, stripped.Kind == BtfKind.Pointer ? FormatConversion.Pointer : stripped.IsSigned || stripped.IsEnum ? FormatConversion.Signed : FormatConversion.Unsigned);
        }

        public void ScalarOrUnknown(Expr? value, BtfType type)
        {
            if (value is null)
            {
                Text("?");
            }
            else
            {
                Scalar(value, type);
            }
        }

        public Expr Finish(SourceSpan span)
        {
            Flush();
            if (_arguments.Count == 0)
            {
                return new StringConst(_segments.Count == 0 ? "" : _segments[0].Text, span);
            }

            if (_arguments.Count <= ArgumentsPerFormat)
            {
                return new FormatExpr(_segments, _arguments, span);
            }

            var parts = new List<Expr>();
            var next = 0;
            for (var at = 0; at < _segments.Count;)
            {
                var segments = new List<FormatSegment>();
                var arguments = new List<Expr>();
                while (at < _segments.Count && (arguments.Count < ArgumentsPerFormat || _segments[at].Conversion == FormatConversion.Literal))
                {
                    if (_segments[at].Conversion != FormatConversion.Literal)
                    {
                        arguments.Add(_arguments[next++]);
                    }

                    segments.Add(_segments[at++]);
                }

                parts.Add(new FormatExpr(segments, arguments, span));
            }

            return new ConcatExpr(parts, span);
        }

        private void Flush()
        {
            if (_literal.Length > 0)
            {
                _segments.Add(new FormatSegment(FormatConversion.Literal, ByteText.FromText(_literal.ToString())));
                _literal.Clear();
            }
        }
    }
}
