using SystemTap.Targets;
using Xunit;

namespace SystemTap.Tests.Targets;

public class ContentKeyTests
{
    // From the test vectors of draft-eastlake-fnv.
    [Theory]
    [InlineData("", "6c62272e07bb014262b821756295c58d")]
    [InlineData("a", "d228cb696f1a8caf78912b704e4a8964")]
    [InlineData("foobar", "343e1662793c64bf6f0d3597ba446f18")]
    public void Is_FNV_1a_with_128_bits(string text, string expected)
    {
        var key = new ContentKey();
        key.Add(System.Text.Encoding.UTF8.GetBytes(text));
        Assert.Equal(expected, key.ToString());
    }

    [Fact]
    public void Where_a_text_ends_counts()
    {
        var one = new ContentKey();
        one.Add("ab");
        one.Add("c");
        var other = new ContentKey();
        other.Add("a");
        other.Add("bc");
        Assert.NotEqual(one.ToString(), other.ToString());
        Assert.Equal(ContentKey.Of("abc"), ContentKey.Of("abc"));
    }
}
