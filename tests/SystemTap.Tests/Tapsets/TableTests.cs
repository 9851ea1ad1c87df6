using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using SystemTap.Semantics.Tapsets;
using Xunit;

namespace SystemTap.Tests.Tapsets;

/// <summary>The tables of names: their form, and every value against the machine's own headers, compiled with gcc.</summary>
public class TableTests
{
    public static TheoryData<string> Names => [.. Directory.EnumerateFiles(TableFile.Folder, "*.tbl").Select(f => Path.GetFileNameWithoutExtension(f)).Order()];

    [Theory]
    [MemberData(nameof(Names))]
    public void NamesAreUniqueAndReachable(string name)
    {
        var table = Load(name);
        Assert.NotEmpty(table.Entries);
        foreach (var architecture in (string[])["x86_64", "arm64"])
        {
            var here = table.Entries.Where(e => table.IsOn(e, architecture)).ToList();
            Assert.Equal(here.Count, here.Select(e => e.Name).Distinct().Count());

            // Every entry can be printed: an entry behind its own parts never would be.
            Assert.Equal(here.Count, here.Select(e => e.Value).Distinct().Count() + here.Where(e => e.Field != 0).Count(e => here.Any(o => o.Field != e.Field && o.Value == e.Value)));
            if (IsFlags(table))
            {
                Assert.All(here.Where(e => e.Value != 0 || e.Field == 0), e => Assert.Contains(e.Name, Product(name, architecture).Flags(e.Value).Split('|')));
            }

            Assert.All(here.Where(e => e.Field != 0), e => Assert.Equal(0UL, (ulong)e.Value & ~e.Field));
        }
    }

    /// <summary>Sub-fields, several bits before their parts, architectures, what is left over, and nothing at all.</summary>
    [Theory]
    [InlineData("open_flags", 0, "O_RDONLY")]
    [InlineData("open_flags", 0x101001 | 0x40 | 0x410000, "O_WRONLY|O_TMPFILE|O_SYNC|O_CREAT")]
    [InlineData("open_flags", 0x80000 | 0x1000, "O_RDONLY|O_DSYNC|O_CLOEXEC")]
    [InlineData("mmap_flags", 0x22, "MAP_PRIVATE|MAP_ANONYMOUS")]
    [InlineData("mmap_prot", 0, "PROT_NONE")]
    [InlineData("clone_flags", 0x01200011, "CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD")]
    [InlineData("shmget_flags", 0x200 | 0x1a4, "IPC_CREAT|0644")]
    [InlineData("at_flags", 0, "0x0")]
    [InlineData("at_flags", 0x100 | 0x40000000, "AT_SYMLINK_NOFOLLOW|0x40000000")]
    [InlineData("socket_type", 0x80001, "SOCK_STREAM|SOCK_CLOEXEC")]
    public void FlagsAreSpelledOut(string table, long value, string expected) => Assert.Equal(expected, Product(table, "x86_64").Flags(value));

    [Theory]
    [MemberData(nameof(Names))]
    public void ValuesAreTheHeaders(string name)
    {
        if (!File.Exists("/usr/bin/gcc") || !File.Exists("/usr/include/linux/types.h"))
        {
            Assert.Skip("needs gcc and linux-libc-dev");
        }

        var table = Load(name);
        var entries = table.Entries.Where(e => table.IsOn(e, "x86_64")).ToList();
        if (table.Headers.Length == 0)
        {
            // Derived: the set of signals.
            var signals = Load("signal").Entries;
            Assert.Equal("sigset", name);
            Assert.Equal(signals.Select(s => (s.Name, 1L << (int)(s.Value - 1))), entries.Select(e => (e.Name, e.Value)));
            return;
        }

        var values = Compile(table, [.. entries.Select(e => e.Name)]);
        var wrong = new List<string>();
        foreach (var entry in entries)
        {
            if (!values.TryGetValue(entry.Name, out var value))
            {
                // Only names that say why may be unknown to the headers.
                if (entry.Comment.Length == 0)
                {
                    wrong.Add($"{entry.Name}: the headers do not have it");
                }
            }
            else if (value != entry.Value && !(IsFlags(table) && (uint)value == (ulong)entry.Value))
            {
                wrong.Add($"{entry.Name}: {entry.Value}, headers {value}");
            }
        }

        Assert.Empty(wrong);
        Assert.True(values.Count > 0 || entries.All(e => e.Comment.Length > 0));
    }

    private static TableFile Load(string name) => TableFile.Read(Path.Combine(TableFile.Folder, name + ".tbl"));

    private static NameTable Product(string name, string architecture) => NameTable.Parse(File.ReadAllText(Path.Combine(TableFile.Folder, name + ".tbl")), architecture);

    private static bool IsFlags(TableFile table) => table.Entries.Any(e => e.Field != 0) || table.Name.EndsWith("flags", StringComparison.Ordinal) || table.Name.EndsWith("mask", StringComparison.Ordinal)
        || table.Name is "sigset" or "mmap_prot" or "epoll_events" or "poll_events" or "access_mode" or "fcntl_notify" or "fcntl_seals" or "timex_modes" or "wait4_options" or "waitid_options" or "membarrier_cmd" or "mount_attr" or "pkey_access" or "fallocate_mode";

    /// <summary>Values of the names that the headers define; gcc's complaints tell which they do not.</summary>
    private static Dictionary<string, long> Compile(TableFile table, List<string> names)
    {
        var folder = Directory.CreateTempSubdirectory("stap-tables");
        try
        {
            while (true)
            {
                // C library headers bring kernel types of their own: printf is declared by hand beside pure kernel headers.
                var usesLibrary = table.Headers.Any(h => !h.Contains('/') || h.StartsWith("sys/", StringComparison.Ordinal));
                var source = new StringBuilder("#define _GNU_SOURCE\n");
                source.Append(usesLibrary
                    ? "#include <stdio.h>\n#include <stddef.h>\n#include <time.h>\n"
                    : "int printf(const char *, ...);\n#include <linux/types.h>\ntypedef __kernel_size_t size_t;\n");
                foreach (var header in table.Headers)
                {
                    source.Append($"#include <{header}>\n");
                }

                source.Append("int main(void) {\n");
                var firstLine = source.ToString().Count(c => c == '\n') + 1;
                foreach (var name in names)
                {
                    source.Append($"printf(\"{name} %lld\\n\", (long long)({name}));\n");
                }

                source.Append("return 0; }\n");
                var file = Path.Combine(folder.FullName, "t.c");
                var program = Path.Combine(folder.FullName, "t");
                File.WriteAllText(file, source.ToString());
                var (exit, _, errors) = Run("/usr/bin/gcc", ["-w", "-fmax-errors=0", "-o", program, file]);
                if (exit == 0)
                {
                    return Run(program, []).Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(l => l.Split(' '))
                        .ToDictionary(w => w[0], w => long.Parse(w[1], CultureInfo.InvariantCulture));
                }

                var bad = Regex.Matches(errors, @"t\.c:(\d+):\d+: error").Select(m => int.Parse(m.Groups[1].ValueSpan, CultureInfo.InvariantCulture) - firstLine)
                    .Where(i => i >= 0 && i < names.Count).Select(i => names[i]).ToHashSet();
                Assert.True(bad.Count > 0, errors);
                names = [.. names.Where(n => !bad.Contains(n))];
            }
        }
        finally
        {
            folder.Delete(true);
        }
    }

    private static (int Exit, string Output, string Errors) Run(string program, string[] arguments)
    {
        var start = new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["LC_ALL"] = "C";
        using var process = Process.Start(start)!;
        var errors = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output, errors.Result);
    }
}
