using SystemTap.Cli.CommandLine;
using SystemTap.KernelModule.Building;
using SystemTap.Targets;

namespace SystemTap.Cli.Driver;

/// <summary>The kernel a session is for: the running one, or another that <c>-r</c> (or SYSTEMTAP_RELEASE) names.</summary>
internal static class KernelChoice
{
    /// <summary>Where stap keeps what it can make again.</summary>
    public static string CacheFolder => CacheDirectory.Default ?? Path.Combine(Path.GetTempPath(), $"stap-cache-{Environment.UserName}");

    /// <summary>The machine as the passes see it; for another kernel, its types come from its image.</summary>
    public static Target Find(Options options)
    {
        var wanted = options.KernelRelease ?? (Environment.GetEnvironmentVariable("SYSTEMTAP_RELEASE") is { Length: > 0 } release ? release : null);
        var live = Target.Live();
        if (wanted is null || wanted == live.Release)
        {
            return live;
        }

        BuildTree tree;
        try
        {
            tree = BuildTree.Find(wanted, live.Release);
        }
        catch (ModuleBuildException e)
        {
            throw new UsageException(e.Message, e.Hint);
        }

        if (tree.Release == live.Release)
        {
            return live;
        }

        if (options.Runtime == "bpf")
        {
            throw new UsageException($"option '-r': kernel '{tree.Release}' is not the running one", "BPF sessions run on this kernel; leave out -r, or use --runtime=kernel");
        }

        return Target.FromFiles(new TargetFiles
        {
            Release = tree.Release,
            Architecture = live.Architecture,
            BtfSource = () => Types(tree),
            LinkedSymbols = () => SystemMap(tree),
            ConfigText = tree.Config,
            BuildId = null,
            BuildTree = tree.Path,
        });
    }

    private static byte[]? Types(BuildTree tree)
    {
        if (Environment.GetEnvironmentVariable("SYSTEMTAP_BTF") is { Length: > 0 } given)
        {
            return KernelImages.ReadBtf(given, CacheFolder) ?? throw new UsageException($"the file '{given}' of SYSTEMTAP_BTF {(File.Exists(given) ? "holds no types (BTF)" : "does not exist")}", "name a kernel image (vmlinux or vmlinuz) or a BTF file");
        }

        return KernelImages.Candidates(tree.Release, tree.Path).Select(path => KernelImages.ReadBtf(path, CacheFolder)).FirstOrDefault(b => b is not null);
    }

    /// <summary>The kernel's System.map; null where there is none. Some distributions install one line of text in its place.</summary>
    private static byte[]? SystemMap(BuildTree tree)
    {
        const int SmallestReal = 100_000;
        foreach (var path in (string[])[$"{tree.Path}/System.map", $"/boot/System.map-{tree.Release}", $"/lib/modules/{tree.Release}/System.map", $"/usr/lib/debug/boot/System.map-{tree.Release}"])
        {
            try
            {
                if (new FileInfo(path) is { Exists: true, Length: > SmallestReal })
                {
                    return File.ReadAllBytes(path);
                }
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // As if absent: readable by root only on some machines.
            }
        }

        return null;
    }
}
