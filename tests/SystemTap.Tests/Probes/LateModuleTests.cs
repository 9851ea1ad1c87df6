using System.IO.Compression;
using SystemTap.Semantics.Lowered;
using SystemTap.Targets;
using SystemTap.Tests.UserProbes;
using Xunit;

namespace SystemTap.Tests.Probes;

/// <summary>Functions of kernel modules that are not loaded, by the modules' files.</summary>
public sealed class LateModuleTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("stap-late-").FullName;

    /// <inheritdoc/>
    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private async Task<string> FileAsync(bool compressed = false)
    {
        var bytes = await File.ReadAllBytesAsync(await ProbedPrograms.Build("late_module.c", "-c -g -O2"));
        var path = Path.Combine(_folder, "late-module.ko" + (compressed ? ".gz" : ""));
        if (compressed)
        {
            await using var file = new GZipStream(File.Create(path), CompressionLevel.Fastest);
            await file.WriteAsync(bytes);
        }
        else
        {
            await File.WriteAllBytesAsync(path, bytes);
        }

        return path;
    }

    private static string[] Points(string point) => [.. new Fixture($"probe {point} {{ next }}", target: Target.Live()).Expand().Select(p => p.Point.PointText)];

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Functions_are_those_of_the_file_the_initial_ones_among_them(bool compressed)
    {
        var path = await FileAsync(compressed);
        Assert.Equal(["module(\"late_module\").function(\"late_init\")", "module(\"late_module\").function(\"late_start\")", "module(\"late_module\").function(\"late_step\")"], Points($"module(\"{path}\").function(\"*\")").Order());
        Assert.Equal(["module(\"late_module\").function(\"late_step\").exported"], Points($"module(\"{path}\").function(\"late_*\").exported"));
        Assert.Equal(["module(\"late_module\").function(\"init_module\")"], Points($"module(\"{path}\").function(\"init_module\")"));
    }

    [Fact]
    public async Task They_have_no_address_and_the_variables_of_the_debug_information()
    {
        var point = new Fixture($"probe module(\"{await FileAsync()}\").function(\"late_step\").call {{ next }}", target: Target.Live()).Expand().Single().Point;
        var spec = Assert.IsType<KernelFunctionSpec>(point.Spec);
        Assert.Equal(("late_step", "late_module", 0L, 0UL), (spec.Symbol, spec.Module, spec.Offset, spec.Address));
        Assert.NotNull(point.Context.Resolve("$by", default));
        Assert.NotNull(point.Context.Resolve("$thing", default));
    }

    [Fact]
    public async Task Kprobes_and_addresses_work_the_same_way()
    {
        var path = await FileAsync();
        var kprobe = Assert.IsType<KernelFunctionSpec>(new Fixture($"probe kprobe.module(\"{path}\").function(\"late_start\").return {{ next }}", target: Target.Live()).Expand().Single().Point.Spec);
        Assert.Equal(("late_start", "late_module", true), (kprobe.Symbol, kprobe.Module, kprobe.IsReturn));
        var byAddress = Assert.IsType<KernelFunctionSpec>(new Fixture($"probe module(\"{path}\").statement(0) {{ next }}", target: Target.Live()).Expand().Single().Point.Spec);
        Assert.Equal(("late_step", 0L), (byAddress.Symbol, byAddress.Offset));
    }

    [Fact]
    public async Task Misses_name_what_was_looked_for()
    {
        Assert.Contains("late_step", Fixture.Fails($"probe module(\"{await FileAsync()}\").function(\"late_stap\") {{ next }}", target: Target.Live()));
        Assert.Contains("is not loaded, and there is no file nosuchmodule.ko (or .ko.xz, .ko.zst, .ko.gz) in /usr/lib/debug/lib/modules/", Fixture.Fails("probe module(\"nosuchmodule\").function(\"f\") { next }", target: Target.Live()));
        Assert.Contains("there is no file \"/no/such.ko\"", Fixture.Fails("probe module(\"/no/such.ko\").function(\"f\") { next }", target: Target.Live()));
        Assert.Contains("must be named without wildcards", Fixture.Fails("probe module(\"nosuch*\").function(\"f\") { next }", target: Target.Live()));
    }
}
