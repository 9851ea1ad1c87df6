using SystemTap.Semantics.Tapsets;
using Xunit;

namespace SystemTap.Tests.Semantics;

public class NameTableTests
{
    private const string Open =
        """
        # open flags
        @field 0x3
        O_RDONLY 0
        O_WRONLY 1
        O_RDWR 2   # both
        @bits
        O_SYNC 0x101000
        O_DSYNC 0x1000
        O_CREAT 0x40
        @arch arm64
        O_ARM 0x4000
        @arch *
        O_LAST 0x8000
        """;

    [Theory]
    [InlineData(0, "O_RDONLY")]
    [InlineData(2, "O_RDWR")]
    [InlineData(0x41, "O_WRONLY|O_CREAT")]
    [InlineData(0x101040, "O_RDONLY|O_SYNC|O_CREAT")]
    [InlineData(0x1000, "O_RDONLY|O_DSYNC")]
    [InlineData(3, "0x3")]
    [InlineData(0x4001, "O_WRONLY|0x4000")]
    [InlineData(0x8000, "O_RDONLY|O_LAST")]
    public void Flags_take_fields_and_bits_in_file_order(long value, string text) =>
        Assert.Equal(text, NameTable.Parse(Open, "x86_64").Flags(value));

    [Theory]
    [InlineData("P_NONE 0\nP_READ 1", 0, "P_NONE")]
    [InlineData("P_READ 1", 0, "0x0")]
    [InlineData("@rest octal\nS_ISUID 04000", 0x1a4, "0644")]
    [InlineData("A -1", -1, "A")]
    public void Zero_and_rest(string table, long value, string text) =>
        Assert.Equal(text, NameTable.Parse(table, "x86_64").Flags(value));

    [Fact]
    public void Names_are_the_first_of_a_value()
    {
        var table = NameTable.Parse("EAGAIN 11\nEWOULDBLOCK 11\nEPERM 1", "x86_64");
        Assert.Equal("EAGAIN", table.Name(11));
        Assert.Null(table.Name(12));
        Assert.Equal(11, table.LongestName);
    }

    [Fact]
    public void A_missing_table_is_named()
    {
        var e = Assert.Throws<IOException>(() => new NameTables(["/nowhere"], "x86_64").Get("xyz"));
        Assert.Contains("'xyz'", e.Message);
    }

    [Fact]
    public void Every_table_of_the_library_has_entries()
    {
        foreach (var file in Directory.GetFiles(Path.Combine(Repository.Root, "tapset", "tables"), "*.tbl"))
        {
            Assert.NotEmpty(NameTable.Parse(File.ReadAllText(file), "x86_64").Names);
        }
    }
}
