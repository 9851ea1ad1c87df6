using SystemTap.Language.Syntax;
using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Probes.User;
using SystemTap.Targets;

namespace SystemTap.Semantics.Probes.Families;

// Places in kernel code by debug information.
//
// Names, prototypes and addresses of functions come from BTF and kallsyms, always: they are there on every machine, and a look-up takes microseconds where
// the debug information of a kernel (some 500 MB) takes seconds. Debug information is asked only for what it alone knows: source files, inlined copies,
// labels, source lines, call sites, and variables that are no parameters. A function found there is turned back into a symbol, so that its entry is attached in
// the same way (trampoline, kprobe_multi) with the same types; instructions inside functions are kprobes, whose variables are read as in programs.

/// <summary>What debug information adds to the families of kernel places.</summary>
internal static class KernelDebugPlaces
{
    /// <summary>The file with debug information, or null after an error that names what would bring it.</summary>
    public static UserFile? Require(ProbePoint point, string? module, string what, string works, ResolveScope scope)
    {
        if (scope.Target.KernelFile(module) is { } file)
        {
            return file;
        }

        scope.Diagnostics.Error("probe.needs-debuginfo", point.Components[0].Span,
            $"probe point '{point}' needs the debug information of {(module is null ? $"kernel {scope.Target.Release}" : $"module \"{module}\"")}: {what} known only there",
            KernelCode.Missing(scope.Target, module) + "; without it " + works);
        return null;
    }

    /// <summary>Functions of a pattern by debug information, as the engines probe them; inline copies among them when asked for.</summary>
    public static List<FoundFunction> Functions(UserFile file, FunctionPattern pattern, bool inlines) => FunctionSearch.Find(file, pattern, inlines);

    /// <summary>The entry or return of a function, or the beginning of an inline copy; null when the kernel allows no probe there.</summary>
    public static ResolvedPoint? Function(FoundFunction found, UserFile file, string? module, ProbePoint point, bool isReturn, int maxActive, ResolveScope scope)
    {
        if (!found.IsInlined)
        {
            if (file.Kernel!.Place(found.Entry) is not { } entry || scope.Target.KernelFunctions.IsBlacklisted(entry.Symbol)
                || scope.Target.KernelFunctions.IsTraceable(entry.Symbol, module) == false && scope.Target.KernelFunctions.IsModuleEnd(entry.Symbol, module))
            {
                return null;
            }

            var named = Literal.WithText(point, 1, found.Name);
            var known = scope.Target.KernelFunctions.Find(found.Symbol, module);
            var prototype = known.Count > 0 ? known[0].Prototype : null;
            return KernelPlaces.Function(new KernelFunction(found.Symbol, entry.Symbol, module, entry.Address, prototype), named, isReturn, KernelAttachKind.Any, maxActive, scope);
        }

        return At(file, module, found.Entry, found.Function!, Literal.WithText(point, 1, found.Name), scope);
    }

    /// <summary>One instruction, with the variables visible there; null when the kernel allows no probe there.</summary>
    public static ResolvedPoint? At(UserFile file, string? module, ulong address, DwarfFunction function, ProbePoint point, ResolveScope scope)
    {
        if (file.Kernel!.Place(address) is not { } place || scope.Target.KernelFunctions.IsBlacklisted(place.Symbol) || scope.Target.KernelFunctions.IsModuleEnd(place.Symbol, module))
        {
            return null;
        }

        var spec = new KernelFunctionSpec(place.Symbol, module, place.Offset, false) { Kind = KernelAttachKind.Kprobe, Address = place.Address == 0 ? 0 : place.Address - (ulong)place.Offset };
        return new ResolvedPoint(spec, point.ToString(), new FunctionContext(scope.Target, file, file.Dwarf!, function, address));
    }

    /// <summary>Labels of the functions that fit.</summary>
    public static void Labels(FoundFunction found, UserFile file, string? module, ProbePoint point, ResolveScope scope, List<ResolvedPoint> results)
    {
        if (found.Function is not { } function)
        {
            return;
        }

        var pattern = ((StringLiteral)point.Components[2].Argument!).Value;
        foreach (var (name, address, source, line) in file.Dwarf!.Labels(function))
        {
            if (Globs.Matches(pattern, name) && At(file, module, address, function, Literal.WithText(Literal.WithText(point, 1, FunctionSearch.TextOfLabel(found, source, line)), 2, name), scope) is { } result)
            {
                results.Add(result);
            }
        }
    }

    /// <summary>Statements by source line.</summary>
    public static void Lines(FunctionPattern pattern, bool nearest, UserFile file, string? module, ProbePoint point, ResolveScope scope, List<ResolvedPoint> results)
    {
        var before = results.Count;
        var search = StatementSearch.Find(file, file.Dwarf!, pattern, nearest);
        foreach (var (address, line, function) in search.Sites)
        {
            if (At(file, module, address, function, Literal.WithText(point, 1, $"{function.Name}@{line.File}:{line.Line}"), scope) is { } result)
            {
                results.Add(result);
            }
        }

        if (results.Count == before && !scope.Diagnostics.HasErrors)
        {
            var (message, hint) = search.Miss(file, pattern);
            scope.Diagnostics.Error("probe.no-line", Literal.ArgumentSpan(point, 1), message, hint);
        }
    }

    /// <summary>Says why a pattern that debug information was asked for gave nothing.</summary>
    public static void Miss(FunctionPattern pattern, string suffix, UserFile file, ProbePoint point, List<FoundFunction> found, ResolveScope scope)
    {
        var span = Literal.ArgumentSpan(point, 1);
        var name = pattern.Function;
        if (suffix == ".label(S)" && found.Count > 0)
        {
            scope.Diagnostics.Error("probe.no-label", span, $"function \"{name}\" has no such label in the debug information \"{file.Path}\"", "labels that nothing jumps to are optimised away");
        }
        else if (suffix == ".inline" && found.Count > 0)
        {
            scope.Diagnostics.Error("probe.not-inlined", span, $"function \"{name}\" is inlined nowhere", "use .call");
        }
        else if (suffix != ".inline" && FunctionSearch.Find(file, pattern, inlines: true) is { Count: > 0 } copies)
        {
            OnlyInlined(name, copies.Count, suffix.StartsWith(".return", StringComparison.Ordinal), point, scope);
        }
        else
        {
            scope.Diagnostics.Error("probe.no-function", span, $"no function \"{name}\"{(pattern.File is { } source ? $" of source file \"{source}\"" : "")} in \"{file.Path}\"",
                Names.Hint(Names.Similar(name, FunctionSearch.Names(file))));
        }
    }

    public static void OnlyInlined(string name, int copies, bool isReturn, ProbePoint point, ResolveScope scope) =>
        scope.Diagnostics.Error("probe.only-inlined", Literal.ArgumentSpan(point, 1), $"function \"{name}\" is never called: the compiler inlined it at {copies} place{(copies == 1 ? "" : "s")}",
            isReturn ? "inlined functions do not return; use .inline for their entry" : "use .inline");
}
