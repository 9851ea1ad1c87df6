using CsCheck;
using SystemTap.Language.Diagnostics;
using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Probes;
using SystemTap.Semantics.Targeting;
using SystemTap.Targets;
using SystemTap.Tests.Targets;
using Xunit;

namespace SystemTap.Tests.Probes;

/// <summary>The running kernel's types, and made-up layouts by the thousand.</summary>
public class TargetBinderLiveTests
{
    private static readonly Btf Kernel = Fixture.Live.KernelBtf;
    private readonly DiagnosticBag _bag = new();

    private TargetBinder Binder => new(Fixture.Live, _bag);

    private TypedValue Task(long address = 0x1000) => Binder.Cast(new LongConst(address, default), "task_struct", null, default, false)!;

    [Fact]
    public void MembersLieWhereTheKernelsTypesSay()
    {
        var pid = Assert.IsType<DerefExpr>(Binder.Member(Task(), "pid", default, false)!.Value);
        var offset = Kernel.Find(BtfKind.Struct, "task_struct")!.Value.FindMember("pid")!.Value.ByteOffset;
        Assert.Equal(0x1000 + offset, Assert.IsType<LongConst>(pid.Address).Value);
        Assert.Equal((4, true, false, "task_struct.pid"), (pid.Size, pid.IsSigned, pid.IsUser, pid.MemberName));
    }

    [Fact]
    public void TracepointArgumentsAreFollowed()
    {
        var context = Fixture.One("probe kernel.trace(\"sched_switch\") { next }").Point.Context;
        var prev = context.Resolve("$prev", default)!;
        var parent = Binder.Member(prev, "real_parent", default, false)!;
        var tgid = Binder.Member(parent, "tgid", default, false)!;
        var comm = Binder.Member(prev, "comm", default, false)!;
        Assert.True(comm.CType!.IsInMemory);
        Assert.IsType<CallExpr>(Binder.Pretty(comm, 1, default, false));
        var load = Assert.IsType<DerefExpr>(tgid.Value);
        var outer = Assert.IsType<BinaryExpr>(load.Address);
        Assert.Equal("task_struct.real_parent", Assert.IsType<DerefExpr>(outer.Left).MemberName);
        Assert.Empty(_bag.All);
    }

    [Fact]
    public void VariableTextsNameAllVariables()
    {
        var context = Fixture.One("probe kernel.trace(\"sched_switch\") { next }").Point.Context;
        var text = Assert.IsType<FormatExpr>(Binder.Variables(context, VariableSet.Vars, 0, default));
        Assert.Equal(context.Variables.Count, text.Arguments.Count);
        Assert.Equal("preempt=", text.Segments[0].Text);
        Assert.Equal(" prev=", text.Segments[2].Text);
        Assert.Equal("", Assert.IsType<StringConst>(Binder.Variables(context, VariableSet.Locals, 0, default)).Value);
        Assert.Equal("", Assert.IsType<StringConst>(Binder.Variables(context, VariableSet.Return, 0, default)).Value);
        var call = Fixture.One("probe kernel.syscall(\"read\").return { next }").Point.Context;
        Assert.Equal("return=", Assert.IsType<FormatExpr>(Binder.Variables(call, VariableSet.Return, 0, default)).Segments[0].Text);
        var parameters = Assert.IsType<FormatExpr>(Binder.Variables(call.EntryPoint!.Context, VariableSet.Parms, 0, default));
        Assert.Equal(["fd=", " buf=", " count="], parameters.Segments.Where(s => s.Text.Length > 0).Select(s => s.Text));
    }

    [Theory]
    [InlineData("task_struct")]
    [InlineData("struct file")]
    [InlineData("sk_buff")]
    [InlineData("struct inode")]
    public void LargeStructsPrintWithinTheLimit(string type)
    {
        var run = new MiniEvaluator(new byte[1 << 16], 0x1000);
        var value = Binder.Cast(new LongConst(0x1000, default), type, "kernel", default, false)!;
        foreach (var depth in (int[])[1, 2])
        {
            var text = run.Text(Binder.Pretty(value, depth, default, false)!);
            Assert.StartsWith("{.", text);
            Assert.EndsWith("}", text);
            Assert.InRange(text.Length, 300, 3000);
        }
    }

    [Fact]
    public void EveryMemberOfCommonStructsCanBeReached()
    {
        foreach (var name in (string[])["task_struct", "file", "inode", "dentry", "sock", "sk_buff", "mm_struct", "request", "bio", "cred"])
        {
            var type = Kernel.Find(BtfKind.Struct, name)!.Value;
            var value = Binder.Cast(new LongConst(0x1000, default), name, null, default, false)!;
            foreach (var member in type.Members)
            {
                if (member.NameOffset != 0 && member.Type.Stripped.Size is not 16)
                {
                    Assert.NotNull(Binder.Member(value, member.Name, default, false));
                }
            }
        }

        Assert.Empty(_bag.All);
    }

    [Fact]
    public void HintsDecideWhoseMemoryItIs()
    {
        Assert.True(Binder.Cast(new LongConst(0, default), "struct iovec", "<sys/uio.h>", default, false)!.CType!.IsUser);
        Assert.False(Binder.Cast(new LongConst(0, default), "task_struct", "kernel<linux/sched.h>", default, false)!.CType!.IsUser);
        Assert.Null(Binder.Cast(new LongConst(0, default), "struct no_such_thing", "<a.h><b.h>", default, false));
        Assert.Contains("C compiler", Assert.Single(_bag.All).Hint);
    }

    [Fact]
    public void KernelEnumeratorsHaveValues()
    {
        Assert.Equal(1, Assert.IsType<LongConst>(Binder.EnumValue("PIDTYPE_TGID", default, false)).Value);
        var run = new MiniEvaluator([], 0);
        Assert.Equal("PIDTYPE_TGID", run.Text(Binder.EnumName(new TypedValue(new LongConst(1, default), null), "enum pid_type", "kernel", default, false)!));
    }

    /// <summary>A bit-field at any place, of any width and sign, reads as the bits that C put there.</summary>
    [Fact]
    public void BitFieldsReadTheirBits() =>
        Gen.Select(Gen.Int[0, 400], Gen.Int[1, 32], Gen.Bool, Gen.Byte.Array[80]).Where((bit, width, _, _) => bit % 32 + width <= 32).Sample((bit, width, signed, memory) =>
        {
            var b = new BtfBuilder();
            var integer = b.Int("int", 4, signed ? 1 : 0);
            b.Composite(BtfKind.Struct, "s", 64, ("f", integer, bit, width));
            var target = Target.FromFiles(new TargetFiles { Release = "6.1.0", Architecture = Architecture.Find("x86_64")!, BtfBytes = b.Bytes() });
            var binder = new TargetBinder(target, new DiagnosticBag());
            var value = binder.Member(binder.Cast(new LongConst(0x1000, default), "s", null, default, false)!, "f", default, false)!;

            long expected = 0;
            for (var i = 0; i < width; i++)
            {
                expected |= (long)(memory[(bit + i) / 8] >> ((bit + i) % 8) & 1) << i;
            }

            if (signed && (expected >> (width - 1) & 1) != 0)
            {
                expected -= 1L << width;
            }

            return new MiniEvaluator(memory, 0x1000).Long(value.Value) == expected;
        }, iter: 500);
}
