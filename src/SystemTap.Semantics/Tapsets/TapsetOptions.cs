using SystemTap.Language.Diagnostics;
using SystemTap.Language.Preprocessing;
using SystemTap.Targets;

namespace SystemTap.Semantics.Tapsets;

/// <summary>What a <see cref="TapsetLibrary"/> depends on.</summary>
public sealed class TapsetOptions
{
    /// <summary>Include folders in order of precedence; see <see cref="TapsetPaths.Default"/>.</summary>
    public required IReadOnlyList<string> Directories { get; init; }

    /// <summary>For conditionals in the files, and for the release, architecture and runtime sub-folders.</summary>
    public required PreprocessorEnvironment Environment { get; init; }

    /// <summary>Gets a warning for each file that is skipped.</summary>
    public required DiagnosticBag Diagnostics { get; init; }

    /// <summary>Where the name index is kept between sessions; null: nowhere.</summary>
    public string? CacheDirectory { get; init; } = SystemTap.Targets.CacheDirectory.Default;
}

/// <summary>Where tapset files are looked for.</summary>
public static class TapsetPaths
{
    /// <summary>
    /// The include folders of a session: <c>$SYSTEMTAP_TAPSET</c> or <paramref name="builtIn"/>, then <c>DIR/systemtap/tapset</c> for each of
    /// <c>$XDG_DATA_DIRS</c>, then each <c>-I</c>.
    /// </summary>
    public static List<string> Default(string builtIn, IReadOnlyList<string> includes)
    {
        var own = Environment.GetEnvironmentVariable("SYSTEMTAP_TAPSET");
        var result = new List<string> { string.IsNullOrEmpty(own) ? builtIn : own };
        foreach (var directory in (Environment.GetEnvironmentVariable("XDG_DATA_DIRS") ?? "").Split(':', StringSplitOptions.RemoveEmptyEntries))
        {
            result.Add(Path.Combine(directory, "systemtap", "tapset"));
        }

        result.AddRange(includes);
        return result;
    }

    /// <summary>
    /// Sub-folders of an include folder that are searched, most specific first: below the runtime's own folder (<c>bpf</c> or <c>linux</c>) and then
    /// without it, by release, version, shorter versions (each with the architecture first), architecture, and the folder itself (an empty text).
    /// </summary>
    public static List<string> SubFolders(PreprocessorEnvironment environment)
    {
        var plain = new List<string>();
        void Add(string version)
        {
            if (version.Length > 0 && !plain.Contains(version) && !version.Contains('/'))
            {
                plain.Add(version + "/" + environment.Architecture);
                plain.Add(version);
            }
        }

        Add(environment.KernelRelease);
        var v = environment.KernelVersion;
        if (v.Length == 0)
        {
            v = environment.KernelRelease;
        }

        var dash = v.IndexOf('-');
        v = dash < 0 ? v : v[..dash];
        while (v.Length > 0)
        {
            Add(v);
            var dot = v.LastIndexOf('.');
            if (dot < 0 || v.IndexOf('.') == dot)
            {
                break; // "6.12" is the shortest
            }

            v = v[..dot];
        }

        plain.Add(environment.Architecture);
        plain.Add("");
        var all = new List<string>(plain.Count * 3 + 1);

        // "linux" is what holds on Linux for both runtimes: the tapset is script, not C. A folder "bpf" may override it.
        foreach (var runtime in environment.Runtime == "bpf" ? (string[])["bpf", "linux"] : ["linux"])
        {
            foreach (var sub in plain)
            {
                all.Add(sub.Length == 0 ? runtime : runtime + "/" + sub);
            }
        }

        // The system-call aliases are many files: they have a folder of their own.
        all.Add("linux/syscalls");
        all.AddRange(plain);
        return all;
    }
}
