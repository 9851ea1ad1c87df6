using SystemTap.Targets;

namespace SystemTap.Semantics.Probes.User;

/// <summary>Finds the instructions of source lines.</summary>
/// <param name="Sites">First instruction of each wanted line in each function and inline instance, by line.</param>
/// <param name="Functions">Functions that fit the pattern's name.</param>
/// <param name="Known">All lines with code in them.</param>
/// <param name="Line">The (first) line asked for.</param>
internal sealed record StatementSearch(List<(ulong Address, DwarfLine Line, DwarfFunction Function)> Sites, List<DwarfFunction> Functions, SortedSet<int> Known, int Line)
{
    /// <summary>Looks a pattern with a line part up.</summary>
    public static StatementSearch Find(UserFile file, DwarfFile dwarf, FunctionPattern pattern, bool nearest)
    {
        var anywhere = pattern with { File = null };
        var functions = dwarf.Functions(pattern.MayBe, anywhere.Fits, inlines: true, pattern.File);
        var wanted = pattern;
        if (pattern.Lines == LineChoice.Relative)
        {
            foreach (var function in functions)
            {
                if (SourceFiles.Matches(pattern.File!, function.File))
                {
                    wanted = AtLine(function.Line + pattern.Line);
                    break;
                }
            }
        }

        var known = new SortedSet<int>();
        var sites = InLines(file, dwarf, wanted, functions, known);
        if (sites.Count == 0 && nearest && Nearest(known, wanted.Line) is { } other)
        {
            sites = InLines(file, dwarf, AtLine(other), functions, known);
        }

        return new StatementSearch(sites, functions, known, wanted.Line);

        FunctionPattern AtLine(int line) => new(pattern.Function, pattern.File, LineChoice.Absolute, line, line);
    }

    /// <summary>Why nothing was found, and what to do.</summary>
    public (string Message, string? Hint) Miss(UserFile file, FunctionPattern pattern) =>
        (Known.Count > 0 ? $"no code for line {Line} of \"{pattern.File}\" in \"{file.Path}\""
            : Functions.Count == 0 ? $"no function \"{pattern.Function}\" in \"{file.Path}\""
            : $"no source file \"{pattern.File}\" with code of \"{pattern.Function}\" in \"{file.Path}\"",
         Nearest(Known, Line) is { } close ? $"the nearest line with code is {close}; .nearest takes it"
            : Functions.Count == 0 ? Names.Hint(Names.Similar(pattern.Function, FunctionSearch.Names(file))) : null);

    private static int? Nearest(SortedSet<int> known, int line)
    {
        int? best = null;
        foreach (var candidate in known)
        {
            if (best is null || Math.Abs(candidate - line) < Math.Abs(best.Value - line))
            {
                best = candidate;
            }
        }

        return best;
    }

    /// <summary>The first instruction of each wanted line in each function and inline instance; all lines with code go into <paramref name="known"/>.</summary>
    private static List<(ulong Address, DwarfLine Line, DwarfFunction Function)> InLines(UserFile file, DwarfFile dwarf, FunctionPattern pattern, List<DwarfFunction> functions,
        SortedSet<int> known)
    {
        var result = new Dictionary<(DwarfFunction, string, int), (ulong Address, DwarfLine Line, DwarfFunction Function)>();
        var byUnit = new Dictionary<DwarfUnit, List<(ulong Start, ulong End, DwarfFunction Function)>>();
        foreach (var function in functions)
        {
            if (!byUnit.TryGetValue(function.Unit, out var list))
            {
                byUnit[function.Unit] = list = [];
            }

            foreach (var (start, stop) in dwarf.Ranges(function))
            {
                list.Add((start, stop, function));
            }
        }

        // Code of a function is in the line table of its own unit, so that the kernel's thousands of other units need not be read.
        foreach (var (unit, ranges) in byUnit)
        {
            foreach (var line in dwarf.Lines(unit))
            {
                if (line.IsEnd || !line.IsStatement || line.Line == 0 || !SourceFiles.Matches(pattern.File!, line.File))
                {
                    continue;
                }

                // The innermost of the functions that hold it: the smallest range.
                DwarfFunction? holder = null;
                var smallest = ulong.MaxValue;
                foreach (var (start, stop, function) in ranges)
                {
                    if (line.Address >= start && line.Address < stop && stop - start <= smallest)
                    {
                        (holder, smallest) = (function, stop - start);
                    }
                }

                if (holder is null || !file.IsCode(line.Address))
                {
                    continue;
                }

                known.Add(line.Line);
                if (!pattern.Includes(line.Line))
                {
                    continue;
                }

                var key = (holder, line.File, line.Line);
                if (!result.TryGetValue(key, out var best) || line.Address < best.Address)
                {
                    result[key] = (line.Address, line, holder);
                }
            }
        }

        var sorted = new List<(ulong Address, DwarfLine Line, DwarfFunction Function)>(result.Values);
        sorted.Sort(static (a, b) => a.Line.Line != b.Line.Line ? a.Line.Line - b.Line.Line : a.Address.CompareTo(b.Address));
        return sorted;
    }
}
