using SystemTap.Semantics.Probes.Families;
using SystemTap.Targets;

namespace SystemTap.Semantics.Probes.User;

/// <summary>Functions, labels and statements that begin with an instruction which the kernel's uprobes refuse or take for another one (<see cref="UprobePlaces"/>): never probed.</summary>
internal sealed class UnfitPlaces(UserRoot root)
{
    private const int MostNames = 5;

    private readonly List<(string Name, ulong Address)> _places = [];

    /// <summary>The place is one of them, and is remembered.</summary>
    public bool Holds(string name, ulong address)
    {
        if (UprobePlaces.IsFit(root.File.Elf, address))
        {
            return false;
        }

        _places.Add((name, address));
        return true;
    }

    /// <summary>Says what was left out: an error when nothing else was found.</summary>
    public void Tell(bool isAll, ResolveScope scope)
    {
        if (_places.Count == 0 || scope.Diagnostics.HasErrors)
        {
            return;
        }

        var span = Literal.ArgumentSpan(root.Point, root.End);
        var (name, address) = _places[0];
        var next = UprobePlaces.Next(root.File.Elf, address) is { } a ? $"probe the next instruction: .statement(0x{a:x})" : "probe another instruction by .statement(ADDRESS)";
        if (_places.Count == 1)
        {
            if (isAll)
            {
                scope.Diagnostics.Error("probe.unfit-instruction", span, $"\"{name}\" of \"{root.File.Path}\" cannot be probed: it begins with {UprobePlaces.Unfit}", next);
            }
            else
            {
                scope.Diagnostics.Warn("probe.unfit-instruction", span, $"\"{name}\" of \"{root.File.Path}\" is left out: it begins with {UprobePlaces.Unfit}", next);
            }

            return;
        }

        var names = string.Join(", ", _places.Take(MostNames).Select(static p => $"\"{p.Name}\"")) + (_places.Count > MostNames ? ", …" : "");
        var message = $"{_places.Count} places of \"{root.File.Path}\" {(isAll ? "cannot be probed" : "are left out")}: they begin with {UprobePlaces.Unfit}: {names}";
        if (isAll)
        {
            scope.Diagnostics.Error("probe.unfit-instruction", span, message, next);
        }
        else
        {
            scope.Diagnostics.Warn("probe.unfit-instruction", span, message, null);
        }
    }
}
