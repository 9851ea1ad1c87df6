using Xunit;
namespace SystemTap.Tests;

public class HouseTests
{
    [Fact]
    public void Two() => Assert.Equal(2, 1 + 1);
}
