using System.Runtime.InteropServices;
using CsCheck;
using SystemTap.Language.Syntax;
using SystemTap.Runtime.Output;
using Xunit;

namespace SystemTap.Tests.Runtime;

public unsafe partial class FormatterTests
{
    // Variadic C functions take integers as here on x86-64 and arm64 Linux as long as no floating point is passed.
    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int snprintf(byte* buffer, nuint size, string format, int width, int precision, long value);

    [LibraryImport("libc", EntryPoint = "snprintf", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int snprintf_text(byte* buffer, nuint size, string format, int width, int precision, string value);

    private static string Ours(FormatSegment segment, long width, long precision, long value)
    {
        var sink = new ByteSink(16);
        Formatter.Number(sink, segment, width, precision, value);
        return sink.ToString();
    }

    private static Gen<T> Pick<T>(params T[] values) => Gen.Int[0, values.Length - 1].Select(i => values[i]);

    private static readonly Gen<long> Longs = Gen.OneOf(Gen.Long, Gen.Long[-20, 20], Pick(0L, 1L, -1L, long.MinValue, long.MaxValue));

    [Fact]
    public void Numbers_agree_with_libc() =>
        Gen.Select(
            Pick((FormatConversion.Signed, "d"), (FormatConversion.Unsigned, "u"), (FormatConversion.HexLower, "x"), (FormatConversion.HexUpper, "X"), (FormatConversion.Octal, "o")),
            Pick((FormatFlag.None, ""), (FormatFlag.Zero, "0"), (FormatFlag.Plus, "+"), (FormatFlag.Left, "-"), (FormatFlag.Space, " "), (FormatFlag.Alternate, "#")),
            Gen.Int[-30, 30], Gen.Int[-1, 25], Longs)
        .Where(t => !(t.Item2.Item1 == FormatFlag.Alternate && t.Item5 == 0 && t.Item1.Item1 != FormatConversion.Octal))
        .Sample(t =>
        {
            var ((conversion, letter), (flag, mark), width, precision, value) = t;
            var buffer = stackalloc byte[128];
            snprintf(buffer, 128, $"%{mark}*.*l{letter}", width, precision, value);
            var expected = Marshal.PtrToStringUTF8((nint)buffer);
            Assert.Equal(expected, Ours(new FormatSegment(conversion, "") { Flag = flag }, width, precision, value));
        });

    [Fact]
    public void Strings_agree_with_libc() =>
        Gen.Select(Pick((FormatFlag.None, ""), (FormatFlag.Left, "-")), Gen.Int[-30, 30], Gen.Int[-1, 25], Gen.String[Gen.Char['a', 'z'], 0, 20])
        .Sample((flag, width, precision, text) =>
        {
            var buffer = stackalloc byte[128];
            snprintf_text(buffer, 128, $"%{flag.Item2}*.*s", width, precision, text);
            var sink = new ByteSink(16);
            Formatter.Text(sink, new FormatSegment(FormatConversion.String, "") { Flag = flag.Item1 }, width, precision, text.AsSpan());
            Assert.Equal(Marshal.PtrToStringUTF8((nint)buffer), sink.ToString());
        });

    [Theory]
    [InlineData("printf(\"%#x %#X %#o %#x\\n\", 0, 255, 8, 10)", "0x0 0XFF 010 0xa\n")]
    [InlineData("printf(\"%p %p\\n\", 0, 4096)", "0x0 0x1000\n")]
    [InlineData("printf(\"%c%c|%3c|%-3c|\\n\", 65, 66, 67, 68)", "AB|  C|D  |\n")]
    [InlineData("printf(\"%#c%#c%#c%#c%#c\\n\", 10, 9, 39, 92, 1)", "\\n\\t\\'\\\\\\001\n")]
    [InlineData("printf(\"%1b%2b%4b\", 0x41, 0x4342, 0x47464544)", "ABCDEFG")]
    [InlineData("printf(\"%b\", 0x4847464544434241)", "ABCDEFGH")]
    [InlineData("printf(\"%0s|\", \"a\")", "a\0|")]
    [InlineData("printf(\"%5d|%-5d|%05d|%+d|% d|%.3d\\n\", 42, 42, 42, 42, 42, 42)", "   42|42   |00042|+42| 42|042\n")]
    [InlineData("printf(\"%*d|%*d|%.*s|%*.*s|\\n\", 5, 1, -5, 2, 2, \"abc\", 5, 1, \"xyz\")", "    1|2    |ab|    x|\n")]
    [InlineData("printf(\"%d%%\\n\", 50)", "50%\n")]
    [InlineData("printd(\", \", 1, \"b\", 3); printdln(\"-\", \"x\", 2)", "1, b, 3x-2\n")]
    [InlineData("print(1, \"a\", -2); println(); println(\"x\", 3)", "1a-2\nx3\n")]
    [InlineData("println(sprintf(\"%s=%5.2d\", \"k\", 7), sprint(1, \"z\"), sprintln(\"q\"))", "k=   071zq\n\n")]
    public void Directives_of_the_language(string body, string expected) => Assert.Equal(expected, ScriptHost.Begin(body));

    [Fact]
    public void Kernel_bytes_print_as_the_same_text()
    {
        var one = new ByteSink();
        var two = new ByteSink();
        var segment = new FormatSegment(FormatConversion.String, "");
        Formatter.Text(one, segment, -8, 3, "abcdé".AsSpan());
        Formatter.Text(two, segment, -8, 3, "abcd"u8);
        Assert.Equal("abc     ", one.ToString());
        Assert.Equal(one.ToString(), two.ToString());
    }
}
