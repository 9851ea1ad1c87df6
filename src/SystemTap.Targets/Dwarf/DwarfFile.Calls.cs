namespace SystemTap.Targets;

// Which functions a function calls. Two things in the debug information tell: an inlined copy stands where the call would be, and for calls in optimised
// code compilers write where the call returns to and which function it means (call sites: DWARF 5, and GNU's extension of DWARF 4). What an inlined copy
// calls is that function's call, not the surrounding one's.

/// <summary>A call that the debug information describes.</summary>
/// <param name="ReturnAddress">Where it returns to, as linked.</param>
/// <param name="IsJump">A tail call: a jump, which leaves nothing behind.</param>
/// <param name="Name">Name of the function called, as the linker knows it.</param>
/// <param name="Entries">First instructions of that function and of the compiler's copies of it; empty when the unit has only a declaration.</param>
public sealed record DwarfCall(ulong ReturnAddress, bool IsJump, string Name, IReadOnlyList<ulong> Entries);

/// <summary>What a function calls.</summary>
/// <param name="Inlined">Copies of functions inlined into it.</param>
/// <param name="Calls">Calls of its own.</param>
public sealed record DwarfCalls(IReadOnlyList<DwarfFunction> Inlined, IReadOnlyList<DwarfCall> Calls);

public sealed unsafe partial class DwarfFile
{
    private readonly Dictionary<nint, Dictionary<nint, List<ulong>>> _concrete = [];

    /// <summary>What a function, or an inlined copy, calls itself.</summary>
    public DwarfCalls Calls(DwarfFunction function)
    {
        var inlined = new List<DwarfFunction>();
        var calls = new List<DwarfCall>();
        lock (Lock)
            Collect(function.Die);
        return new DwarfCalls(inlined, calls);

        void Collect(DwarfDie scope)
        {
            foreach (var die in scope.Children())
            {
                switch (die.Tag())
                {
                    case Dw.LexicalBlock:
                        Collect(die);
                        break;
                    case Dw.InlinedSubroutine when die.EntryPc() is { } entry:
                        inlined.Add(Make(function.Unit, die, "", function.Frame, entry, true));
                        break;
                    case Dw.CallSite or Dw.GnuCallSite when Call(die, function.Unit) is { } call:
                        calls.Add(call);
                        break;
                }
            }
        }
    }

    private DwarfCall? Call(DwarfDie site, DwarfUnit unit)
    {
        var isGnu = site.Tag() == Dw.GnuCallSite;
        if (site.Refer(isGnu ? Dw.AtAbstractOrigin : Dw.AtCallOrigin, whole: false) is not { } origin)
            return null; // through a pointer
        var isJump = site.Flag(isGnu ? Dw.AtGnuTailCall : Dw.AtCallTailCall);
        if (site.Address(isGnu ? Dw.AtLowPc : Dw.AtCallReturnPc) is not { } address && !isJump)
            return null;
        var name = origin.LinkageName() ?? origin.Name();
        return new DwarfCall(site.Address(isGnu ? Dw.AtLowPc : Dw.AtCallReturnPc) ?? 0, isJump, name, Entries(origin, unit));
    }

    /// <summary>Where a function begins that a DIE stands for: that DIE, or those with code that refer to it.</summary>
    private IReadOnlyList<ulong> Entries(DwarfDie function, DwarfUnit unit)
    {
        if (function.EntryPc() is { } entry and not 0)
            return [entry];
        if (!_concrete.TryGetValue(unit.Die.Key, out var all))
        {
            _concrete[unit.Die.Key] = all = [];
            Index(unit.Die, 0);
        }
        return all.GetValueOrDefault(function.Key) ?? [];

        void Index(DwarfDie parent, int depth)
        {
            if (depth > 32)
                return;
            foreach (var die in parent.Children())
            {
                switch (die.Tag())
                {
                    case Dw.Subprogram when die.EntryPc() is { } start and not 0:
                        var other = die;
                        for (var i = 0; i < 8 && (other.Refer(Dw.AtAbstractOrigin, whole: false) ?? other.Refer(Dw.AtSpecification, whole: false)) is { } next; i++)
                        {
                            if (!all.TryGetValue(next.Key, out var list))
                                all[next.Key] = list = [];
                            list.Add(start);
                            other = next;
                        }
                        break;
                    case Dw.Namespace or Dw.Module or Dw.StructureType or Dw.ClassType or Dw.UnionType:
                        Index(die, depth + 1);
                        break;
                }
            }
        }
    }
}
