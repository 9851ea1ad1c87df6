using SystemTap.Language.Lexing;
using SystemTap.Language.Text;

namespace SystemTap.Language.Preprocessing;

/// <summary>What <c>%( … %)</c> conditions ask about.</summary>
public sealed class PreprocessorEnvironment
{
    /// <summary><c>kernel_v</c>: the base version, such as <c>6.12.5</c>.</summary>
    public string KernelVersion { get; init; } = "";

    /// <summary><c>kernel_vr</c>: the full release, such as <c>6.12.5-amd64</c>.</summary>
    public string KernelRelease { get; init; } = "";

    /// <summary><c>arch</c>: the kernel's name of the architecture, such as <c>x86_64</c>, <c>arm64</c>.</summary>
    public string Architecture { get; init; } = "x86_64";

    /// <summary><c>runtime</c>: <c>bpf</c> or <c>kernel</c>.</summary>
    public string Runtime { get; init; } = "bpf";

    /// <summary><c>systemtap_privilege</c>: <c>stapusr</c>, <c>stapsys</c> or <c>stapdev</c>.</summary>
    public string Privilege { get; init; } = "stapdev";

    /// <summary><c>guru_mode</c>.</summary>
    public bool GuruMode { get; init; }

    /// <summary><c>systemtap_v</c> and the language rules: the <c>--compatible</c> version, or null for the newest.</summary>
    public string? CompatibleVersion { get; init; }

    /// <summary>Value of <c>CONFIG_xxx</c> (name with the prefix) without quotes: <c>y</c>, <c>m</c>, a number, a text; null when unset.</summary>
    public Func<string, string?> ConfigLookup { get; init; } = static _ => null;

    /// <summary><c>--check-version</c>: called for each construct whose meaning depends on the language version.</summary>
    public Action<SourceSpan, string>? VersionDependent { get; init; }

    /// <summary>True if the language has a feature that came with version <paramref name="since"/>.</summary>
    public bool LanguageHas(string since) => LanguageVersion.AtLeast(CompatibleVersion, since);
}
