using SystemTap.Language.Syntax;
using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Probes.User;
using SystemTap.Targets;

namespace SystemTap.Semantics.Probes.Families;

/// <summary>
/// Source lines and instructions: <c>process….statement("FUNCTION@FILE:LINE")</c> (also <c>:*</c>, <c>:A-B</c>, <c>+N</c>), <c>.nearest</c>,
/// <c>.statement(ADDRESS)[.absolute]</c>.
/// </summary>
public sealed class UserStatementFamily : ProbeFamily
{
    private static readonly string[] Ends = ["statement(S)", "statement(S).nearest", "statement(N)", "statement(N).absolute"];

    /// <inheritdoc/>
    public override IReadOnlyList<IReadOnlyList<ComponentPattern>> Forms { get; } = UserRoots.Forms(Ends);

    /// <inheritdoc/>
    public override Privilege Privilege => Privilege.User;

    /// <inheritdoc/>
    public override string ArgumentNoun => "statement";

    /// <inheritdoc/>
    public override void Resolve(ProbeMatch match, ResolveScope scope, List<ResolvedPoint> results)
    {
        var end = match.FormIndex % Ends.Length;
        foreach (var root in UserRoots.Find(match, Ends.Length, scope))
        {
            if (end >= 2)
            {
                ByAddress(root, scope, results);
                continue;
            }

            var argument = ((StringLiteral)root.Point.Components[root.End].Argument!).Value;
            var span = Literal.ArgumentSpan(root.Point, root.End);
            if (FunctionPattern.Parse(argument) is not { } pattern)
            {
                scope.Diagnostics.Error("probe.function-pattern", span, $"statement pattern \"{argument}\" cannot be read", "write \"FUNCTION@FILE:LINE\"");
            }
            else if (pattern.Lines == LineChoice.None)
            {
                // Without a line a statement is the function's entry.
                foreach (var found in FunctionSearch.Find(root.File, pattern, inlines: true))
                {
                    Add(root, found.Entry, found.Name, found.Function, scope, results);
                }
            }
            else if (root.File.Dwarf is not { } dwarf)
            {
                scope.Diagnostics.Error("probe.needs-debuginfo", span, $"source lines cannot be found: {DebugInfo.Missing(root.File)}", "use .statement(ADDRESS)");
            }
            else
            {
                ByLine(root, dwarf, pattern, end == 1, scope, results);
            }
        }
    }

    private static void ByLine(UserRoot root, DwarfFile dwarf, FunctionPattern pattern, bool nearest, ResolveScope scope, List<ResolvedPoint> results)
    {
        var before = results.Count;
        var search = StatementSearch.Find(root.File, dwarf, pattern, nearest);
        var unfit = new UnfitPlaces(root);
        foreach (var (address, line, function) in search.Sites)
        {
            if (unfit.Holds($"{function.Name}@{line.File}:{line.Line}", address))
            {
                continue;
            }

            Add(root, address, $"{pattern.NameOf(function)}@{line.File}:{line.Line}", function, scope, results);
        }

        unfit.Tell(results.Count == before, scope);
        if (results.Count == before && !scope.Diagnostics.HasErrors)
        {
            var (message, hint) = search.Miss(root.File, pattern);
            scope.Diagnostics.Error("probe.no-line", Literal.ArgumentSpan(root.Point, root.End), message, hint);
        }
    }

    private static void ByAddress(UserRoot root, ResolveScope scope, List<ResolvedPoint> results)
    {
        var address = (ulong)((NumberLiteral)root.Point.Components[root.End].Argument!).Value;
        var span = Literal.ArgumentSpan(root.Point, root.End);

        // In a running process an address may also be meant as loaded.
        if (!root.File.Elf.IsCode(address) && root.Filter is ProcessFilter.Pid pid && scope.Target.Processes.Find(pid.Id) is { } process)
        {
            foreach (var range in process.Maps)
            {
                if (range.IsExecutable && range.IsFile && address >= range.Start && address < range.End
                    && scope.Target.UserFiles.Open(UserRoots.InOurView(process, range.Path)) is { } file && file.Elf.CodeAddress(address - range.Start + range.FileOffset) is { } linked)
                {
                    root = root with { File = file };
                    address = linked;
                    break;
                }
            }
        }

        if (!root.File.Elf.IsCode(address))
        {
            scope.Diagnostics.Error("probe.no-code", span, $"address 0x{address:x} is not in the code of \"{root.File.Path}\"", "give an address as linked (what nm and objdump print)");
            return;
        }

        var unfit = new UnfitPlaces(root);
        if (unfit.Holds($"0x{address:x}", address))
        {
            unfit.Tell(isAll: true, scope);
            return;
        }

        var function = root.File.Dwarf?.FunctionAt(address, inlines: true);
        Add(root, address, null, function, scope, results);
    }

    private static void Add(UserRoot root, ulong address, string? name, DwarfFunction? function, ResolveScope scope, List<ResolvedPoint> results)
    {
        if (root.File.Elf.FileOffset(address) is not { } offset)
        {
            return;
        }

        ProbeContext context = function is not null
            ? new FunctionContext(scope.Target, root.File, root.File.Dwarf!, function, address)
            : new SymbolContext(scope.Target, root.File, address, null);
        var text = name is not null ? Literal.WithText(root.Point, root.End, name).ToString() : Literal.TextWithAddress(root.Point, root.End);
        results.Add(new ResolvedPoint(new UserFunctionSpec(root.File.Path, offset, false, root.Filter) { Symbol = function?.Name ?? name ?? "" }, text, context));
    }
}
