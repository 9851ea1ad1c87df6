using System.Text.RegularExpressions;
using Xunit;
using SystemTap.Targets;

namespace SystemTap.Tests.Targets;

public class ArchitectureTests
{
    [Theory]
    [InlineData("read", 0)]
    [InlineData("getpid", 39)]
    [InlineData("openat", 257)]
    [InlineData("uretprobe", 335)]
    [InlineData("clone3", 435)]
    [InlineData("file_setattr", 469)]
    [InlineData("no_such_call", -1)]
    public void Known_x86_64_calls(string name, int number) => Assert.Equal(number, X8664.Instance.Syscalls.Number(name));

    [Theory]
    [InlineData("getpid", 20)]
    [InlineData("clock_gettime64", 403)]
    public void Known_i386_calls(string name, int number) => Assert.Equal(number, X8664.Instance.CompatSyscalls.Number(name));

    [Theory]
    [InlineData("read", 63)]
    [InlineData("getpid", 172)]
    [InlineData("openat", 56)]
    [InlineData("clone3", 435)]
    public void Known_arm64_calls(string name, int number) => Assert.Equal(number, Arm64.Instance.Syscalls.Number(name));

    [Theory]
    [InlineData("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "x86_64", false)]
    [InlineData("/usr/include/x86_64-linux-gnu/asm/unistd_32.h", "x86_64", true)]
    public void Tables_agree_with_the_headers(string path, string architecture, bool compat)
    {
        Assert.SkipUnless(File.Exists(path), "needs linux-libc-dev");
        var its = Architecture.Find(architecture)!;
        var table = compat ? its.CompatSyscalls : its.Syscalls;
        var matches = Regex.Matches(File.ReadAllText(path), @"^#define __NR_(\w+) (\d+)\s*$", RegexOptions.Multiline);
        Assert.InRange(matches.Count, 300, 600);
        foreach (Match match in matches)
        {
            Assert.Equal(int.Parse(match.Groups[2].Value), table.Number(match.Groups[1].Value));
            Assert.Equal(match.Groups[1].Value, table.Name(int.Parse(match.Groups[2].Value)));
        }
    }

    [Fact]
    public void Numbers_and_names_are_inverse()
    {
        foreach (var table in new[] { X8664.Instance.Syscalls, X8664.Instance.CompatSyscalls, Arm64.Instance.Syscalls, Arm64.Instance.CompatSyscalls })
        {
            for (var number = 0; number < table.Length; number++)
                if (table.Name(number) is { } name)
                    Assert.Equal(number, table.Number(name));
            Assert.Null(table.Name(-1));
            Assert.Null(table.Name(table.Length));
            Assert.Null(table.Name(long.MaxValue));
        }
    }

    [Fact]
    public void Saved_registers_lie_where_the_kernel_puts_them()
    {
        Assert.SkipUnless(File.Exists(Btf.KernelPath), "needs CONFIG_DEBUG_INFO_BTF");
        var target = Target.Live();
        Assert.SkipUnless(target.Architecture is X8664, "x86-64 only");
        var frame = target.KernelBtf.Find(BtfKind.Struct, "pt_regs")!.Value;
        foreach (var register in X8664.Instance.Registers)
        {
            // the kernel's fields drop the "r" of the old registers: ax, orig_ax; r8..r15 keep it
            var field = register.Name is ['r', >= '0' and <= '9', ..] ? register.Name
                : register.Name == "orig_rax" ? "orig_ax"
                : register.Name is ['r', ..] ? register.Name[1..] : register.Name;
            var member = frame.FindMember(field);
            Assert.True(member is not null, register.Name);
            Assert.Equal(register.Offset, member.Value.ByteOffset);
        }
        Assert.Equal(frame.Size, X8664.Instance.Registers[^1].Offset + 8);
    }

    [Theory]
    [InlineData("rax", 80, 8)]
    [InlineData("eax", 80, 4)]
    [InlineData("ax", 80, 2)]
    [InlineData("al", 80, 1)]
    [InlineData("ah", 81, 1)]
    [InlineData("r10d", 56, 4)]
    [InlineData("sil", 104, 1)]
    [InlineData("ebp", 32, 4)]
    [InlineData("bpl", 32, 1)]
    [InlineData("eip", 128, 4)]
    public void Parts_of_x86_registers(string name, int offset, int size)
    {
        var register = X8664.Instance.FindRegister(name)!;
        Assert.Equal((offset, size), (register.Offset, register.Size));
    }

    [Fact]
    public void Conventions()
    {
        var x86 = X8664.Instance;
        Assert.Equal("rdi rsi rdx rcx r8 r9", string.Join(' ', x86.CallArguments.ToArray().Select(r => r.Name)));
        Assert.Equal("rdi rsi rdx r10 r8 r9", string.Join(' ', x86.SyscallArguments.ToArray().Select(r => r.Name)));
        Assert.Equal("ebx ecx edx esi edi ebp", string.Join(' ', x86.CompatSyscallArguments.ToArray().Select(r => r.Name)));
        Assert.Equal("rdx", x86.FindDwarfRegister(1)!.Name);
        Assert.Equal("rip", x86.FindDwarfRegister(16)!.Name);
        Assert.Null(x86.FindDwarfRegister(-1));
        var arm = Arm64.Instance;
        Assert.Equal((8, "x0", "orig_x0"), (arm.CallArguments.Length, arm.CallArguments[0].Name, arm.SyscallArguments[0].Name));
        Assert.Equal("x30", arm.ReturnAddress!.Name);
        Assert.Equal("x30", arm.FindDwarfRegister(30)!.Name);
        Assert.Same(Arm64.Instance, Architecture.Find("aarch64"));
        Assert.Null(Architecture.Find("vax"));
    }
}
