using SystemTap.Language.Diagnostics;
using SystemTap.Language.Preprocessing;
using SystemTap.Language.Syntax;
using SystemTap.Semantics.Tapsets;
using Xunit;

namespace SystemTap.Tests.Probes;

public sealed class TapsetLibraryTests : IDisposable
{
    private readonly string _root = Directory.CreateTempSubdirectory("stap-tapset").FullName;
    private readonly DiagnosticBag _bag = new();

    private string Cache => Path.Combine(_root, "cache");

    public void Dispose() => Directory.Delete(_root, true);

    private void Write(string path, string text)
    {
        var full = Path.Combine(_root, path);
        Directory.CreateDirectory(Path.GetDirectoryName(full)!);
        File.WriteAllText(full, text);
    }

    private TapsetLibrary Open(string? cache = "", string runtime = "bpf", params string[] directories) => new(new TapsetOptions
    {
        Directories = directories.Length == 0 ? [Path.Combine(_root, "t")] : [.. directories.Select(d => Path.Combine(_root, d))],
        Environment = new PreprocessorEnvironment { KernelRelease = "6.12.5-test", KernelVersion = "6.12.5", Architecture = "x86_64", Runtime = runtime },
        Diagnostics = _bag,
        CacheDirectory = cache == "" ? Cache : cache,
    });

    private static ProbeComponent[] Point(string text) => [.. ((ProbeDefinition)Fixture.Parse($"probe {text} {{}}", false).Items[0]).Points[0].Components];

    private static string[] Names(IEnumerable<ScriptFile> files) => [.. files.Select(f => Path.GetFileName(f.Source.Path))];

    [Fact]
    public void OnlyFilesThatDefineTheNameAreParsed()
    {
        Write("t/a.stp", "function fa() { return 1 } global ga = 2");
        Write("t/b.stp", "probe al.one = begin {} probe al.two = end {} private global hidden function _fb() { return 2 }");
        Write("t/notes.txt", "function fx() {}");
        var library = Open();
        Assert.Equal(["a.stp"], Names(library.FilesWithFunction("fa")));
        Assert.Equal((2, 1), library.FileCounts);
        Assert.Same(library.FilesWithFunction("fa")[0], library.FilesWithGlobal("ga")[0]);
        Assert.True(library.FilesWithFunction("fa")[0].Source.IsTapset);
        Assert.Empty(library.FilesWithFunction("f"));
        Assert.Empty(library.FilesWithFunction("fa2"));
        Assert.Empty(library.FilesWithGlobal("hidden"));
        Assert.Equal(["b.stp"], Names(library.FilesWithAlias("al")));
        Assert.Equal(["fa"], library.FunctionNames);
        Assert.Equal(["al.one", "al.two"], library.AliasNames);
    }

    [Theory]
    [InlineData("sys.read", "r.stp")]
    [InlineData("sys.read.return", "r.stp")]
    [InlineData("sys.read.return.maxactive(3)", "r.stp")]
    [InlineData("sys.w*", "w.stp")]
    [InlineData("sys.*", "r.stp w.stp")]
    [InlineData("sys.*.return", "r.stp w.stp")]
    [InlineData("s*.write", "w.stp")]
    [InlineData("**", "other.stp r.stp w.stp")]
    [InlineData("sys.**", "r.stp w.stp")]
    [InlineData("sysread", "")]
    public void PointsLoadTheFilesOfTheirAliases(string point, string files)
    {
        Write("t/r.stp", "probe sys.read = begin {} probe sys.read.return = end {}");
        Write("t/w.stp", "probe sys.write = begin {}");
        Write("t/other.stp", "probe other.x.y = begin {}");
        Assert.Equal(files.Split(' ', StringSplitOptions.RemoveEmptyEntries), Names(Open().FilesWithAlias(Point(point))));
    }

    [Fact]
    public void SpecificFoldersComeFirst()
    {
        foreach (var folder in (string[])["bpf/6.12.5-test/x86_64", "bpf/6.12.5-test", "bpf/6.12.5", "bpf/6.12/x86_64", "bpf/x86_64", "bpf", "6.12.5-test", "6.12", "x86_64", ""])
        {
            Write("t/" + folder + "/f" + folder.Replace('/', '_') + ".stp", "function f() { return 1 }");
        }

        foreach (var folder in (string[])["dyninst", "6.11", "arm64", "bpf/6"])
        {
            Write("t/" + folder + "/n.stp", "function f() { return 1 }");
        }

        Assert.Equal(
            ["fbpf_6.12.5-test_x86_64.stp", "fbpf_6.12.5-test.stp", "fbpf_6.12.5.stp", "fbpf_6.12_x86_64.stp", "fbpf_x86_64.stp", "fbpf.stp", "f6.12.5-test.stp", "f6.12.stp", "fx86_64.stp", "f.stp"],
            Names(Open().FilesWithFunction("f")));
        Write("t/linux/6.12/l.stp", "function f() { return 1 }");
        Assert.Equal("l.stp", Names(Open().FilesWithFunction("f"))[6]); // behind all of bpf
        Assert.Equal("l.stp", Names(Open(null, "kernel").FilesWithFunction("f"))[0]);
    }

    [Fact]
    public void DuplicatesAreDropped()
    {
        Write("one/x.stp", "function f() { return 1 }");
        Write("two/x.stp", "function f() { return 2 }");
        Write("two/y.stp", "function g() { return 2 }");
        File.CreateSymbolicLink(Path.Combine(_root, "two/z.stp"), Path.Combine(_root, "one/x.stp"));
        var files = Open("", "bpf", "one", "two").FilesWithFunction("f");
        Assert.Equal(Path.Combine(_root, "one/x.stp"), Assert.Single(files).Source.Path);
    }

    [Fact]
    public void PathTreeGivesThePrefix()
    {
        Write("t/PATH/usr/bin/x.stp", "probe px = process(\"foo\").begin {}");
        Assert.Equal("/usr/bin/", Assert.Single(Open().FilesWithAlias("px")).Source.ProcessPathPrefix);
        Assert.Equal("/usr/bin/", Assert.Single(Open().FilesWithAlias("px")).Source.ProcessPathPrefix); // from the cached index
    }

    [Fact]
    public void FilesWithErrorsAreSkippedWithAWarning()
    {
        Write("t/bad.stp", "function f() { return }}} \n function f2( {");
        Write("t/good.stp", "function f() { return 1 }");
        var library = Open();
        Assert.Equal(["good.stp"], Names(library.FilesWithFunction("f")));
        Assert.Equal(["good.stp"], Names(library.FilesWithFunction("f")));
        var warning = Assert.Single(_bag.All);
        Assert.Equal(("tapset.parse", Severity.Warning), (warning.Code, warning.Severity));
    }

    [Fact]
    public void MacrosAreFoundInLibraryFiles()
    {
        Write("t/m.stpm", "@define one %( 1 %)\n@define add(a, b) %( (@a + @b) %)");
        Write("t/f.stp", "function f() { return @add(@one, 41) }");
        var library = Open();
        Assert.NotNull(library.Macros.Find("add"));
        Assert.Null(library.Macros.Find("nothing"));
        Assert.Single(library.FilesWithFunction("f"));
        Assert.Empty(_bag.All);
        Assert.Equal(["add", "one"], library.MacroNames);
    }

    [Fact]
    public void TheIndexIsCachedUntilSomethingChanges()
    {
        Write("t/a.stp", "function fa() { return 1 }");
        Assert.Single(Open().FilesWithFunction("fa"));
        var warm = Open();
        Assert.Single(warm.FilesWithFunction("fa"));
        Assert.True(warm.IndexWasCached);

        Write("t/a.stp", "function fa2() { return 1 }"); // in place: the folder's time stays
        var edited = Open();
        Assert.Single(edited.FilesWithFunction("fa2"));
        Assert.Empty(edited.FilesWithFunction("fa"));
        Assert.False(edited.IndexWasCached);

        Write("t/b.stp", "function fb() { return 1 }");
        Assert.Single(Open().FilesWithFunction("fb"));
        Write("t/bpf/6.12/c.stp", "function fc() { return 1 }"); // a folder that did not exist
        Assert.Single(Open().FilesWithFunction("fc"));
        File.Delete(Path.Combine(_root, "t/b.stp"));
        Assert.Empty(Open().FilesWithFunction("fb"));
        Assert.Empty(Open("", "kernel").FilesWithFunction("fc")); // another key
    }

    [Fact]
    public void DamagedCachesAreIgnored()
    {
        Write("t/a.stp", "function fa() { return 1 }");
        Open().FilesWithFunction("fa");
        var path = Assert.Single(Directory.GetFiles(Cache));
        var good = File.ReadAllBytes(path);
        foreach (var bad in (byte[][])[[], [.. good[..^5]], [.. good, 7], [.. good[..^3], 0, 1, 2], "rubbish\n%\n%\n"u8.ToArray()])
        {
            File.WriteAllBytes(path, bad);
            var library = Open();
            Assert.Single(library.FilesWithFunction("fa"));
            Assert.False(library.IndexWasCached);
        }
    }

    [Fact]
    public void NoCacheIsNoProblem()
    {
        Write("t/a.stp", "function fa() { return 1 }");
        Assert.Single(Open(null).FilesWithFunction("fa"));
        File.WriteAllText(Path.Combine(_root, "file"), "");
        Assert.Single(Open(Path.Combine(_root, "file", "x")).FilesWithFunction("fa"));
        Assert.Empty(Open("", "bpf", "missing").FilesWithFunction("fa"));
    }
}
