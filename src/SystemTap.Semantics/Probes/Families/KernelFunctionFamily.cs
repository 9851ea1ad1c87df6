using System.Globalization;
using SystemTap.Language.Syntax;
using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Probes.User;
using SystemTap.Targets;

namespace SystemTap.Semantics.Probes.Families;

// Kernel functions. What SystemTap finds in DWARF is found here in BTF (prototypes) and kallsyms (addresses). What neither has – inlined copies, labels,
// source files – is looked up in debug information (KernelDebugPlaces) when it is installed, else refused with one sentence that says what is needed.

/// <summary>
/// <c>kernel.function("PATTERN")</c> and <c>module("M").function("PATTERN")</c> with <c>.call .return .return.maxactive(N) .exported</c>; a number instead of
/// the pattern is an address (relative to the module's for modules). Without a suffix a point means the function that is
/// called, or, when the compiler inlined all of it, the inlined copies.
/// </summary>
public sealed class KernelFunctionFamily : ProbeFamily
{
    private static readonly string[] Suffixes =
        ["", ".call", ".return", ".return.maxactive(N)", ".exported", ".inline", ".label(S)"];

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

            if (suffix is ".inline" or ".label(S)" || match.Text(1).Contains('@'))
            {
                ByDebugInfo(match, point, module, suffix, (int)maxActive, scope, results);
                continue;
            }

            var before = results.Count;
            foreach (var function in KernelPlaces.Functions(match.Text(1), module, match.Point, scope))
            {
                if (suffix == ".exported" && !scope.Target.KernelFunctions.IsExported(function.Symbol))
                {
                    continue;
                }

                results.Add(KernelPlaces.Function(function, Literal.WithText(point, 1, function.Name), isReturn, KernelAttachKind.Any, (int)maxActive, scope));
            }

            // Nothing by that name can be called: it may be inlined everywhere, or this machine does not have the module.
            if (results.Count == before && !scope.Diagnostics.HasErrors && (module is not null || !Globs.IsPattern(match.Text(1))) && scope.Target.KernelFile(module) is not null)
            {
                ByDebugInfo(match, point, module, suffix, (int)maxActive, scope, results);
            }
        }
    }

    /// <summary>Source files, inlined copies, labels.</summary>
    private static void ByDebugInfo(ProbeMatch match, ProbePoint point, string? module, string suffix, int maxActive, ResolveScope scope, List<ResolvedPoint> results)
    {
        var text = match.Text(1);
        var what = suffix == ".inline" ? "inlined copies of a function are" : suffix == ".label(S)" ? "labels are" : "which functions come from a source file is";
        if (FunctionPattern.Parse(text) is not { } pattern)
        {
            scope.Diagnostics.Error("probe.function-pattern", Literal.ArgumentSpan(match.Point, 1), $"function pattern \"{text}\" cannot be read", "write \"FUNCTION\", \"FUNCTION@FILE\" or \"FUNCTION@FILE:LINE\"");
            return;
        }

        // "f@*" asks for no file in particular; a name that only one function has needs none.
        if (KernelPlaces.IsFileIdle(pattern, module, scope) && suffix is not (".inline" or ".label(S)"))
        {
            foreach (var function in KernelPlaces.Functions(pattern.Function, module, match.Point, scope))
            {
                results.Add(KernelPlaces.Function(function, Literal.WithText(point, 1, function.Name), suffix.StartsWith(".return", StringComparison.Ordinal), KernelAttachKind.Any, maxActive, scope));
            }

            return;
        }

        if (KernelDebugPlaces.Require(point, module, what, "functions can be probed by name or pattern, with typed parameters", scope) is not { } file)
        {
            return;
        }

        var before = results.Count;
        var isReturn = suffix.StartsWith(".return", StringComparison.Ordinal);
        var found = KernelDebugPlaces.Functions(file, pattern, suffix is "" or ".inline" or ".label(S)");
        foreach (var function in found)
        {
            if (suffix == ".label(S)")
            {
                KernelDebugPlaces.Labels(function, file, module, point, scope, results);
            }
            else if ((suffix != ".inline" || function.IsInlined) && (suffix != ".exported" || scope.Target.KernelFunctions.IsExported(function.Symbol))
                && KernelDebugPlaces.Function(function, file, module, point, isReturn, maxActive, scope) is { } result)
            {
                results.Add(result);
            }
        }

        if (results.Count == before && !scope.Diagnostics.HasErrors)
        {
            KernelDebugPlaces.Miss(pattern, suffix, file, point, found, scope);
        }
    }

    /// <inheritdoc/>
    public override IEnumerable<string> Candidates(ProbeMatch match, ResolveScope scope) => KernelPlaces.Candidates(match, scope);

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

    /// <summary>The file of a pattern decides nothing: it is "*", or, without debug information, the name is that of one function only.</summary>
    public static bool IsFileIdle(FunctionPattern pattern, string? module, ResolveScope scope) =>
        pattern.Lines == LineChoice.None && (pattern.File == "*"
            || !pattern.IsGlob && scope.Target.KernelFile(module) is null && scope.Target.KernelFunctions.Find(pattern.Function, module).Count == 1);

    /// <summary>Functions of a name or glob.</summary>
    public static List<KernelFunction> Functions(string pattern, string? module, ProbePoint point, ResolveScope scope)
    {
        var all = scope.Target.KernelFunctions;
        if (Globs.IsPattern(pattern))
        {
            return all.Match(pattern, module);
        }

        var name = pattern;
        var found = all.Find(name, module);
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
        var target = scope.Target;
        var prototype = offset == 0 ? function.Prototype : null;
        ResolvedPoint? entry = null;
        if (isReturn)
        {
            var text = point.ToString();
            text = text[..text.LastIndexOf(".return", StringComparison.Ordinal)];
            entry = new ResolvedPoint(spec with { IsReturn = false, MaxActive = 0 }, text, new KernelFunctionContext(prototype, target.Architecture, null, () => ByDebugInfo(null)));
        }

        var its = entry;
        return new ResolvedPoint(spec, point.ToString(), new KernelFunctionContext(prototype, target.Architecture, entry, () => ByDebugInfo(its)));

        UserContext? ByDebugInfo(ResolvedPoint? entry)
        {
            if (offset != 0 || target.KernelFile(function.Module) is not { Dwarf: { } dwarf } file || file.Kernel!.Function(function.Symbol) is not { } found)
            {
                return null;
            }

            return entry is null ? new FunctionContext(target, file, dwarf, found, found.Entry) : new ReturnContext(target, file, dwarf, found, entry);
        }
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
}
