using System.Diagnostics;
using System.Text;
using SystemTap.Cli.CommandLine;
using SystemTap.Cli.Driver;
using SystemTap.KernelModule.Translation;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;
using SystemTap.Tests.Corpus;

namespace SystemTap.Tests.KernelModule;

/// <summary>
/// Compiles translated scripts with the test harness of <c>runtime/host</c> to ordinary programs and runs them. The run-time is compiled once, scripts
/// in batches, one program for each batch; a program's first argument chooses the script.
/// </summary>
internal sealed class CHarness : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("stap-c-").FullName;
    private readonly Lazy<string> _library;

    // stap's passes run inside the test program, which has no library beside it.
    static CHarness() =>
        Environment.SetEnvironmentVariable("SYSTEMTAP_TAPSET", Environment.GetEnvironmentVariable("SYSTEMTAP_TAPSET") ?? Path.Combine(StapProcess.Root, "tapset"));

    public CHarness() => _library = new(BuildLibrary);

    private static string Runtime => Path.Combine(StapProcess.Root, "runtime");

    /// <summary>Takes a command line of stap (with its script file) through passes 1 to 3.</summary>
    /// <returns>Null when the script is refused.</returns>
    public static (LoweredProgram Program, CTranslation C)? Translate(IEnumerable<string> words)
    {
        (LoweredProgram, CTranslation)? result = null;
        Exception? failure = null;
        var thread = new Thread(
            () =>
            {
                try
                {
                    result = new SessionDriver(OptionParser.Parse([.. words])).ToC();
                }
                catch (Exception e)
                {
                    failure = e;
                }
            },
            64 << 20);
        thread.Start();
        thread.Join();
        return failure is null ? result : throw new InvalidOperationException(failure.ToString(), failure);
    }

    /// <summary>Only session and timer probes that read no kernel memory: what the harness can run.</summary>
    public static bool CanRun(LoweredProgram program)
    {
        var finder = new TaskFinder();
        foreach (var function in program.Functions)
        {
            finder.Visit(function.Body);
        }

        foreach (var probe in program.Probes)
        {
            finder.Visit(probe.Body);
        }

        return !finder.Found && program.Probes.All(p => p.Spec is SessionSpec or TimerSpec);
    }

    private sealed class TaskFinder : LoweredWalker
    {
        public bool Found { get; private set; }

        public override void Visit(Expr? expression)
        {
            Found |= expression is IntrinsicExpr { Intrinsic.Id: IntrinsicId.CurrentTask or IntrinsicId.TaskFromPid };
            base.Visit(expression);
        }
    }

    /// <summary>Builds one program of many scripts; yields its path.</summary>
    public string Build(string name, IReadOnlyList<CTranslation> scripts)
    {
        var words = new List<string> { "gcc", "-O0", "-fwrapv", "-w", "-I", Path.Combine(Runtime, "include"), "-o", Path.Combine(_folder, name) };
        var table = new StringBuilder("#include \"stap.h\"\n");
        for (var i = 0; i < scripts.Count; i++)
        {
            var file = Path.Combine(_folder, $"{name}_{i}.c");
            File.WriteAllText(file, scripts[i].Script.Replace("const struct stap_script stap_script =", $"const struct stap_script script_{i} =", StringComparison.Ordinal), Encoding.Latin1);
            words.Add(file);
            if (scripts[i].Embedded is { } embedded)
            {
                // Functions of embedded C are external: such a script needs a program of its own.
                File.WriteAllText(file = Path.Combine(_folder, $"{name}_{i}_embedded.c"), embedded, Encoding.Latin1);
                words.Add(file);
                words.Add("-DSTAP_HOST");
            }

            table.Append($"extern const struct stap_script script_{i};\n");
        }

        table.Append("const struct stap_script *const scripts[] = {").AppendJoin(", ", scripts.Select((_, i) => $"&script_{i}")).Append($"}};\nconst unsigned int script_count = {scripts.Count};\n");
        var main = Path.Combine(_folder, name + "_table.c");
        File.WriteAllText(main, table.ToString());
        words.Add(main);
        words.AddRange(Directory.GetFiles(_library.Value, "*.o"));
        Run(words);
        return Path.Combine(_folder, name);
    }

    /// <summary>Compiles one translation with warnings on; yields what gcc says. What it says of odd script (<c>50 &lt; (a &amp;&amp; b)</c>) is the script's.</summary>
    public string Warnings(CTranslation translation)
    {
        var file = Path.Combine(_folder, $"w{Guid.NewGuid():N}.c");
        File.WriteAllText(file, translation.Script, Encoding.Latin1);
        var start = new ProcessStartInfo("gcc") { RedirectStandardError = true };
        foreach (var word in new[] { "-c", "-O2", "-fwrapv", "-ffreestanding", "-Wall", "-Wextra", "-Wno-unused", "-Wno-bool-compare", "-Wno-int-in-bool-context", "-I", Path.Combine(Runtime, "include"), "-o", "/dev/null", file })
        {
            start.ArgumentList.Add(word);
        }

        using var process = Process.Start(start)!;
        var text = process.StandardError.ReadToEnd();
        process.WaitForExit();
        return text;
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private string BuildLibrary()
    {
        var folder = Path.Combine(_folder, "lib");
        Directory.CreateDirectory(folder);
        string[] sources = [.. Directory.GetFiles(Path.Combine(Runtime, "core"), "*.c"), Path.Combine(Runtime, "host", "host.c")];
        Parallel.ForEach(sources, new ParallelOptions { MaxDegreeOfParallelism = 2 }, source =>
            Run(["gcc", "-c", "-O1", "-fwrapv", "-Wall", "-Wextra", "-Werror", "-I", Path.Combine(Runtime, "include"), "-o", Path.Combine(folder, Path.GetFileNameWithoutExtension(source) + ".o"), source]));
        return folder;
    }

    private static void Run(IReadOnlyList<string> words)
    {
        var start = new ProcessStartInfo(words[0]) { RedirectStandardError = true };
        foreach (var word in words.Skip(1))
        {
            start.ArgumentList.Add(word);
        }

        using var process = Process.Start(start)!;
        var errors = process.StandardError.ReadToEnd();
        process.WaitForExit();
        if (process.ExitCode != 0)
        {
            throw new InvalidOperationException($"{string.Join(' ', words.Take(6))} … failed:\n{errors[..Math.Min(errors.Length, 6000)]}");
        }
    }
}
