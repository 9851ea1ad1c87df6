using System.Text.RegularExpressions;

namespace SystemTap.KernelModule.Building;

/// <summary>
/// A kernel's build tree as distributions ship it in their headers package (<c>/lib/modules/RELEASE/build</c>): configuration, headers, build tools
/// and the versions of exported symbols.
/// </summary>
public sealed partial class BuildTree
{
    private BuildTree(string path, string release, string config)
    {
        Path = path;
        Release = release;
        Config = config;
    }

    /// <summary>Absolute path, symbolic links kept.</summary>
    public string Path { get; }

    /// <summary>The release it builds modules for, as <c>uname -r</c> says it.</summary>
    public string Release { get; }

    /// <summary>Text of its .config.</summary>
    public string Config { get; }

    /// <summary>Major version of the compiler that built the kernel; 0 when it was not gcc or is not known.</summary>
    public int GccMajor => Value("CONFIG_GCC_VERSION") is { } text && int.TryParse(text, out var version) ? version / 10000 : 0;

    /// <summary>Value of a configuration name without quotes; null when it is not set.</summary>
    public string? Value(string name)
    {
        var at = Config.IndexOf("\n" + name + "=", StringComparison.Ordinal);
        if (at < 0)
        {
            return null;
        }

        var from = at + name.Length + 2;
        var end = Config.IndexOf('\n', from);
        return Config[from..(end < 0 ? Config.Length : end)].Trim('"');
    }

    /// <summary>What changes when the tree does: part of the key of what is built with it.</summary>
    public string Identity
    {
        get
        {
            var parts = new List<string> { Path, Release };
            foreach (var name in (string[])[".config", "Module.symvers", "include/generated/compile.h", "include/generated/autoconf.h", "Makefile"])
            {
                var file = new FileInfo(System.IO.Path.Combine(Path, name));
                parts.Add(file.Exists ? $"{name} {file.Length} {file.LastWriteTimeUtc.Ticks}" : name);
            }

            return string.Join('\n', parts);
        }
    }

    /// <summary>
    /// The tree of a kernel: <paramref name="wanted"/> is a release, or the path of a tree (it holds a slash), or null for the release
    /// <paramref name="running"/>.
    /// </summary>
    /// <exception cref="ModuleBuildException">There is none, or it is not complete.</exception>
    public static BuildTree Find(string? wanted, string running)
    {
        var isPath = wanted is not null && wanted.Contains('/');
        var path = isPath ? System.IO.Path.GetFullPath(wanted!) : $"/lib/modules/{wanted ?? running}/build";
        if (!Directory.Exists(path))
        {
            throw isPath ? new ModuleBuildException($"kernel build tree '{path}' of option '-r' does not exist", "give the path of a tree, or a release as 'uname -r' prints it")
                : Missing(wanted ?? running, $"folder '{path}' does not exist");
        }

        ModuleBuildException Unusable(string cause) => isPath ? new ModuleBuildException($"'{path}' of option '-r' is no kernel build tree that is ready: {cause}", "give the path of a tree in which 'make modules_prepare' was run, or a release as 'uname -r' prints it")
            : Missing(wanted ?? running, cause);
        var config = Read(path, ".config") ?? throw Unusable($"'{path}/.config' cannot be read");
        var release = Read(path, "include/config/kernel.release")?.Trim();
        if (string.IsNullOrEmpty(release))
        {
            release = ReleaseLine().Match(Read(path, "include/generated/utsrelease.h") ?? "") is { Success: true } match ? match.Groups[1].Value
                : throw Unusable($"'{path}/include/generated/utsrelease.h' does not name a release");
        }

        var tree = new BuildTree(path, release, "\n" + config);
        return tree.Value("CONFIG_MODULES") == "y" ? tree : throw new ModuleBuildException($"kernel '{release}' was built without loadable modules", "use --runtime=bpf");
    }

    /// <summary>The package that holds the headers of a release, by the distribution's naming.</summary>
    public static string PackageOf(string release)
    {
        var system = File.Exists("/etc/os-release") ? File.ReadAllText("/etc/os-release") : "";
        return Distribution().Match(system) is { Success: true } match ? match.Groups[1].Value switch
        {
            "fedora" or "rhel" or "centos" or "rocky" or "almalinux" or "ol" => $"kernel-devel-{release}",
            "arch" => "linux-headers",
            "opensuse-leap" or "opensuse-tumbleweed" or "sles" => "kernel-default-devel",
            "alpine" => "linux-lts-dev",
            _ => $"linux-headers-{release}",
        } : $"linux-headers-{release}";
    }

    private static ModuleBuildException Missing(string release, string cause) =>
        new($"the headers of kernel '{release}' are not there: {cause}", $"install the package '{PackageOf(release)}', or name a build tree with -r PATH");

    private static string? Read(string folder, string name)
    {
        try
        {
            return File.ReadAllText(System.IO.Path.Combine(folder, name));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    [GeneratedRegex("UTS_RELEASE \"([^\"]+)\"")]
    private static partial Regex ReleaseLine();

    [GeneratedRegex("^ID=\"?([a-z0-9_-]+)", RegexOptions.Multiline)]
    private static partial Regex Distribution();
}
