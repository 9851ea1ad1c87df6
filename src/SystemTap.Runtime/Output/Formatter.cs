using SystemTap.Language.Syntax;

namespace SystemTap.Runtime.Output;

// printf of the script language (reference: language.md §10): C's conversions with one flag, plus %b, %m, %M, %#c. It writes bytes, never
// strings, since every record of a kernel handler passes here; nothing is allocated.
//
// Where it leaves C: `#` shows 0x for 0 too; `%p` is `%#x`; the 0 flag on %s appends a NUL byte; widths are held to MaxPadding because a `*`
// width is script data. Kept from C: precision is the least number of digits and then the 0 flag is ignored.

/// <summary>Writes one value under a printf directive.</summary>
public static class Formatter
{
    /// <summary>Widths and precisions beyond this are cut to it.</summary>
    public const int MaxPadding = 65535;

    private static readonly FormatSegment PlainNumber = new(FormatConversion.Signed, "");

    /// <summary><c>%d</c> without anything else.</summary>
    public static void Decimal(ByteSink sink, long value) => Number(sink, PlainNumber, 0, -1, value);

    /// <summary>A number under any numeric conversion, <c>%c</c> or <c>%b</c>.</summary>
    /// <param name="sink">Where to.</param>
    /// <param name="directive">Conversion and flag; its width and precision are not looked at.</param>
    /// <param name="width">0 for none; negative means left-justified.</param>
    /// <param name="precision">Negative for none.</param>
    /// <param name="value">The value.</param>
    public static void Number(ByteSink sink, FormatSegment directive, long width, long precision, long value)
    {
        var left = directive.Flag == FormatFlag.Left;
        if (width < 0)
        {
            left = true;
            width = width == long.MinValue ? MaxPadding : -width;
        }

        var w = (int)Math.Min(width, MaxPadding);
        var p = (int)Math.Clamp(precision, -1, MaxPadding);
        switch (directive.Conversion)
        {
            case FormatConversion.Char:
                Char(sink, directive.Flag == FormatFlag.Alternate, left, w, (byte)value);
                return;
            case FormatConversion.Binary:
                Binary(sink, left, w, value);
                return;
            default:
                Digits(sink, directive.Conversion, directive.Flag, left, w, p, value);
                return;
        }
    }

    /// <summary><c>%s</c> of a script string.</summary>
    public static void Text(ByteSink sink, FormatSegment directive, long width, long precision, ReadOnlySpan<char> text)
    {
        text = text[..Shown(precision, text.Length)];
        var behind = PadBefore(sink, directive, width, text.Length);
        sink.Append(text);
        EndText(sink, directive, behind);
    }

    /// <summary><c>%s</c> of bytes from a kernel record.</summary>
    public static void Text(ByteSink sink, FormatSegment directive, long width, long precision, ReadOnlySpan<byte> text)
    {
        text = text[..Shown(precision, text.Length)];
        var behind = PadBefore(sink, directive, width, text.Length);
        sink.Append(text);
        EndText(sink, directive, behind);
    }

    /// <summary><c>%m</c> (the bytes) or <c>%M</c> (two hex digits each) of memory already read.</summary>
    public static void Memory(ByteSink sink, FormatSegment directive, long width, ReadOnlySpan<byte> bytes)
    {
        var hex = directive.Conversion == FormatConversion.MemoryHex;
        var behind = PadBefore(sink, directive, width, hex ? bytes.Length * 2 : bytes.Length);
        if (hex)
        {
            var room = sink.Take(bytes.Length * 2);
            for (var i = 0; i < bytes.Length; i++)
            {
                room[2 * i] = HexDigit(bytes[i] >> 4);
                room[(2 * i) + 1] = HexDigit(bytes[i] & 15);
            }
        }
        else
        {
            sink.Append(bytes);
        }

        sink.Fill((byte)' ', behind);
    }

    /// <summary>Escapes one byte as C source would: <c>\n</c>, <c>\'</c>, else three octal digits.</summary>
    public static int Escape(byte value, char quote, Span<byte> room)
    {
        room[0] = (byte)'\\';
        var letter = value switch
        {
            (byte)'\a' => 'a',
            (byte)'\b' => 'b',
            (byte)'\f' => 'f',
            (byte)'\n' => 'n',
            (byte)'\r' => 'r',
            (byte)'\t' => 't',
            (byte)'\v' => 'v',
            (byte)'\\' => '\\',
            _ => value == (byte)quote ? quote : '\0',
        };
        if (letter != 0)
        {
            room[1] = (byte)letter;
            return 2;
        }

        if (value is >= 32 and < 127)
        {
            room[0] = value;
            return 1;
        }

        room[1] = (byte)('0' + (value >> 6));
        room[2] = (byte)('0' + ((value >> 3) & 7));
        room[3] = (byte)('0' + (value & 7));
        return 4;
    }

    private static byte HexDigit(int nibble) => (byte)(nibble < 10 ? '0' + nibble : 'a' + nibble - 10);

    private static int Shown(long precision, int length) => precision >= 0 && precision < length ? (int)precision : length;

    /// <summary>Writes the blanks in front of something so long; how many come behind it.</summary>
    private static int PadBefore(ByteSink sink, FormatSegment directive, long width, int length)
    {
        var w = width == long.MinValue ? MaxPadding : Math.Min(Math.Abs(width), MaxPadding);
        var pad = (int)Math.Max(0, w - length);
        if (directive.Flag == FormatFlag.Left || width < 0)
        {
            return pad;
        }

        sink.Fill((byte)' ', pad);
        return 0;
    }

    private static void EndText(ByteSink sink, FormatSegment directive, int behind)
    {
        sink.Fill((byte)' ', behind);
        if (directive.Flag == FormatFlag.Zero)
        {
            sink.Append((byte)0);
        }
    }

    private static void Char(ByteSink sink, bool escape, bool left, int width, byte value)
    {
        Span<byte> text = stackalloc byte[4];
        text[0] = value;
        var length = escape ? Escape(value, '\'', text) : 1;
        sink.Fill((byte)' ', left ? 0 : width - length);
        sink.Append(text[..length]);
        sink.Fill((byte)' ', left ? width - length : 0);
    }

    private static void Binary(ByteSink sink, bool left, int width, long value)
    {
        var size = width switch { 0 or >= 8 => 8, >= 4 => 4, >= 2 => 2, _ => 1 };
        sink.Fill(0, left ? 0 : width - size);
        Span<byte> bytes = stackalloc byte[8];
        System.Runtime.InteropServices.MemoryMarshal.Write(bytes, value);
        sink.Append(BitConverter.IsLittleEndian ? bytes[..size] : bytes[(8 - size)..]);
        sink.Fill(0, left ? width - size : 0);
    }

    private static void Digits(ByteSink sink, FormatConversion conversion, FormatFlag flag, bool left, int width, int precision, long value)
    {
        Span<byte> digits = stackalloc byte[24];
        var at = digits.Length;
        var magnitude = (ulong)value;
        byte sign = 0;
        if (conversion == FormatConversion.Signed)
        {
            if (value < 0)
            {
                sign = (byte)'-';
                magnitude = (ulong)-value;
            }
            else
            {
                sign = flag switch { FormatFlag.Plus => (byte)'+', FormatFlag.Space => (byte)' ', _ => 0 };
            }
        }

        var pointer = conversion == FormatConversion.Pointer;
        if (conversion is FormatConversion.HexLower or FormatConversion.HexUpper || pointer)
        {
            var ten = conversion == FormatConversion.HexUpper ? 'A' - 10 : 'a' - 10;
            for (; magnitude != 0; magnitude >>= 4)
            {
                var nibble = (int)(magnitude & 15);
                digits[--at] = (byte)(nibble < 10 ? '0' + nibble : ten + nibble);
            }
        }
        else if (conversion == FormatConversion.Octal)
        {
            for (; magnitude != 0; magnitude >>= 3)
            {
                digits[--at] = (byte)('0' + (int)(magnitude & 7));
            }
        }
        else
        {
            for (; magnitude != 0; magnitude /= 10)
            {
                digits[--at] = (byte)('0' + (int)(magnitude % 10));
            }
        }

        // As in C: precision 0 shows no digit for 0; the default precision is 1.
        var count = digits.Length - at;
        var alternate = flag == FormatFlag.Alternate || pointer;
        var least = precision < 0 ? 1 : precision;
        if (alternate && conversion == FormatConversion.Octal && least <= count && !(count == 0 && least > 0))
        {
            least = count + 1;
        }

        var zeros = Math.Max(0, least - count);
        var prefix = alternate && (conversion is FormatConversion.HexLower or FormatConversion.HexUpper || pointer) ? 2 : 0;
        var total = count + zeros + prefix + (sign != 0 ? 1 : 0);
        if (flag == FormatFlag.Zero && precision < 0 && !left && width > total)
        {
            zeros += width - total;
            total = width;
        }

        sink.Fill((byte)' ', left ? 0 : width - total);
        if (sign != 0)
        {
            sink.Append(sign);
        }

        if (prefix != 0)
        {
            sink.Append((byte)'0');
            sink.Append((byte)(conversion == FormatConversion.HexUpper ? 'X' : 'x'));
        }

        sink.Fill((byte)'0', zeros);
        sink.Append(digits[at..]);
        sink.Fill((byte)' ', left ? width - total : 0);
    }
}
