using SystemTap.Language.Diagnostics;
using SystemTap.Language.Syntax;
using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Probes;
using SystemTap.Semantics.Tapsets;
using SystemTap.Semantics.Targeting;
using SystemTap.Targets;

namespace SystemTap.Semantics.Elaboration;

/// <summary>Turns one written probe point into events: aliases and wildcards replaced, points resolved against the machine.</summary>
public interface IProbeExpander
{
    /// <summary>
    /// The events of one point. Empty when an optional point matches nothing; a mandatory one that matches nothing is reported to
    /// <paramref name="diagnostics"/> by the expander, with suggestions. The caller handles <c>!</c> (stop the list at the first point that resolves).
    /// </summary>
    IReadOnlyList<ExpandedProbe> Expand(ProbePoint point, DiagnosticBag diagnostics);
}

/// <summary>The expander of real sessions.</summary>
public sealed class ResolverExpander(ProbeResolver resolver) : IProbeExpander
{
    /// <inheritdoc/>
    public IReadOnlyList<ExpandedProbe> Expand(ProbePoint point, DiagnosticBag diagnostics) => resolver.TryExpand(point, diagnostics);
}

/// <summary>The switches of pass 2.</summary>
public sealed record ElaborationOptions
{
    /// <summary><c>-g</c>.</summary>
    public bool GuruMode { get; init; }

    /// <summary>Whose rights the script must keep to (<c>--privilege</c>).</summary>
    public Privilege Privilege { get; init; } = Privilege.Developer;

    /// <summary><c>-u</c>: nothing is removed or simplified, except what <c>@defined</c> decides.</summary>
    public bool Unoptimized { get; init; }

    /// <summary>Warnings will not be shown: work that only makes them is skipped.</summary>
    public bool NoWarnings { get; init; }

    /// <summary><c>--compatible</c>, or null for the newest.</summary>
    public Version? CompatibleVersion { get; init; }

    /// <summary>"bpf" or "kernel".</summary>
    public string Runtime { get; init; } = "bpf";

    /// <summary>Started with <c>-c</c> or <c>-x</c>.</summary>
    public bool HasTargetProcess { get; init; }

    public Limits Limits { get; init; } = new();

    /// <summary><c>-G name=value</c>.</summary>
    public IReadOnlyDictionary<string, string> GlobalOverrides { get; init; } = new Dictionary<string, string>();

    public IReadOnlyList<string> ScriptArguments { get; init; } = [];

    /// <summary><c>--skip-badvars</c>: unknown target variables become 0.</summary>
    public bool SkipBadVars { get; init; }
}

/// <summary>All that pass 2 looks at.</summary>
public sealed record ElaborationInput
{
    /// <summary>The main script and the <c>-E</c> scripts.</summary>
    public required IReadOnlyList<ScriptFile> Files { get; init; }

    public required ITapsetLibrary Library { get; init; }

    public required IProbeExpander Expander { get; init; }

    public required ITargetBinder TargetBinder { get; init; }

    public required Target Target { get; init; }

    public required ElaborationOptions Options { get; init; }

    /// <summary>Gets every error and warning.</summary>
    public required DiagnosticBag Diagnostics { get; init; }
}

/// <summary>Where a lowered probe came from, for <c>-p2</c>.</summary>
/// <param name="Probe">The lowered probe.</param>
/// <param name="Aliases">Points of the aliases passed, the one the script names first.</param>
/// <param name="IsSynthetic">Made by lowering (the entry side of <c>@entry</c>).</param>
public sealed record ProbeOrigin(Probe Probe, IReadOnlyList<string> Aliases, bool IsSynthetic);

/// <summary>What pass 2 yields.</summary>
/// <param name="Program">The lowered program; null when there were errors.</param>
public sealed record ElaborationResult(LoweredProgram? Program)
{
    /// <summary>Parallel to <see cref="LoweredProgram.Probes"/>.</summary>
    public IReadOnlyList<ProbeOrigin> Origins { get; init; } = [];

    /// <summary>Library files that joined the session, in order.</summary>
    public IReadOnlyList<ScriptFile> TapsetFiles { get; init; } = [];
}
