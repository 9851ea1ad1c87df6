using System.Globalization;
using SystemTap.Language.Syntax;
using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Probes.User;
using SystemTap.Targets;

namespace SystemTap.Semantics.Probes.Families;

/// <summary>
/// Functions of programs and libraries: <c>process….function(PATTERN)</c> with <c>.call .return .inline .exported .label("L")</c>, and
/// <c>.function(ADDRESS)</c>. By debug information with typed variables, else by symbols.
/// </summary>
public sealed class UserFunctionFamily : ProbeFamily
{
    private static readonly string[] Ends =
        ["function(S)", "function(S).call", "function(S).return", "function(S).inline", "function(S).exported", "function(S).label(S)", "function(N)", "function(N).call", "function(N).return",
            "function(S).exported.return"];

    private const int Call = 1, Return = 2, Inline = 3, Exported = 4, Label = 5, Number = 6, NumberReturn = 8, ExportedReturn = 9;

    /// <inheritdoc/>
    public override IReadOnlyList<IReadOnlyList<ComponentPattern>> Forms { get; } = UserRoots.Forms(Ends);

    /// <inheritdoc/>
    public override Privilege Privilege => Privilege.User;

    /// <inheritdoc/>
    public override string ArgumentNoun => "function";

    /// <inheritdoc/>
    public override void Resolve(ProbeMatch match, ResolveScope scope, List<ResolvedPoint> results)
    {
        var end = match.FormIndex % Ends.Length;
        var roots = UserRoots.Find(match, Ends.Length, scope);
        var before = results.Count;
        foreach (var root in roots)
        {
            if (end is >= Number and <= NumberReturn)
            {
                ByAddress(root, end == NumberReturn, scope, results);
            }
            else
            {
                ByPattern(root, end, roots.Count == 1, scope, results);
            }
        }

        if (results.Count == before && roots.Count > 1 && !scope.Diagnostics.HasErrors)
        {
            scope.Diagnostics.Error("probe.no-function", match.Point.Components[0].Span, $"none of the {roots.Count} programs and libraries has the function of '{match.Point}'");
        }
    }

    private static void ByPattern(UserRoot root, int end, bool single, ResolveScope scope, List<ResolvedPoint> results)
    {
        var argument = ((StringLiteral)root.Point.Components[root.End].Argument!).Value;
        if (FunctionPattern.Parse(argument) is not { } pattern)
        {
            scope.Diagnostics.Error("probe.function-pattern", Literal.ArgumentSpan(root.Point, root.End), $"function pattern \"{argument}\" cannot be read", "write \"FUNCTION\", \"FUNCTION@FILE\" or \"FUNCTION@FILE:LINE\"");
            return;
        }

        var found = FunctionSearch.Find(root.File, pattern, inlines: end is 0 or Inline or Label);
        var before = results.Count;
        var unfit = new UnfitPlaces(root);
        foreach (var function in found)
        {
            if (end == Inline && !function.IsInlined || end != Inline && end != 0 && end != Label && function.IsInlined
                || end is Exported or ExportedReturn && root.File.Symbols.IsGlobalAt(function.Entry) != true)
            {
                continue;
            }

            if (end != Label && unfit.Holds(function.Symbol, end is Return or ExportedReturn ? function.Entry : Start(root.File, function)))
            {
                continue;
            }

            if (end == Label)
            {
                Labels(root, function, unfit, scope, results);
            }
            else if (end is Return or ExportedReturn)
            {
                AddReturn(root, function, Text(root, function.Name), scope, results);
            }
            else if (Entry(root, function, Text(root, function.Name), scope.Target) is { } point)
            {
                results.Add(point);
            }
        }

        unfit.Tell(results.Count == before, scope);
        if (results.Count == before && single && !scope.Diagnostics.HasErrors)
        {
            Miss(root, pattern, end, found, scope);
        }
    }

    private static ulong Start(UserFile file, FoundFunction function) => function.Function is { } f && file.Dwarf is { } dwarf ? dwarf.BodyStart(f) : function.Entry;

    /// <summary>The entry of a function, or of an inline instance; null when it is not in the file.</summary>
    internal static ResolvedPoint? Entry(UserRoot root, FoundFunction function, string text, Target target)
    {
        var address = Start(root.File, function);
        if (root.File.Elf.FileOffset(address) is not { } offset)
        {
            return null;
        }

        ProbeContext context = function.Function is { } debug
            ? new FunctionContext(target, root.File, root.File.Dwarf!, debug, address)
            : new SymbolContext(target, root.File, address, null);
        var spec = new UserFunctionSpec(root.File.Path, offset, false, root.Filter)
        {
            Symbol = function.Symbol,
            StackArguments = StackArguments(root.File, target.Architecture.Of(root.File.Elf), address, address == function.Entry),
        };
        return new ResolvedPoint(spec, text, context);
    }

    /// <summary>Arguments on the stack begin at the canonical frame address; null when that is not a register and a number.</summary>
    private static StackArguments? StackArguments(UserFile file, Architecture architecture, ulong address, bool isEntry)
    {
        if (isEntry)
        {
            return architecture.PointerSize == 8 ? null : new StackArguments(architecture.StackPointer.Offset, architecture.StackArgumentsOffset, architecture.PointerSize);
        }

        const int baseRegister = 0x70, lastBaseRegister = 0x8f, baseRegisterX = 0x92;
        (int Register, long Displacement)? frame = file.Dwarf?.CanonicalFrame(address) switch
        {
            [{ Code: >= baseRegister and <= lastBaseRegister } op] => (op.Code - baseRegister, (long)op.Number),
            [{ Code: baseRegisterX } op] => ((int)op.Number, (long)op.Number2),
            _ => null,
        };
        return frame is (var number, >= int.MinValue and <= int.MaxValue and var displacement) && architecture.FindDwarfRegister(number) is { } register
            ? new StackArguments(register.Offset, (int)displacement, architecture.PointerSize)
            : null;
    }

    internal static void AddReturn(UserRoot root, FoundFunction function, string text, ResolveScope scope, List<ResolvedPoint> results)
    {
        var file = root.File;
        var isNamed = root.Point.Components[root.End].Argument is StringLiteral { Value: var pattern } && !Globs.IsPattern(pattern);
        if (file.IsUser && !ReturnSites.IsCalled(file, function.Entry, function.Symbol))
        {
            Unreturning(root, function, isNamed, "is jumped to and does not return: there is no return address that a return probe could replace", scope);
            return;
        }

        var keeps = file.IsUser && ReturnSites.KeepsAddress(function.Symbol);
        var sites = keeps || file.UnwindsItself ? Sites(file, function) : null;
        if (keeps && sites is null)
        {
            Unreturning(root, function, isNamed, "keeps its return address for a later jump: a return probe would send that jump to nowhere", scope);
            return;
        }

        if (sites is null && file.UnwindsItself)
        {
            if (file.Elf.IsGo)
            {
                scope.Diagnostics.Error("probe.go-return", root.Point.Components[root.End].Span,
                    $"function \"{function.Symbol}\" of \"{file.Path}\" is Go code that ends in jumps: a return probe would corrupt its stack when Go moves it",
                    "probe the entry, or an instruction by .statement(ADDRESS)");
                return;
            }

            if (isNamed)
            {
                scope.Diagnostics.Warn("probe.unwinding-return", root.Point.Components[root.End].Span,
                    $"an exception, or a change of stacks, that passes function \"{function.Symbol}\" while its return is probed ends the program", "probe its entry, if it may throw");
            }
        }

        if (file.Elf.FileOffset(function.Entry) is not { } offset || Entry(root, function, text, scope.Target) is not { } entry)
        {
            return;
        }

        entry = entry with { PointText = entry.PointText[..entry.PointText.LastIndexOf(".return", StringComparison.Ordinal)] + ".call" };
        ProbeContext context = function.Function is { } debug
            ? new ReturnContext(scope.Target, file, file.Dwarf!, debug, entry)
            : new SymbolContext(scope.Target, file, function.Entry, entry);
        results.Add(new ResolvedPoint(new UserFunctionSpec(file.Path, offset, true, root.Filter) { Symbol = function.Symbol, ReturnSites = sites }, text, context));
    }

    /// <summary>A function whose return cannot be probed without harm: an error where it is named, left out where a pattern means it.</summary>
    private static void Unreturning(UserRoot root, FoundFunction function, bool isNamed, string why, ResolveScope scope)
    {
        if (isNamed || root.Point.Components[root.End].Argument is NumberLiteral)
        {
            scope.Diagnostics.Error("probe.no-return", Literal.ArgumentSpan(root.Point, root.End), $"function \"{function.Symbol}\" of \"{root.File.Path}\" {why}", "probe its entry: leave .return out");
        }
    }

    /// <summary>File offsets of the function's returning instructions; null when they cannot all be known.</summary>
    private static long[]? Sites(UserFile file, FoundFunction function)
    {
        if (!file.Elf.Is64)
        {
            return null;
        }

        IReadOnlyList<(ulong, ulong)> ranges = function.Function is { } debug && file.Dwarf is { } dwarf ? dwarf.Ranges(debug)
            : file.Symbols.At(function.Entry) is { Size: > 0 } symbol ? [(symbol.Value, symbol.Value + symbol.Size)] : [];
        if (ReturnSites.Of(file.Elf, ranges, file.Symbols) is not { } addresses)
        {
            return null;
        }

        var result = new long[addresses.Count];
        for (var i = 0; i < result.Length; i++)
        {
            if (file.Elf.FileOffset(addresses[i]) is not { } offset)
            {
                return null;
            }

            result[i] = offset;
        }

        return result;
    }

    private static void Labels(UserRoot root, FoundFunction function, UnfitPlaces unfit, ResolveScope scope, List<ResolvedPoint> results)
    {
        if (function.Function is not { } debug || root.File.Dwarf is not { } dwarf)
        {
            return;
        }

        var pattern = ((StringLiteral)root.Point.Components[root.End + 1].Argument!).Value;
        foreach (var (name, address, file, line) in dwarf.Labels(debug))
        {
            if (Globs.Matches(pattern, name) && root.File.Elf.FileOffset(address) is { } offset && !unfit.Holds(name, address))
            {
                var text = Literal.WithText(Literal.WithText(root.Point, root.End, FunctionSearch.TextOfLabel(function, file, line)), root.End + 1, name).ToString();
                results.Add(new ResolvedPoint(new UserFunctionSpec(root.File.Path, offset, false, root.Filter) { Symbol = function.Symbol }, text,
                    new FunctionContext(scope.Target, root.File, dwarf, debug, address)));
            }
        }
    }

    private static void ByAddress(UserRoot root, bool isReturn, ResolveScope scope, List<ResolvedPoint> results)
    {
        var address = (ulong)((NumberLiteral)root.Point.Components[root.End].Argument!).Value;
        var symbol = root.File.Symbols.At(address);
        var debug = root.File.Dwarf?.FunctionAt(address, inlines: false);
        if (debug is null && symbol is null)
        {
            scope.Diagnostics.Error("probe.no-function", Literal.ArgumentSpan(root.Point, root.End), $"no function of \"{root.File.Path}\" holds address 0x{address:x}", "give an address as linked (what nm prints)");
            return;
        }

        var name = debug is not null ? FunctionSearch.Text(debug) : symbol!.Value.Name;
        var found = new FoundFunction(name, debug?.Name ?? name, debug?.Entry ?? symbol!.Value.Value, debug);
        var unfit = new UnfitPlaces(root);
        if (unfit.Holds(found.Symbol, Start(root.File, found)))
        {
            unfit.Tell(isAll: true, scope);
            return;
        }

        if (isReturn)
        {
            AddReturn(root, found, Text(root, found.Name), scope, results);
        }
        else if (Entry(root, found, Text(root, found.Name), scope.Target) is { } point)
        {
            results.Add(point);
        }
    }

    private static string Text(UserRoot root, string name) =>
        root.Point.Components[root.End].Argument is NumberLiteral ? Literal.TextWithAddress(root.Point, root.End) : Literal.WithText(root.Point, root.End, name).ToString();

    // --------------------------------------------------------------------------------------------------------- misses

    private static void Miss(UserRoot root, FunctionPattern pattern, int end, List<FoundFunction> found, ResolveScope scope)
    {
        var span = Literal.ArgumentSpan(root.Point, root.End);
        var path = root.File.Path;
        var name = pattern.Function;
        if (end == Label && found.Count > 0)
        {
            scope.Diagnostics.Error("probe.no-label", span, $"function \"{name}\" of \"{path}\" has no such label in its debug information", "labels that nothing jumps to are optimised away");
            return;
        }

        if (end is Exported or ExportedReturn && found.Count > 0)
        {
            scope.Diagnostics.Error("probe.not-exported", span, $"function \"{name}\" of \"{path}\" is not exported: other files cannot call it", "leave .exported out");
            return;
        }

        if (end == Inline && FunctionSearch.Find(root.File, pattern, inlines: false).Count > 0)
        {
            scope.Diagnostics.Error("probe.not-inlined", span, root.File.Dwarf is null
                ? $"whether function \"{name}\" was inlined in \"{path}\" cannot be known: {DebugInfo.Missing(root.File)}"
                : $"function \"{name}\" of \"{path}\" is inlined nowhere", "use .call");
            return;
        }

        if (end is Call or Return && FunctionSearch.Find(root.File, pattern, inlines: true).Count is > 0 and var copies)
        {
            scope.Diagnostics.Error("probe.only-inlined", span, $"function \"{name}\" of \"{path}\" is never called: the compiler inlined it at {copies} place{(copies == 1 ? "" : "s")}",
                end == Return ? "inlined functions do not return; use .inline for their entry" : "use .inline");
            return;
        }

        if (pattern.File is not null && root.File.Dwarf is null)
        {
            scope.Diagnostics.Error("probe.needs-debuginfo", span, $"source files cannot be found: {DebugInfo.Missing(root.File)}", "leave the @FILE part out to look by symbol");
            return;
        }

        if (FunctionSearch.IsIndirect(root.File, pattern))
        {
            scope.Diagnostics.Error("probe.indirect-function", span, $"function \"{name}\" of \"{path}\" is chosen among several when a program starts", "probe the implementation, such as \"*" + name + "*\", or .plt(\"" + name + "\") of the caller");
            return;
        }

        var hint = Names.Hint(Names.Similar(Demangler.Last(name), FunctionSearch.Names(root.File)));
        if (root.File.Dwarf is null && ElfDamage.Of(root.File.Elf) is { } damage)
        {
            // First of all: names that happen to be alike would hide why the right one is not known.
            hint = $"\"{path}\" {damage}";
        }
        else if (hint is null && root.File.Dwarf is null && !root.File.Elf.HasSymbolTable)
        {
            hint = "only exported functions are known: " + DebugInfo.Missing(root.File);
        }

        scope.Diagnostics.Error("probe.no-function", span, $"no function \"{name}\"{(pattern.File is { } file ? $" of source file \"{file}\"" : "")} in \"{path}\"", hint);
    }
}
