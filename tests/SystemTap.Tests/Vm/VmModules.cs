using SystemTap.Tests.Corpus;

namespace SystemTap.Tests.Vm;

/// <summary>Builds the kernel modules of virtual-machine cases on this machine.</summary>
internal static class VmModules
{
    /// <summary>False while the module runtime cannot build scripts.</summary>
    public static bool Available => false;

    /// <summary>Options of the case that are for staprun, not for building.</summary>
    public static IEnumerable<string> RunOptions(CorpusCase one)
    {
        for (var i = 0; i < one.Options.Count; i++)
        {
            if (one.Options[i] is "-c" or "-x" or "-o" && i + 1 < one.Options.Count)
            {
                yield return one.Options[i];
                yield return one.Options[++i];
            }
        }
    }

    /// <summary>The module's bytes, or how stap refused the script.</summary>
    public static Task<(byte[]? Module, StapResult? Refused)> BuildAsync(string kernel, CorpusCase one, string name) =>
        throw new NotSupportedException($"module {name} of {one.Name} for {kernel}");
}
