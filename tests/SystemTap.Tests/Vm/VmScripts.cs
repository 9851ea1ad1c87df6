using System.Text;
using SystemTap.Tests.Corpus;
using Xunit;

namespace SystemTap.Tests.Vm;

/// <summary>
/// Scripts run in virtual machines: each case once for each kernel and each runtime it is for, all those of one kernel in one boot. The runs of a kernel
/// start when the first of its tests asks; the others wait for the same boot. <c>VM_FILTER</c> (parts of names, | between them) and <c>VM_KERNELS</c> limit what runs.
/// Modules are built on this machine against the kernel's headers; the machine only runs them.
/// </summary>
internal sealed class VmScripts(Func<IEnumerable<CorpusCase>> load, string[] runtimes)
{
    private readonly Lazy<Dictionary<string, CorpusCase>> _cases = new(() => load().ToDictionary(c => c.Name, StringComparer.Ordinal));
    private readonly Dictionary<string, Task<Dictionary<string, VmResult>>> _boots = [];

    /// <summary>Names for a theory: <c>KERNEL RUNTIME CASE</c>.</summary>
    public TheoryData<string> Names()
    {
        var names = new TheoryData<string>();
        foreach (var kernel in VirtualMachine.Kernels)
        {
            foreach (var (name, _, _) in Selected(kernel))
            {
                names.Add($"{kernel} {name}");
            }
        }

        return names;
    }

    /// <summary>Checks one case; the first call boots the kernels.</summary>
    public async Task Check(string name)
    {
        var space = name.IndexOf(' ', StringComparison.Ordinal);
        var (kernel, key) = (name[..space], name[(space + 1)..]);
        var one = _cases.Value[key[(key.IndexOf(' ', StringComparison.Ordinal) + 1)..]];
        Assert.SkipWhen(VmModules.Missing(one) is not null, "needs " + VmModules.Missing(one));
        Task<Dictionary<string, VmResult>> boot;
        lock (_boots)
        {
            // All kernels at once: machines run one after the other, but while the first runs the modules of the next are built.
            foreach (var each in _boots.Count == 0 ? VirtualMachine.Kernels : [])
            {
                _boots.Add(each, Task.Run(() => BootAsync(each)));
            }

            boot = _boots[kernel];
        }

        var results = await boot;
        if (!results.TryGetValue(key, out var result))
        {
            Assert.Fail($"the machine did not come to this case; its console ends with:\n{results[""].Log}");
        }

        var got = result.Run with { Out = Plain(result.Run.Out), Err = Plain(result.Run.Err) };
        Assert.SkipWhen(key.StartsWith("bpf ", StringComparison.Ordinal) && CorpusRunner.IsForeseenRefusal(one, got), "the BPF engine cannot: " + got.Err.Split('\n')[0]);
        Assert.SkipWhen(key.StartsWith("kernel ", StringComparison.Ordinal) && got.Status == 1 && got.Err.Contains("the kernel-module runtime cannot do '", StringComparison.Ordinal),
            "the kernel-module runtime cannot: " + got.Err.Split('\n')[0]);
        var differs = CorpusRunner.Differs(one, got) ?? (result.Log.Length > 0 ? "the kernel log is not clean" : null);
        if (differs is not null)
        {
            Assert.Fail($"{differs}\n=== case {name}: stap {string.Join(' ', one.Options)}\n{one.Script.TrimEnd()}\n{one.Shell}=== expected (status {one.Status})\n{one.Out}"
                + $"{string.Concat(one.Err.Select(e => $"stderr: {e}\n"))}=== got (status {got.Status})\n{got.Out}=== stderr\n{got.Err}=== kernel log\n{result.Log}");
        }
    }

    private static string Plain(string text) => text.Replace("script.stp", "SCRIPT", StringComparison.Ordinal);

    private IEnumerable<(string Key, CorpusCase Case, string Runtime)> Selected(string kernel)
    {
        var filter = Environment.GetEnvironmentVariable("VM_FILTER");
        foreach (var one in _cases.Value.Values)
        {
            foreach (var runtime in runtimes)
            {
                var key = $"{runtime} {one.Name}";
                if ((one.Kernels.Length == 0 || one.Kernels.Split(' ').Contains(kernel)) && (one.Runtimes.Length == 0 || one.Runtimes.Split(' ').Contains(runtime))
                    && (string.IsNullOrEmpty(filter) || filter.Split('|').Any(part => key.Contains(part, StringComparison.Ordinal))))
                {
                    yield return (key, one, runtime);
                }
            }
        }
    }

    private async Task<Dictionary<string, VmResult>> BootAsync(string kernel)
    {
        var (cases, results) = (new Dictionary<string, VmCase>(), new Dictionary<string, VmResult>());
        var warnings = new Dictionary<string, string>();
        foreach (var (key, written, runtime) in Selected(kernel))
        {
            if (VmModules.Missing(written) is not null)
            {
                continue;
            }

            var (one, program) = await VmModules.WithProgramAsync(written);
            var files = await VmModules.ProbedAsync(kernel, one);
            if (program is not null)
            {
                files.Add("program", await File.ReadAllBytesAsync(program));
            }

            if (runtime == "bpf")
            {
                cases.Add(key, Folder(one, "stap " + Quote([.. VmModules.Emulation(one), .. one.Options]) + " script.stp " + Quote(one.Words), files, program));
            }
            else
            {
                var name = $"case_{cases.Count}";
                var (module, built) = await VmModules.BuildAsync(kernel, one, name);
                if (module is null)
                {
                    results.Add(key, new VmResult(built, ""));
                }
                else
                {
                    warnings[key] = built.Err;
                    files[name + ".ko"] = module;
                    cases.Add(key, Folder(one, $"staprun {Quote(VmModules.RunOptions(one))} {name}.ko", files, program));
                }
            }
        }

        if (cases.Count > 0)
        {
            foreach (var (key, result) in await VirtualMachine.RunAsync(kernel, cases))
            {
                // What stap said when it built the module comes before what staprun says.
                results[key] = warnings.TryGetValue(key, out var said) ? result with { Run = result.Run with { Err = said + result.Run.Err } } : result;
            }
        }

        return results;
    }

    private static VmCase Folder(CorpusCase one, string run, Dictionary<string, byte[]> files, string? program)
    {
        var place = program is null ? "" : $"mkdir -p {Path.GetDirectoryName(program)}; cp program {program}; chmod +x {program}\n";
        files["script.stp"] = Encoding.Latin1.GetBytes(one.Script);
        files["cmd"] = Encoding.Latin1.GetBytes(place + (one.Shell is { } shell ? $"RUN='{run.Replace("'", "'\\''", StringComparison.Ordinal)}'\nrun() {{ eval \"$RUN\"; }}\n{shell}" : "exec " + run + "\n"));
        return new VmCase(files);
    }

    private static string Quote(IEnumerable<string> words) => string.Join(' ', words.Select(w => "'" + w.Replace("'", "'\\''", StringComparison.Ordinal) + "'"));
}
