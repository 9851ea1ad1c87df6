using SystemTap.Targets;
using Xunit;

namespace SystemTap.Tests.Targets;

/// <summary>Instructions that the kernel's uprobes cannot step over, and those they can.</summary>
public sealed class UprobePlacesTests
{
    [Theory]
    [InlineData("554889e5c3000000", true)] // push %rbp
    [InlineData("f30f1efac3000000", true)] // endbr64
    [InlineData("c5f857c0c3000000", true)] // vxorps
    [InlineData("c5f877c300000000", false)] // vzeroupper: 77 is no ja
    [InlineData("62e27d287ace89f8", false)] // vpbroadcastb %esi,%ymm17
    [InlineData("c5f96ec6c3000000", false)] // vmovd %esi,%xmm0: 6e is no outs
    [InlineData("c5f8c2c100c30000", false)] // vcmpps: c2 is no ret
    [InlineData("7f05c30000000000", true)] // jg itself
    [InlineData("f0ff0500000000c3", false)] // lock incl
    [InlineData("f3c3000000000000", true)] // rep ret
    [InlineData("c5", true)]
    public void Instructions(string code, bool isFit) => Assert.Equal(isFit, X86Instructions.IsFitForUprobes(Convert.FromHexString(code), is64: true));

    [Fact]
    public void Old_instructions_of_32_bit_code_are_no_prefixes()
    {
        Assert.True(X86Instructions.IsFitForUprobes(Convert.FromHexString("c5457790c3000000"), is64: false)); // lds 0x77(%ebp),%eax
        Assert.False(X86Instructions.IsFitForUprobes(Convert.FromHexString("c5f877c300000000"), is64: false));
    }
}
