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
                if (suffix == ".exported" && !scope.Target.KernelFunctions.IsExported(function.Symbol, module))
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
            else if ((suffix != ".inline" || function.IsInlined) && (suffix != ".exported" || scope.Target.KernelFunctions.IsExported(function.Symbol, module))
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

    /// <inheritdoc/>
    public override string? WhyNone(string pattern, ResolveScope scope) => KernelPlaces.SystemCallHint(pattern, scope);

    private static void Address(ProbeMatch match, ProbePoint point, string? module, bool isReturn, int maxActive, ResolveScope scope, List<ResolvedPoint> results)
    {
        if (KernelPlaces.ByAddress(match, module, scope) is not { } found)
        {
            return;
        }

        if (found.Offset != 0 && KernelPlaces.ModuleEnd(found.Symbol.Name, module, match.Point, scope))
        {
            return;
        }

        if (found.Symbol.Module != module)
        {
            scope.Diagnostics.Error("probe.no-address", Literal.ArgumentSpan(match.Point, 1),
                $"address 0x{found.Symbol.Address + (ulong)found.Offset:x} lies in no function of {(module is null ? "the kernel" : "module \"" + module + "\"")}", KernelPlaces.AddressHint);
            return;
        }

        var prototype = found.Offset == 0 ? scope.Target.KernelFunctions.Find(found.Symbol.Name, module) is [{ Prototype: { } p }, ..] ? p : (BtfType?)null : null;
        var function = new KernelFunction(KernelFunctions.SourceName(found.Symbol.Name), found.Symbol.Name, module, found.Symbol.Address, prototype);
        results.Add(KernelPlaces.Function(function, point, isReturn, found.Offset == 0 ? KernelAttachKind.Any : KernelAttachKind.Kprobe, maxActive, scope, found.Offset));
    }
}

/// <summary>What the families of kernel places share.</summary>
internal static class KernelPlaces
{
    /// <summary>For who looks for <c>sys_open</c>, which is <c>__x64_sys_open</c> since Linux 4.17 (as <c>SyS_open</c> was before); null for other names.</summary>
    public static string? SystemCallHint(string pattern, ResolveScope scope)
    {
        var architecture = scope.Target.Architecture;
        if (!pattern.StartsWith("sys_", StringComparison.OrdinalIgnoreCase))
        {
            return null;
        }

        var name = pattern["sys_".Length..];
        var function = architecture.SyscallFunctionPrefix + name;
        return scope.Target.KernelSymbols.Find(function) is null ? null
            : $"this kernel has it as {function}" + (architecture.Syscalls.Number(name) < 0 ? "" : $"; syscall.{name} is this system call on every kernel, with its arguments");
    }

    /// <summary>The points with their module: one without module for the kernel, one for each module that fits the pattern.</summary>
    public static IEnumerable<(ProbePoint Point, string? Module)> Modules(ProbePoint point, bool isModule, ResolveScope scope)
    {
        if (!isModule)
        {
            yield return (point, null);
            yield break;
        }

        foreach (var module in FindModules(((StringLiteral)point.Components[0].Argument!).Value, point.Components[0], scope))
        {
            yield return (Literal.WithText(point, 0, module), module);
        }
    }

    /// <summary>Modules of a name, pattern or path: loaded ones, or the one that a file is there of and that is probed when it is loaded. None after an error.</summary>
    public static List<string> FindModules(string pattern, ProbeComponent component, ResolveScope scope)
    {
        var target = scope.Target;
        var modules = target.KernelFunctions.Modules(pattern);
        if (modules.Count > 0)
        {
            return modules;
        }

        var similar = Names.Hint(Names.Similar(pattern, target.KernelFunctions.Modules("*")));
        if (Globs.IsPattern(pattern))
        {
            scope.Diagnostics.Error("probe.no-module", component.Span, $"no module that is loaded fits \"{pattern}\"", similar ?? "a module that is loaded later must be named without wildcards");
        }
        else if (pattern.Contains('/'))
        {
            scope.Diagnostics.Error("probe.no-module", component.Span, $"there is no file \"{pattern}\"", "give the path of a module's .ko file, or the module's name");
        }
        else if (target.IsBuiltIn(pattern.Replace('-', '_')))
        {
            scope.Diagnostics.Error("probe.no-module", component.Span, $"\"{pattern}\" is no module of this kernel: its code is a part of the kernel itself", "use kernel.function(\"…\")");
        }
        else
        {
            scope.Diagnostics.Error("probe.no-module", component.Span,
                $"module \"{pattern}\" is {(target.IsLive ? "not loaded, and there is" : "not known:")} no file {pattern}.ko (or .ko.xz, .ko.zst, .ko.gz) in {string.Join(", ", target.ModuleFolders)}",
                similar ?? "give the path of its file instead of the name");
        }

        return modules;
    }

    /// <summary>Refuses a breakpoint where the kernel would die of it.</summary>
    public static bool ModuleEnd(string symbol, string? module, ProbePoint point, ResolveScope scope)
    {
        if (!scope.Target.KernelFunctions.IsModuleEnd(symbol, module))
        {
            return false;
        }

        scope.Diagnostics.Error("probe.module-end", point.Components[^1].Span,
            $"function \"{symbol}\" cannot be probed: it is the last of its module, and kernel {scope.Target.Release} reads behind the module's code when it prepares such a probe",
            "probe a function that it calls, or one that calls it");
        return true;
    }

    public const string AddressHint = "see /proc/kallsyms (as root) for the addresses of this boot";

    /// <summary>The function that holds the address a point names, which counts from the beginning of its module's code; null after an error.</summary>
    public static (KernelSymbol Symbol, long Offset)? ByAddress(ProbeMatch match, string? module, ResolveScope scope)
    {
        var address = (ulong)match.Number(1);
        if (module is not null && scope.Target.UnloadedModule(module) is { } file)
        {
            if (file.At(address) is { } inFile)
            {
                return inFile;
            }
        }
        else
        {
            address += module is null ? 0 : ModuleBase(module);
            if (scope.Target.KernelSymbols.Find(address) is ({ IsFunction: true } symbol, var offset))
            {
                return (symbol, (long)offset);
            }
        }

        scope.Diagnostics.Error("probe.no-address", Literal.ArgumentSpan(match.Point, 1),
            $"address 0x{address:x} lies in no function of {(module is null ? "the kernel or its modules" : "module \"" + module + "\"")}", AddressHint);
        return null;
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

        if (found.Count > 0 && all.IsTraceable(found[0].Symbol, module) == false && ModuleEnd(found[0].Symbol, module, point, scope))
        {
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
            IsGuess = function.IsGuess,
        };
        var target = scope.Target;
        var prototype = offset == 0 ? function.Prototype : null;
        ResolvedPoint? entry = null;
        if (isReturn)
        {
            var text = Literal.TextWithAddress(point, 1);
            text = text[..text.LastIndexOf(".return", StringComparison.Ordinal)];
            entry = new ResolvedPoint(spec with { IsReturn = false, MaxActive = 0 }, text, new KernelFunctionContext(prototype, target.Architecture, null, () => ByDebugInfo(null)));
        }

        var its = entry;
        return new ResolvedPoint(spec, Literal.TextWithAddress(point, 1), new KernelFunctionContext(prototype, target.Architecture, entry, () => ByDebugInfo(its)));

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
