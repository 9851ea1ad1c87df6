using SystemTap.Targets;
using SystemTap.Tests.Corpus;
using Xunit;

namespace SystemTap.Tests.UserProbes;

/// <summary>Patterns with a source file look only into units whose line tables name it: what they find must be what a look at all units finds.</summary>
public sealed class SourceFileSearchTests
{
    private static readonly (string Name, string Text)[] Sources =
    [
        ("one.c", "#include \"sub/shared.h\"\nint one(int x) { return shared(x) + 1; }\nint two(int);\nint main(int c, char **v) { return one(c) + two(c); }\n"),
        ("two.c", "#include \"sub/shared.h\"\n#include \"part.c\"\nint two(int x) { return shared(x) + part(x); }\n"),
        ("part.c", "__attribute__((noinline)) static int part(int x) { __asm__ volatile(\"\"); return x - 1; }\n"),
        ("sub/shared.h", "static inline __attribute__((always_inline)) int shared(int x) { __asm__ volatile(\"nop\"); return x * 3; }\n"),
    ];

    [Theory]
    [InlineData("gcc", "-gdwarf-5")]
    [InlineData("gcc", "-gdwarf-4")]
    [InlineData("gcc", "-gdwarf-5 -gsplit-dwarf")]
    [InlineData("gcc", "-gdwarf-5 -gz")]
    [InlineData("clang", "-gdwarf-5")]
    [InlineData("clang", "-gdwarf-4")]
    public async Task Units_are_left_out_only_when_they_have_no_code_of_the_file(string compiler, string options)
    {
        Assert.SkipUnless(DwarfFile.IsLibraryPresent, "libdw1 is not installed");
        Assert.SkipUnless(File.Exists("/usr/bin/" + compiler), compiler + " is not installed");
        var folder = Directory.CreateTempSubdirectory("stap-sources-").FullName;
        try
        {
            Directory.CreateDirectory(Path.Combine(folder, "sub"));
            foreach (var (name, text) in Sources)
            {
                await File.WriteAllTextAsync(Path.Combine(folder, name), text);
            }

            var program = Path.Combine(folder, "program");
            var built = await StapProcess.RunProgramAsync([compiler, "-O2", .. options.Split(' '), "-o", program, "one.c", "two.c"], null, 60, folder, null);
            Assert.True(built.Status == 0, built.Err);
            var counts = new Dictionary<string, int>();
            foreach (var pattern in (string[])["one.c", "two.c", "part.c", "shared.h", "sub/shared.h", "sub/*.h", "*.c", "*/one.c", $"{folder}/two.c", $"{folder}/sub/*", "o*.c", "none.c"])
            {
                List<string> Find(string? source) => [.. DwarfFile.TryOpen(program)!.Functions(null, f => SourceFiles.Matches(pattern, f.File), inlines: true, source).Select(f => $"{f.QualifiedName} {f.Entry:x} {f.IsInlined}")];
                var all = Find(null);
                Assert.Equal(all, Find(pattern));
                counts[pattern] = all.Count;
            }

            Assert.Equal((true, 1, 0), (counts["sub/shared.h"] >= 2, counts["part.c"], counts["none.c"]));
            if (!options.Contains("-gz", StringComparison.Ordinal))
            {
                // The first table is that of one.c.
                var heads = LineHeaders.Of(program)!;
                bool MayHave(string pattern) => heads.MayHave(0, folder, pattern, []);
                Assert.Equal([true, true, false, false, false], new[] { "one.c", "sub/shared.h", "two.c", "part.c", "other/shared.h" }.Select(MayHave));
            }
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }
}
