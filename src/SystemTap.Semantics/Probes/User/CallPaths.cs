using SystemTap.Targets;

namespace SystemTap.Semantics.Probes.User;

/// <summary>A function together with how execution got there from the function that the script names.</summary>
/// <param name="Function">The function, or an inlined copy of one.</param>
/// <param name="Returns">Addresses in the caller, as linked, that its calls of the function return to; empty for inlined copies, which are not called.</param>
/// <param name="Caller">What called it; null for the function that the script names.</param>
internal sealed record CallPath(FoundFunction Function, IReadOnlyList<ulong> Returns, CallPath? Caller)
{
    /// <summary>How many steps from the function that the script names.</summary>
    public int Depth { get; } = Caller is null ? 0 : Caller.Depth + 1;
}

/// <summary>Finds what functions call: by debug information (inlined copies and call sites) and by the call instructions themselves.</summary>
internal sealed class CallPaths(UserFile file)
{
    /// <summary>Paths that one point may have: recursion and deep searches multiply.</summary>
    public const int Most = 10000;

    private readonly Dictionary<(ulong Entry, bool IsInlined, string Name), List<(FoundFunction Function, List<ulong> Returns)>> _known = [];
    private Dictionary<ulong, string>? _plt;

    /// <summary>Functions that were only jumped to (tail calls): nothing on the stack tells their caller.</summary>
    public SortedSet<string> Jumped { get; } = new(StringComparer.Ordinal);

    /// <summary>Functions called that are in other files.</summary>
    public SortedSet<string> Elsewhere { get; } = new(StringComparer.Ordinal);

    /// <summary>There were more than <see cref="Most"/>.</summary>
    public bool IsCut { get; private set; }

    /// <summary>All paths of at most that many steps, nearest first.</summary>
    public List<CallPath> From(FoundFunction root, int depth)
    {
        var result = new List<CallPath>();
        var level = new List<CallPath> { new(root, [], null) };
        for (var i = 0; i < depth && level.Count > 0; i++)
        {
            var next = new List<CallPath>();
            foreach (var path in level)
            {
                foreach (var (function, returns) in Callees(path.Function))
                {
                    if (result.Count + next.Count >= Most)
                    {
                        IsCut = true;
                        break;
                    }

                    next.Add(new CallPath(function, returns, path));
                }
            }

            result.AddRange(next);
            level = next;
        }

        return result;
    }

    private List<(FoundFunction Function, List<ulong> Returns)> Callees(FoundFunction caller)
    {
        var key = (caller.Entry, caller.IsInlined, caller.Name);
        if (!_known.TryGetValue(key, out var result))
        {
            _known[key] = result = Search(caller);
        }

        return result;
    }

    private List<(FoundFunction Function, List<ulong> Returns)> Search(FoundFunction caller)
    {
        var result = new List<(FoundFunction, List<ulong>)>();
        var called = new SortedDictionary<ulong, SortedSet<ulong>>();
        var jumped = new List<(string Name, ulong Entry)>();
        var described = new HashSet<ulong>();
        var within = new List<(ulong Start, ulong End)>();
        IReadOnlyList<(ulong Start, ulong End)> ranges = file.Symbols.At(caller.Entry) is { Size: > 0 } symbol ? [(symbol.Value, symbol.Value + symbol.Size)] : [];
        if (caller.Function is { } debug && file.Dwarf is { } dwarf)
        {
            var calls = dwarf.Calls(debug);
            ranges = dwarf.Ranges(debug);
            foreach (var copy in calls.Inlined)
            {
                within.AddRange(dwarf.Ranges(copy));
                if (file.IsCode(copy.Entry))
                {
                    result.Add((new FoundFunction(FunctionSearch.Text(copy), copy.Name, copy.Entry, copy), []));
                }
            }

            foreach (var call in calls.Calls)
            {
                described.Add(call.ReturnAddress);
                var entries = call.Entries.Count > 0 ? call.Entries : file.Symbols.Find(call.Name) is { IsFunction: true } found ? [found.Value] : [];
                if (entries.Count == 0)
                {
                    Elsewhere.Add(call.Name);
                }

                foreach (var entry in entries)
                {
                    if (call.IsJump)
                    {
                        jumped.Add((call.Name, entry));
                    }
                    else
                    {
                        Add(entry, call.ReturnAddress);
                    }
                }
            }
        }

        // The kernel's modules are not linked yet: their call instructions mean nothing.
        for (var i = 0; i < ranges.Count && file.IsUser; i++)
        {
            foreach (var call in DirectCalls.Of(file.Elf, ranges[i].Start, ranges[i].End))
            {
                if (!described.Contains(call.ReturnAddress) && !within.Exists(r => call.ReturnAddress > r.Start && call.ReturnAddress <= r.End) && Target(call.Target) is { } entry)
                {
                    Add(entry, call.ReturnAddress);
                }
            }
        }

        foreach (var (entry, returns) in called)
        {
            if (At(entry) is { } function)
            {
                result.Add((function, [.. returns]));
            }
        }

        foreach (var (name, entry) in jumped)
        {
            if (!called.ContainsKey(entry))
            {
                Jumped.Add(name);
            }
        }

        return result;

        void Add(ulong entry, ulong returns)
        {
            if (!called.TryGetValue(entry, out var list))
            {
                called[entry] = list = [];
            }

            list.Add(returns);
        }
    }

    /// <summary>The function that a call instruction means: the target, or through a stub of the linker the file's own function of that name; null when it is in another file.</summary>
    private ulong? Target(ulong target)
    {
        if (_plt is null)
        {
            _plt = [];
            foreach (var entry in file.Plt)
            {
                _plt[entry.Address] = entry.Name;
            }
        }

        if (!_plt.TryGetValue(target, out var name))
        {
            return file.Elf.IsCode(target) ? target : null;
        }

        if (file.Symbols.Find(name) is { IsFunction: true, Type: not ElfSymbolType.IndirectFunction } own)
        {
            return own.Value;
        }

        Elsewhere.Add(name);
        return null;
    }

    private FoundFunction? At(ulong entry)
    {
        if (!file.IsCode(entry))
        {
            return null;
        }

        if (file.Dwarf?.FunctionAt(entry, inlines: false) is { } debug && debug.Entry == entry)
        {
            return new FoundFunction(FunctionSearch.Text(debug), debug.Name, entry, debug);
        }

        if (file.Symbols.At(entry) is not { IsFunction: true } symbol || symbol.Value != entry)
        {
            return null;
        }

        var name = Demangler.Plain(symbol.Name) ?? symbol.Name;
        return new FoundFunction(name, name, entry, null);
    }
}
