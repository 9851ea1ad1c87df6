using SystemTap.Runtime.Host;
using SystemTap.Runtime.Modules;
using Xunit;

namespace SystemTap.Tests.Runtime;

public class MarkedTextTests
{
    [Theory]
    [InlineData("no mark", "no mark")]
    [InlineData("a\u001dN12;ff\u001e b", "aname(18,255) b")]
    [InlineData("\u001dD1;2\u001e\u001dM1;2\u001e", "data(1,2)file")]
    [InlineData("\u001dS7\u001e!", "0x10 0x20!")]
    [InlineData("\u001dH1;\u001dS7\u001e\u001e", "0x10")]
    [InlineData("\u001dL3;1;\u001dS7\u001e\u001e", "data(3,16)\ndata(3,32)\n")]
    [InlineData("\u001dK1;0x5\u001e", "kernel(5)\n")]
    [InlineData("\u001dQ0;a\u001e", "0xa")]
    [InlineData("\u001dP1;0;a\u001e", "0xa")]
    public void Marks_are_replaced(string text, string expected) => Assert.Equal(expected, new MarkedText(new Symbols()).Expand(text));

    [Theory]
    [InlineData("\u001d")]
    [InlineData("\u001dN1\u001e")]
    [InlineData("\u001dNx;y\u001e")]
    [InlineData("\u001dZ1;2\u001e")]
    [InlineData("\u001d\u001e")]
    [InlineData("\u001dN1;2")]
    public void What_is_no_mark_stays(string text) => Assert.Equal(text, new MarkedText(new Symbols()).Expand(text));

    private sealed class Symbols : ISymbols
    {
        public string KernelName(ulong address) => $"kernel({address})";

        public string KernelData(ulong address) => $"kernel({address})";

        public string? KernelModule(ulong address) => null;

        public bool IsProbeMachinery(ulong address) => false;

        public IReadOnlyList<ulong> TakeStack(long snapshot) => snapshot == 7 ? [0x10, 0x20] : [];

        public string UserName(long process, ulong address) => $"name({process},{address})";

        public string UserData(long process, ulong address, bool isCaller) => $"data({process},{address})";

        public string? UserModule(long process, ulong address) => "/bin/file";

        public string? KernelPlace(ulong address) => address == 0x30 ? "/src/a.c:7" : null;

        public string? UserPlace(long process, ulong address) => null;

        public IReadOnlyList<InlinedFrame> UserInlined(long process, ulong address, ulong lookedUp) => [];

        public IReadOnlyList<InlinedFrame> KernelInlined(ulong address, ulong lookedUp) => [];

        public bool IsSignalFrame(long process, ulong address, ulong lookedUp) => false;
    }
}
