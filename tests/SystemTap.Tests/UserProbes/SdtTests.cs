using System.Diagnostics;
using System.Globalization;
using SystemTap.Targets;
using SystemTap.Tests.Corpus;
using Xunit;

namespace SystemTap.Tests.UserProbes;

/// <summary>Marks of the machine's own libraries, and semaphores as the probed program sees them.</summary>
public sealed class SdtTests
{
    private static readonly string[] Libraries = ["/usr/lib/x86_64-linux-gnu/libstdc++.so.6", "/lib/x86_64-linux-gnu/libc.so.6", "/usr/bin/python3", "/lib/ld-linux-aarch64.so.1", "/usr/lib/aarch64-linux-gnu/libstdc++.so.6"];

    [Fact]
    public async Task Listings_name_the_marks_that_readelf_shows()
    {
        var any = false;
        foreach (var library in Libraries.Where(File.Exists))
        {
            var notes = await StapProcess.RunProgramAsync(["readelf", "-n", "-W", library], null, 60, null, null);
            var expected = notes.Out.Split('\n').Where(l => l.StartsWith("    Name: ", StringComparison.Ordinal)).Select(l => l[10..]).Distinct().Order(StringComparer.Ordinal).ToList();
            var got = await StapProcess.RunAsync(["-L", $"process(\"{library}\").mark(\"*\")"]);
            var listed = got.Out.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(l => l.Split("mark(\"")[1].Split('"')[0]).Distinct().Order(StringComparer.Ordinal);
            Assert.Equal(expected, listed);
            any |= expected.Count > 0;
        }

        Assert.SkipUnless(any, "no library here has marks");
    }

    [Fact]
    public async Task Exceptions_hit_the_marks_of_the_cpp_library()
    {
        UserProbeCorpusTests.NeedUprobes();
        var library = Libraries.Where(l => l.Contains("stdc++", StringComparison.Ordinal)).FirstOrDefault(File.Exists);
        Assert.SkipWhen(library is null || SdtMark.Of(ElfFile.Open(library)).Count == 0, "libstdc++ has no marks here");
        var program = await ProbedPrograms.Build("throws.cpp", "-O2");
        var got = await StapProcess.RunAsync(["-c", program, "-e", $$"""
            global n
            probe process("{{library}}").mark("*") { n[$$name, $$provider]++ }
            probe end { foreach ([m+, p] in n) printf("%s %s %d\n", p, m, n[m, p]) }
            """], seconds: 60);
        Assert.True(got.Status == 0, got.Err);
        Assert.Contains("libstdcxx catch 1502\nlibstdcxx throw 1502\n", got.Out, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Python_names_the_functions_it_leaves()
    {
        UserProbeCorpusTests.NeedUprobes();
        const string python = "/usr/bin/python3";
        Assert.SkipWhen(!File.Exists(python) || !SdtMark.Of(ElfFile.Open(python)).Any(m => m.Name == "function__return"), "python3 has no marks here");
        var script = Path.GetTempFileName();
        await File.WriteAllTextAsync(script, "def inner(n):\n    return n\ndef outer():\n    return inner(1) + inner(2)\nouter()\n");
        try
        {
            // Python reaches these marks only while their semaphores are raised; 3.11 and later have function__entry only where C code calls Python code.
            var got = await StapProcess.RunAsync(["-c", $"{python} {script}", "-e", $$"""
                probe process("{{python}}").mark("function__return") { if (user_string($arg1) == "{{script}}") printf("< %s %d\n", user_string($arg2), $arg3) }
                """], seconds: 60);
            Assert.True(got.Status == 0, got.Err);
            Assert.Equal("< inner 2\n< inner 2\n< outer 4\n< <module> 5\n", got.Out);
        }
        finally
        {
            File.Delete(script);
        }
    }

    [Theory]
    [InlineData("-O2")]
    [InlineData("-O2 -no-pie")]
    public async Task Semaphores_in_the_program_are_raised_while_sessions_probe(string flags)
    {
        UserProbeCorpusTests.NeedUprobes();
        var program = await ProbedPrograms.Build("semaphore.c", flags + " -DWAIT");
        using var process = Process.Start(new ProcessStartInfo(program) { RedirectStandardInput = true, RedirectStandardOutput = true })!;
        try
        {
            // The program says where its semaphore is; its memory is read from outside.
            var address = long.Parse((await process.StandardOutput.ReadLineAsync())![2..], NumberStyles.HexNumber, CultureInfo.InvariantCulture);
            int Semaphore()
            {
                using var memory = File.OpenHandle($"/proc/{process.Id}/mem");
                Span<byte> bytes = stackalloc byte[2];
                Assert.Equal(2, RandomAccess.Read(memory, bytes, address));
                return bytes[0] | bytes[1] << 8;
            }

            Assert.Equal(0, Semaphore());
            var seen = new List<int>();
            var script = $"probe process(\"{program}\").mark(\"check\") {{ println(\"hit\") }} probe begin {{ println(\"live\") }} probe timer.ms(50) {{ println(\"live\") }}";
            var got = await StapProcess.RunAsync(["-T", "3", "-e", script], "live\nlive", _ => seen.Add(Semaphore()));
            Assert.True(got.Status == 0, got.Err);
            Assert.Equal([1], seen);
            Assert.Equal(0, Semaphore());
        }
        finally
        {
            process.Kill();
        }
    }
}
