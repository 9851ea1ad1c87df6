using System.Globalization;
using SystemTap.Language.Syntax;
using SystemTap.Semantics.Lowered;
using SystemTap.Targets;

namespace SystemTap.Semantics.Probes.Families;

// Kernel functions without debuginfo. What SystemTap finds in DWARF is found here in BTF (prototypes) and kallsyms (addresses); what neither has –
// inlined copies, labels, call sites, statements by line – is refused with one sentence that says what it would need.

/// <summary>
/// <c>kernel.function("PATTERN")</c> and <c>module("M").function("PATTERN")</c> with <c>.call .return .return.maxactive(N) .exported</c>; a number instead of
/// the pattern is an address (relative to the module's for modules). Without a suffix a point means the real functions: inlined copies are unknown here.
/// </summary>
public sealed class KernelFunctionFamily : ProbeFamily
{
    private static readonly string[] Suffixes =
        ["", ".call", ".return", ".return.maxactive(N)", ".exported", ".inline", ".label(S)", ".callee(S)", ".callee(S).call", ".callee(S).return", ".callees", ".callees(N)"];

    /// <inheritdoc/>
    public override IReadOnlyList<IReadOnlyList<ComponentPattern>> Forms { get; } = ProbeForms.Of(MakeForms());

    /// <inheritdoc/>
    public override Privilege Privilege => Privilege.System;

    /// <inheritdoc/>
    public override string ArgumentNoun => "function";

    private static string[] MakeForms()
    {
        var forms = new List<string>();
        foreach (var root in (ReadOnlySpan<string>)["kernel.function(S)", "module(S).function(S)", "kernel.function(N)", "module(S).function(N)"])
        {
            foreach (var suffix in Suffixes)
            {
                forms.Add(root + suffix);
            }
        }

        return [.. forms];
    }

    /// <inheritdoc/>
    public override void Resolve(ProbeMatch match, ResolveScope scope, List<ResolvedPoint> results)
    {
        var suffix = Suffixes[match.FormIndex % Suffixes.Length];
        var root = match.FormIndex / Suffixes.Length;
        if (suffix is ".inline" or ".label(S)" || suffix.StartsWith(".callee", StringComparison.Ordinal))
        {
            scope.Diagnostics.Error("probe.needs-debuginfo", match.Point.Components[0].Span,
                $"probe point '{match.Point}' needs the kernel's debug information: {What(suffix)} are known only there", KernelPlaces.DebugHint(scope));
            return;
        }

        var isReturn = suffix.StartsWith(".return", StringComparison.Ordinal);
        var maxActive = suffix == ".return.maxactive(N)" ? match.Number(match.Point.Components.Count - 1) : 0;
        if (maxActive is < 0 or > 65536)
        {
            scope.Diagnostics.Error("probe.maxactive-range", match.Point.Components[^1].Span, $"maxactive '{maxActive}' is out of range: it must lie between 0 and 65536");
            return;
        }

        foreach (var (point, module) in KernelPlaces.Modules(match.Point, root is 1 or 3, scope))
        {
            if (root >= 2)
            {
                Address(match, point, module, isReturn, (int)maxActive, scope, results);
                continue;
            }

            foreach (var function in KernelPlaces.Functions(match.Text(1), module, match.Point, scope))
            {
                if (suffix == ".exported" && !scope.Target.KernelFunctions.IsExported(function.Symbol))
                {
                    continue;
                }

                results.Add(KernelPlaces.Function(function, Literal.WithText(point, 1, function.Name), isReturn, KernelAttachKind.Any, (int)maxActive, scope));
            }
        }
    }

    /// <inheritdoc/>
    public override IEnumerable<string> Candidates(ProbeMatch match, ResolveScope scope) => KernelPlaces.Candidates(match, scope);

    private static string What(string suffix) => suffix switch
    {
        ".inline" => "inlined copies of a function",
        ".label(S)" => "labels",
        _ => "call sites",
    };

    private static void Address(ProbeMatch match, ProbePoint point, string? module, bool isReturn, int maxActive, ResolveScope scope, List<ResolvedPoint> results)
    {
        var address = (ulong)match.Number(1);
        if (module is not null)
        {
            address += KernelPlaces.ModuleBase(module);
        }

        if (scope.Target.KernelSymbols.Find(address) is not { Symbol.IsFunction: true } found || found.Symbol.Module != module)
        {
            scope.Diagnostics.Error("probe.no-address", Literal.ArgumentSpan(match.Point, 1),
                $"address 0x{address:x} lies in no function of {(module is null ? "the kernel" : "module \"" + module + "\"")}", "see /proc/kallsyms (as root) for the addresses of this boot");
            return;
        }

        var prototype = found.Offset == 0 ? scope.Target.KernelFunctions.Find(found.Symbol.Name, module) is [{ Prototype: { } p }, ..] ? p : (BtfType?)null : null;
        var function = new KernelFunction(KernelFunctions.SourceName(found.Symbol.Name), found.Symbol.Name, module, found.Symbol.Address, prototype);
        results.Add(KernelPlaces.Function(function, point, isReturn, found.Offset == 0 ? KernelAttachKind.Any : KernelAttachKind.Kprobe, maxActive, scope, (long)found.Offset));
    }
}

/// <summary>What the families of kernel places share.</summary>
internal static class KernelPlaces
{
    public static string DebugHint(ResolveScope scope) =>
        $"this version reads no kernel debug information (package linux-image-{scope.Target.Release}-dbg); function entries and returns, with typed parameters, work without";

    /// <summary>The points with their module: one without module for the kernel, one for each module that fits the pattern.</summary>
    public static IEnumerable<(ProbePoint Point, string? Module)> Modules(ProbePoint point, bool isModule, ResolveScope scope)
    {
        if (!isModule)
        {
            yield return (point, null);
            yield break;
        }

        var pattern = ((StringLiteral)point.Components[0].Argument!).Value;
        var modules = scope.Target.KernelFunctions.Modules(pattern);
        if (modules.Count == 0)
        {
            scope.Diagnostics.Error("probe.no-module", point.Components[0].Span, $"module \"{pattern}\" is not loaded",
                Names.Hint(Names.Similar(pattern, scope.Target.KernelFunctions.Modules("*"))) ?? "load it first: modprobe " + pattern);
        }

        foreach (var module in modules)
        {
            yield return (Literal.WithText(point, 0, module), module);
        }
    }

    /// <summary>Functions of a pattern <c>name</c>, <c>glob</c> or <c>name@file</c>.</summary>
    public static List<KernelFunction> Functions(string pattern, string? module, ProbePoint point, ResolveScope scope)
    {
        var all = scope.Target.KernelFunctions;
        var at = pattern.IndexOf('@');
        var name = at < 0 ? pattern : pattern[..at];
        var file = at < 0 ? "" : pattern[(at + 1)..];
        if (Globs.IsPattern(name))
        {
            if (at >= 0 && file is not "*")
            {
                NeedsSource(pattern, point, scope);
                return [];
            }

            return all.Match(name, module);
        }

        var found = all.Find(name, module);
        if (at >= 0 && (file.Contains(':') || file.Contains('+') || found.Count > 1))
        {
            NeedsSource(pattern, point, scope);
            return [];
        }

        if (found.Count > 0 && all.IsBlacklisted(found[0].Symbol))
        {
            scope.Diagnostics.Error("probe.blacklisted", point.Components[1].Span, $"function \"{name}\" cannot be probed: the kernel forbids probes there (it is on the kprobes blacklist)",
                "probe a function that calls it");
            return [];
        }

        return found;
    }

    public static ResolvedPoint Function(KernelFunction function, ProbePoint point, bool isReturn, KernelAttachKind kind, int maxActive, ResolveScope scope, long offset = 0)
    {
        var spec = new KernelFunctionSpec(function.Symbol, function.Module, offset, isReturn)
        {
            Kind = kind,
            Address = function.Address,
            BtfFunction = offset == 0 && function.Symbol == function.Name ? function.Prototype?.Id ?? 0 : 0,
            MaxActive = maxActive,
        };
        var architecture = scope.Target.Architecture;
        ResolvedPoint? entry = null;
        if (isReturn)
        {
            var text = point.ToString();
            text = text[..text.LastIndexOf(".return", StringComparison.Ordinal)];
            entry = new ResolvedPoint(spec with { IsReturn = false, MaxActive = 0 }, text, new KernelFunctionContext(offset == 0 ? function.Prototype : null, architecture, null));
        }

        return new ResolvedPoint(spec, point.ToString(), new KernelFunctionContext(offset == 0 ? function.Prototype : null, architecture, entry));
    }

    public static IEnumerable<string> Candidates(ProbeMatch match, ResolveScope scope)
    {
        if (match.Point.Components[0].Name != "module")
        {
            return scope.Target.KernelFunctions.Names(null);
        }

        var names = new List<string>();
        foreach (var module in scope.Target.KernelFunctions.Modules(match.Text(0)))
        {
            names.AddRange(scope.Target.KernelFunctions.Names(module));
        }

        return names;
    }

    /// <summary>Where a module's code begins; 0 when that cannot be read.</summary>
    public static ulong ModuleBase(string module)
    {
        try
        {
            var text = File.ReadAllText($"/sys/module/{module}/sections/.text").Trim();
            return ulong.TryParse(text.AsSpan(text.StartsWith("0x", StringComparison.Ordinal) ? 2 : 0), NumberStyles.HexNumber, CultureInfo.InvariantCulture, out var address) ? address : 0;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return 0;
        }
    }

    private static void NeedsSource(string pattern, ProbePoint point, ResolveScope scope) =>
        scope.Diagnostics.Error("probe.needs-debuginfo", point.Components[1].Span,
            $"pattern \"{pattern}\" names a source file: which functions come from it is known only to the kernel's debug information", DebugHint(scope));
}
