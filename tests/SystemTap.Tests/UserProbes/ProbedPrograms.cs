using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;
using SystemTap.Targets;
using SystemTap.Tests.Corpus;
using Xunit;

namespace SystemTap.Tests.UserProbes;

/// <summary>Programs of <c>tests/programs</c>, compiled when a test first asks for a build of them and kept until the tests end.</summary>
internal static class ProbedPrograms
{
    private static readonly string Folder = Directory.CreateTempSubdirectory("stap-programs-").FullName;
    private static readonly ConcurrentDictionary<string, Lazy<Task<string>>> Built = new();

    static ProbedPrograms() => AppDomain.CurrentDomain.ProcessExit += static (_, _) => Directory.Delete(Folder, recursive: true);

    /// <summary>
    /// Path of the program. Among the flags, <c>+clang</c> compiles with clang, <c>+dwz</c> lets dwz put debug information that is there twice into one place, <c>+alt</c> lets it move what two programs share into a third file, <c>+separate</c> moves
    /// the debug information into a file of its own, found by debug link, <c>+zstd</c> compresses it so, and <c>+musl</c> builds with that C library. Sources may be C, C++, Rust or Go.
    /// </summary>
    public static Task<string> Build(string source, string flags) =>
        Built.GetOrAdd(source + "|" + flags, _ => new Lazy<Task<string>>(() => Compile(source, flags))).Value;

    private static async Task<string> Compile(string source, string flags)
    {
        var id = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(source + " " + flags)))[..10];
        var own = Directory.CreateDirectory(Path.Combine(Folder, id)).FullName;
        var isLibrary = flags.Contains("-shared", StringComparison.Ordinal);
        var path = Path.Combine(own, Path.GetFileNameWithoutExtension(source) + (isLibrary ? ".so" : ""));
        var words = flags.Split(' ', StringSplitOptions.RemoveEmptyEntries).Where(w => w[0] != '+').ToList();
        var compiler = Compiler(source, flags);
        var libraries = words.Where(w => w.StartsWith("-l", StringComparison.Ordinal)).ToArray();
        words.RemoveAll(w => w.StartsWith("-l", StringComparison.Ordinal));
        if (compiler == "go")
        {
            await Run(["env", "GO111MODULE=off", "GOCACHE=" + Path.Combine(Folder, "go"), "go", "build", .. words, "-o", path, Path.Combine(StapProcess.Root, "tests", "programs", source)], own);
            return path;
        }

        await Run([compiler, .. words, compiler == "rustc" ? "-Awarnings" : "-w", "-o", path, Path.Combine(StapProcess.Root, "tests", "programs", source), .. libraries], own);
        if (flags.Contains("+dwz", StringComparison.Ordinal))
        {
            await Run(["dwz", path], own);
        }

        if (flags.Contains("+alt", StringComparison.Ordinal))
        {
            File.Copy(path, path + ".other");
            await Run(["dwz", "-m", path + ".common", path, path + ".other"], own);
            Assert.NotNull(ElfFile.Open(path).FindSection(".gnu_debugaltlink"));
        }

        if (flags.Contains("+separate", StringComparison.Ordinal))
        {
            await Run(["objcopy", "--only-keep-debug", path, path + ".debug"], own);
            await Run(["strip", "--strip-all", path], own);
            await Run(["objcopy", "--add-gnu-debuglink=" + path + ".debug", path], own);
        }

        if (flags.Contains("+zstd", StringComparison.Ordinal))
        {
            var file = File.Exists(path + ".debug") ? path + ".debug" : path;
            await Run(["objcopy", "--compress-debug-sections=zstd", file], own);
            Assert.Contains(ElfFile.Open(file).Sections, s => s.Name == ".debug_info" && (s.Flags & 0x800) != 0);
            if (file != path)
            {
                await Run(["objcopy", "--remove-section=.gnu_debuglink", path], own);
                await Run(["objcopy", "--add-gnu-debuglink=" + file, path], own);
            }
        }

        return path;
    }

    private static string Compiler(string source, string flags) => (Path.GetExtension(source), flags.Contains("+clang", StringComparison.Ordinal)) switch
    {
        (".cpp", var clang) => clang ? "clang++" : "g++",
        (".rs", _) => "rustc",
        (".go", _) => "go",
        (".f90", _) => "gfortran",
        (_, true) => "clang",
        _ => flags.Contains("+musl", StringComparison.Ordinal) ? "musl-gcc" : "gcc",
    };

    /// <summary>A compiler or tool that a build with these flags needs and that is not installed, or that the program cannot run here; null when nothing is missing.</summary>
    public static string? Missing(string source, string flags, bool runsHere = true)
    {
        string[] needed = [Compiler(source, flags), .. flags.Contains("+dwz", StringComparison.Ordinal) || flags.Contains("+alt", StringComparison.Ordinal) ? ["dwz"] : Array.Empty<string>()];
        var folders = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':', StringSplitOptions.RemoveEmptyEntries);
        return needed.FirstOrDefault(tool => !folders.Any(folder => File.Exists(Path.Combine(folder, tool))))
            ?? (!flags.Contains("-m32", StringComparison.Ordinal) ? null
                : !File.Exists("/usr/include/gnu/stubs-32.h") && !File.Exists("/usr/include/x86_64-linux-gnu/gnu/stubs-32.h") ? "gcc-multilib"
                : !runsHere || Runs32Bit.Value ? null : "a kernel that runs 32-bit programs");
    }

    /// <summary>The kernel executes i386 programs: one that only exits (exit(0) by int 0x80) is tried.</summary>
    private static readonly Lazy<bool> Runs32Bit = new(static () =>
    {
        var path = Path.Combine(Folder, "exits32");
        File.WriteAllBytes(path, Convert.FromHexString(
            "7f454c460101010000000000000000000200030001000000548004083400000000000000000000003400200001000000" + // the file's head: i386, entered behind both heads
            "00000000010000000000000000800408008004085d0000005d0000000500000000100000" +                                                        // all of it is loaded at 0x8048000
            "b80100000031dbcd80"));                                                                             // mov $1, %eax; xor %ebx, %ebx; int $0x80
        File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        try
        {
            using var process = System.Diagnostics.Process.Start(path);
            process.WaitForExit();
            return process.ExitCode == 0;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return false;
        }
    });

    private static async Task Run(string[] words, string folder)
    {
        var got = await StapProcess.RunProgramAsync(words, null, 60, folder, null);
        Assert.True(got.Status == 0, string.Join(' ', words) + "\n" + got.Err);
    }
}
