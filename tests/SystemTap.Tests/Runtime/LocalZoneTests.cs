using SystemTap.Runtime.Host;
using Xunit;

namespace SystemTap.Tests.Runtime;

public class LocalZoneTests
{
    [Theory]
    [InlineData("CET-1CEST,M3.5.0,M10.5.0/3", false, "CET")]
    [InlineData("CET-1CEST,M3.5.0,M10.5.0/3", true, "CEST")]
    [InlineData("<+0330>-3:30", false, "+0330")]
    [InlineData("<+0330>-3:30", true, "+0330")]
    [InlineData("<-03>3<-02>,M3.5.0/-2,M10.5.0/-1", true, "-02")]
    [InlineData("UTC0", false, "UTC")]
    [InlineData("", false, "UTC")]
    public void Rules_name_their_zone(string rule, bool daylight, string name) => Assert.Equal(name, LocalZone.OfRule(rule, daylight));
}
