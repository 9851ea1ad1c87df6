using SystemTap.Runtime.Host;
using SystemTap.Runtime.Modules;
using Xunit;

namespace SystemTap.Tests.Runtime;

public class MarkedTextTests
{
    [Theory]
    [InlineData("no mark", "no mark")]
    [InlineData("a\x1dN12;ff\x1e b", "aname(18,255) b")]
    [InlineData("\x1dD1;2\x1e\x1dM1;2\x1e", "data(1,2)file")]
    [InlineData("\x1dS7\x1e!", "0x10 0x20!")]
    [InlineData("\x1dH1;\x1dS7\x1e\x1e", "0x10")]
    [InlineData("\x1dL3;1;\x1dS7\x1e\x1e", "data(3,16)\ndata(3,32)\n")]
    [InlineData("\x1dK1;0x5\x1e", "kernel(5)\n")]
    [InlineData("\x1dQ0;a\x1e", "0xa")]
    [InlineData("\x1dP1;0;a\x1e", "0xa")]
    public void Marks_are_replaced(string text, string expected) => Assert.Equal(expected, new MarkedText(new Symbols()).Expand(text));

    [Theory]
    [InlineData("\x1d")]
    [InlineData("\x1dN1\x1e")]
    [InlineData("\x1dNx;y\x1e")]
    [InlineData("\x1dZ1;2\x1e")]
    [InlineData("\x1d\x1e")]
    [InlineData("\x1dN1;2")]
    public void What_is_no_mark_stays(string text) => Assert.Equal(text, new MarkedText(new Symbols()).Expand(text));

    private sealed class Symbols : ISymbols
    {
        public string KernelName(ulong address) => $"kernel({address})";

        public string KernelData(ulong address) => $"kernel({address})";

        public string? KernelModule(ulong address) => null;

        public bool IsProbeMachinery(ulong address) => false;

        public IReadOnlyList<ulong> TakeStack(long snapshot) => snapshot == 7 ? [0x10, 0x20] : [];

        public string UserName(long process, ulong address) => $"name({process},{address})";

        public string UserData(long process, ulong address) => $"data({process},{address})";

        public string? UserModule(long process, ulong address) => "/bin/file";

        public string? UserPlace(long process, ulong address) => null;
    }
}
