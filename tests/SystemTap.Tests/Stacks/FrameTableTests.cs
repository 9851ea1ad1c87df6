using System.Globalization;
using SystemTap.Targets;
using SystemTap.Tests.Examples;
using Xunit;

namespace SystemTap.Tests.Stacks;

/// <summary>Call frame information against what readelf (binutils) makes of the same files.</summary>
public class FrameTableTests
{
    private static readonly string[] Names =
        ["rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rip"];

    [Theory]
    [InlineData("/proc/self/exe")]
    [InlineData("libc.so.6")]
    public void Rows_are_those_of_readelf(string file)
    {
        Assert.SkipUnless(System.Runtime.InteropServices.RuntimeInformation.ProcessArchitecture == System.Runtime.InteropServices.Architecture.X64, "register names are those of x86-64");
        var path = file == "libc.so.6" ? File.ReadLines("/proc/self/maps").First(l => l.Contains("libc.so.6") || l.Contains("libc-")).Split(' ')[^1] : "/bin/sh";
        // Its status says whether it had something to remark; the rows count.
        var (text, _, _, _) = StapRun.Execute("readelf", ["-wF", path]);
        var frames = FrameTable.Of(ElfFile.Open(path));
        Assert.True(frames.Count > 0);

        var compared = 0;
        string[] columns = [];
        var inFde = false;
        ulong end = 0;
        foreach (var line in text.Split('\n'))
        {
            var words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (line.Contains(" FDE "))
            {
                inFde = true;
                end = ulong.Parse(line.AsSpan(line.IndexOf("..", StringComparison.Ordinal) + 2).Trim(), NumberStyles.HexNumber, CultureInfo.InvariantCulture);
            }
            else if (line.Contains(" CIE "))
            {
                inFde = false;
            }
            else if (words is ["LOC", ..])
            {
                columns = words;
            }
            else if (inFde && words.Length == columns.Length && words[1] != "ZERO" && words.Length > 2 && ulong.TryParse(words[0], NumberStyles.HexNumber, CultureInfo.InvariantCulture, out var address)
                && address < end) // some functions end with a row of no instruction
            {
                Compare(frames, address, columns, words);
                compared++;
            }
        }

        Assert.True(compared > 500, $"{compared} rows were compared");
    }

    private static void Compare(FrameTable frames, ulong address, string[] columns, string[] words)
    {
        var found = frames.Find(address);
        Assert.True(found is not null, $"no row at 0x{address:x}");
        var row = found.Value.Row;
        var cfa = row.CfaRegister < 0 ? "exp" : string.Create(CultureInfo.InvariantCulture, $"{Names[row.CfaRegister]}{row.CfaOffset:+0;-0}");
        Assert.Equal((address.ToString("x"), words[1]), (address.ToString("x"), cfa));
        for (var i = 2; i < columns.Length; i++)
        {
            var register = columns[i] == "ra" ? row.ReturnRegister : Array.IndexOf(Names, columns[i]);
            var rule = row.Rules[register];
            var shown = rule.Kind switch
            {
                FrameRuleKind.Offset => string.Create(CultureInfo.InvariantCulture, $"c{rule.Value:+0;-0}"),
                FrameRuleKind.ValueOffset => string.Create(CultureInfo.InvariantCulture, $"v{rule.Value:+0;-0}"),
                FrameRuleKind.Register => Names[(int)rule.Value],
                FrameRuleKind.Expression => "exp",
                FrameRuleKind.ValueExpression => "vexp",
                FrameRuleKind.Same => words[i] is "s" or "u" ? words[i] : "same",
                _ => "u",
            };
            Assert.Equal($"0x{address:x} {columns[i]} {words[i]}", $"0x{address:x} {columns[i]} {shown}");
        }
    }

    [Fact]
    public void Damaged_sections_give_no_rows_and_no_exceptions()
    {
        var random = new Random(5);
        var file = ElfFile.Open("/bin/sh");
        var section = file.FindSection(".eh_frame")!.Value;
        var good = File.ReadAllBytes("/bin/sh").AsSpan((int)section.Offset, (int)Math.Min(section.Size, 4000)).ToArray();
        for (var n = 0; n < 400; n++)
        {
            var bytes = (byte[])good.Clone();
            for (var k = 0; k < 20; k++)
            {
                bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
            }

            var frames = FrameTable.Parse(bytes, section.Address, isDebug: n % 2 == 1);
            for (var k = 0; k < 20; k++)
            {
                frames.Find((ulong)random.NextInt64(0x40000));
            }
        }
    }
}
