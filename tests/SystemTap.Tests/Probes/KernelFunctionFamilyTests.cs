using System.Text;
using SystemTap.Semantics.Lowered;
using SystemTap.Targets;
using SystemTap.Tests.Targets;
using Xunit;

namespace SystemTap.Tests.Probes;

/// <summary>Kernel function, statement, kprobe, data and LSM points: on this machine's types, and on made-up symbols.</summary>
public class KernelFunctionFamilyTests
{
    private static readonly Target MadeUp = Target.FromFiles(new TargetFiles
    {
        Release = "6.1",
        Architecture = X8664.Instance,
        BtfBytes = BtfBuilder.Sample(),
        KernelSymbols = Encoding.ASCII.GetBytes("""
            ffffffff81000000 T plain
            ffffffff81000100 t twice
            ffffffff81000200 t twice
            ffffffff81000300 t cloned.isra.0
            ffffffff81000340 t whole
            ffffffff81000350 t whole.cold
            ffffffff81000360 t whole.part.0
            ffffffff81000400 T __pfx_plain
            ffffffff81000500 T __x64_sys_open
            ffffffff82000000 D counter
            ffffffff82000004 D next

            """),
    });

    private static KernelFunctionSpec Spec(string point, Target? target = null) => Assert.IsType<KernelFunctionSpec>(Fixture.One($"probe {point} {{ next }}", target: target).Point.Spec);

    [Fact]
    public void A_function_has_its_parameters_and_return_value_from_BTF()
    {
        var entry = Fixture.One("""probe kernel.function("vfs_read") { next }""");
        Assert.Equal(["$file", "$buf", "$count", "$pos"], entry.Point.Context.Variables.Select(v => v.Name));
        Assert.Equal("size_t", entry.Point.Context.Variables[2].TypeText);
        var count = Assert.IsType<ContextExpr>(entry.Point.Context.Resolve("$count", default)!.Value);
        Assert.Equal((ContextValue.FunctionArgument, 2, 8, false), (count.Value, count.Index, count.Size, count.IsSigned));
        var file = Assert.IsType<ContextExpr>(entry.Point.Context.Resolve("$file", default)!.Value);
        Assert.True(file.BtfPointee > 0);
        Assert.Null(entry.Point.Context.Resolve("$return", default));

        var back = Fixture.One("""probe kernel.function("vfs_read").return { next }""");
        Assert.Equal(["$return"], back.Point.Context.Variables.Select(v => v.Name));
        Assert.Empty(back.Point.Context.Parameters);
        Assert.Equal("kernel.function(\"vfs_read\")", back.Point.Context.EntryPoint!.PointText);
        Assert.True(((KernelFunctionSpec)back.Point.Spec).IsReturn);
        Assert.False(((KernelFunctionSpec)back.Point.Context.EntryPoint.Spec).IsReturn);
    }

    [Fact]
    public void Narrow_results_are_extended_from_their_type()
    {
        var back = Fixture.One("""probe kernel.function("do_sys_openat2").return { next }""");
        var value = Assert.IsType<ContextExpr>(back.Point.Context.Resolve("$return", default)!.Value);
        Assert.True(value.IsSigned);
        Assert.Equal(ContextValue.FunctionReturn, value.Value);
    }

    [Theory]
    [InlineData("kernel.function(\"vfs_read\")", KernelAttachKind.Any, false)]
    [InlineData("kernel.function(\"vfs_read\").call", KernelAttachKind.Any, false)]
    [InlineData("kernel.function(\"vfs_read@fs/read_write.c\")", KernelAttachKind.Any, false)]
    [InlineData("kernel.function(\"vfs_read\").return.maxactive(5)", KernelAttachKind.Any, true)]
    [InlineData("kprobe.function(\"vfs_read\")", KernelAttachKind.Kprobe, false)]
    [InlineData("kprobe.function(\"vfs_read\").return", KernelAttachKind.Kprobe, true)]
    [InlineData("kernel.statement(\"vfs_read\")", KernelAttachKind.Any, false)]
    public void Spellings_lead_to_one_place(string point, KernelAttachKind kind, bool isReturn)
    {
        var spec = Spec(point);
        Assert.Equal(("vfs_read", (string?)null, 0L, kind, isReturn), (spec.Symbol, spec.Module, spec.Offset, spec.Kind, spec.IsReturn));
        Assert.True(spec.BtfFunction > 0);
    }

    [Fact]
    public void Static_functions_that_share_a_name_are_all_meant()
    {
        var all = new Fixture("probe kernel.function(\"twice\") { next }", target: MadeUp).Expand();
        Assert.Equal([0xffffffff81000100, 0xffffffff81000200], all.Select(p => ((KernelFunctionSpec)p.Point.Spec).Address));
    }

    [Fact]
    public void A_clone_stands_for_its_function_without_believing_its_parameters()
    {
        var spec = Spec("kernel.function(\"cloned\")", MadeUp);
        Assert.Equal(("cloned.isra.0", 0xffffffff81000300, 0), (spec.Symbol, spec.Address, spec.BtfFunction));
    }

    [Fact]
    public void Pieces_of_functions_are_never_meant()
    {
        Assert.Equal("whole", Spec("kernel.function(\"whole\")", MadeUp).Symbol);
        Assert.Contains("no match for function \"whole.co\"", Fixture.Fails("probe kernel.function(\"whole.co\") { next }", target: MadeUp));
    }

    [Fact]
    public void Addresses_name_a_function_and_a_place_in_it()
    {
        Assert.Equal(("plain", 0L), (Spec("kernel.function(0xffffffff81000000)", MadeUp).Symbol, Spec("kernel.function(0xffffffff81000000)", MadeUp).Offset));
        var spec = Spec("kernel.statement(0xffffffff81000012).absolute", MadeUp);
        Assert.Equal(("plain", 0x12L, KernelAttachKind.Kprobe), (spec.Symbol, spec.Offset, spec.Kind));
        Assert.Contains("lies in no function", Fixture.Fails("probe kernel.statement(0x1234).absolute { next }", target: MadeUp));
    }

    [Fact]
    public void Misses_say_what_would_help()
    {
        Assert.Contains("vfs_read", Fixture.Fails("probe kernel.function(\"vfs_reed\") { next }"));
        Assert.Contains("this kernel has it as __x64_sys_open; syscall.open is this", Fixture.Fails("probe kernel.function(\"sys_open\") { next }", target: MadeUp));
        Assert.Contains("this kernel has it as __x64_sys_open; syscall.open is this", Fixture.Fails("probe kprobe.function(\"SyS_open\").return { next }", target: MadeUp));
        Assert.Contains("which functions come from a source file is known only there", Fixture.Fails("probe kernel.function(\"*@fs/*.c\") { next }"));
        Assert.Contains("debug information", Fixture.Fails("probe kernel.function(\"vfs_read\").inline { next }"));
        Assert.Contains("debug information", Fixture.Fails("probe kernel.statement(\"vfs_read@fs/read_write.c:450\") { next }"));
        Assert.Contains("there is no file nosuchmodule.ko", Fixture.Fails("probe module(\"nosuchmodule\").function(\"*\") { next }"));
        Assert.Contains("takes plain names", Fixture.Fails("probe kprobe.function(\"vfs_*\") { next }"));
        Assert.Contains("out of range", Fixture.Fails("probe kernel.function(\"vfs_read\").return.maxactive(99999999) { next }"));
    }

    [Fact]
    public void Watchpoints_take_symbols_and_addresses()
    {
        var symbol = Assert.IsType<WatchpointSpec>(Fixture.One("probe kernel.data(\"counter\").write { next }", target: MadeUp).Point.Spec);
        Assert.Equal((0xffffffff82000000, 4, false, "counter"), (symbol.Address, symbol.Length, symbol.OnRead, symbol.Symbol));
        var address = Assert.IsType<WatchpointSpec>(Fixture.One("probe kernel.data(0xffffffff82000008).length(8).rw { next }", target: MadeUp).Point.Spec);
        Assert.Equal((8, true), (address.Length, address.OnRead));
        Assert.Contains("is not possible", Fixture.Fails("probe kernel.data(0xffffffff82000001).length(4).rw { next }", target: MadeUp));
    }

    [Fact]
    public void Security_hooks_have_their_parameters()
    {
        var hook = Fixture.One("""probe kernel.lsm("file_open") { next }""");
        Assert.Equal(["$file"], hook.Point.Context.Variables.Select(v => v.Name));
        Assert.Equal(KernelAttachKind.Lsm, ((KernelFunctionSpec)hook.Point.Spec).Kind);
    }

    [Fact]
    public void Patterns_give_functions_in_order()
    {
        var names = new Fixture("probe kernel.function(\"vfs_rea*\") { next }").Expand().Select(p => p.Name).ToArray();
        Assert.Contains("kernel.function(\"vfs_read\")", names);
        Assert.Contains("kernel.function(\"vfs_readv\")", names);
        Assert.Equal(names.Order(StringComparer.Ordinal), names);
    }
}
