using SystemTap.Language.Syntax;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Semantics.Probes.Families;

/// <summary>
/// <c>kernel.data(ADDR | "SYMBOL")[.length(N)].write</c> or <c>.rw</c>: a hardware watchpoint. x86 has four of them; a watched area is 1, 2, 4 or 8 bytes, aligned to
/// its size. A symbol's length is that of its variable, as kallsyms tells it (at most 8).
/// </summary>
public sealed class KernelDataFamily : ProbeFamily
{
    /// <inheritdoc/>
    public override IReadOnlyList<IReadOnlyList<ComponentPattern>> Forms { get; } = ProbeForms.Of(
        "kernel.data(N).write", "kernel.data(N).rw", "kernel.data(N).length(N).write", "kernel.data(N).length(N).rw",
        "kernel.data(S).write", "kernel.data(S).rw", "kernel.data(S).length(N).write", "kernel.data(S).length(N).rw");

    /// <inheritdoc/>
    public override Privilege Privilege => Privilege.System;

    /// <inheritdoc/>
    public override string ArgumentNoun => "variable";

    /// <inheritdoc/>
    public override void Resolve(ProbeMatch match, ResolveScope scope, List<ResolvedPoint> results)
    {
        ulong address;
        var symbol = "";
        var length = match.Point.Components.Count == 4 ? match.Number(2) : 0;
        if (match.FormIndex < 4)
        {
            address = (ulong)match.Number(1);
            length = length == 0 ? 1 : length;
        }
        else
        {
            symbol = match.Text(1);
            if (scope.Target.KernelSymbols.Find(symbol) is not { } found)
            {
                if (!scope.Target.IsLive)
                {
                    Elsewhere(match, scope, symbol, (int)length, results);
                }

                return;
            }

            address = found.Address;
            if (length == 0)
            {
                // The variable's size is not in kallsyms: the distance to the next symbol bounds it.
                var most = scope.Target.KernelSymbols.SizeAtMost(address);
                length = most >= 8 || most == 0 ? 8 : most >= 4 ? 4 : most >= 2 ? 2 : 1;
                while (length > 1 && address % (ulong)length != 0)
                {
                    length /= 2;
                }
            }
        }

        if (address == 0 && symbol.Length == 0)
        {
            scope.Diagnostics.Error("probe.watch-address", match.Point.Components[1].Argument!.Span, "address 0 cannot be watched", "give an address of /proc/kallsyms, or a variable's name");
            return;
        }

        if (address == 0)
        {
            scope.Diagnostics.Error("probe.no-address", match.Point.Components[1].Span, $"'{match.Point.Components[1]}' has no known address: /proc/kallsyms hides addresses",
                "run as root with kernel.kptr_restrict 0 or 1");
            return;
        }

        if (length is not (1 or 2 or 4 or 8) || address % (ulong)length != 0)
        {
            scope.Diagnostics.Error("probe.watch-length", match.Point.Components[^2].Span,
                $"watchpoint of {length} bytes at 0x{address:x} is not possible: the length must be 1, 2, 4 or 8 and the address a multiple of it", "watch a part of it");
            return;
        }

        var spec = new WatchpointSpec(address, (int)length, match.Point.Components[^1].Name == "rw") { Symbol = symbol };
        results.Add(new ResolvedPoint(spec, match.Point.ToString(), ProbeContext.None));
    }

    /// <summary>A variable of a kernel that does not run here: where it is, and whether it is there, is found when the module is loaded there.</summary>
    private static void Elsewhere(ProbeMatch match, ResolveScope scope, string symbol, int length, List<ResolvedPoint> results)
    {
        if (length is 1 or 2 or 4 or 8)
        {
            results.Add(new ResolvedPoint(new WatchpointSpec(0, length, match.Point.Components[^1].Name == "rw") { Symbol = symbol }, match.Point.ToString(), ProbeContext.None));
        }
        else
        {
            scope.Diagnostics.Error("probe.watch-length", match.Point.Components[1].Span,
                length == 0 ? $"the size of variable \"{symbol}\" is not known for a kernel that does not run here" : $"watchpoint of {length} bytes is not possible", "say how many bytes are watched: .length(1), 2, 4 or 8");
        }
    }

    /// <inheritdoc/>
    public override string? WhyNone(string pattern, ResolveScope scope) =>
        scope.Target.KernelSymbols.FindAll(pattern.TrimStart('_')).Any() ? null : "the kernel's variables are those with b, d or r in /proc/kallsyms";

    /// <inheritdoc/>
    public override IEnumerable<string> Candidates(ProbeMatch match, ResolveScope scope)
    {
        if (match.FormIndex < 4 || scope.Target.KernelBtfOrNull is not { } btf)
        {
            return [];
        }

        // BTF lists per-CPU variables only; kallsyms has all.
        var names = new List<string>();
        var wanted = match.Text(1);
        foreach (var symbol in scope.Target.KernelSymbols.FindAll(wanted.TrimStart('_')))
        {
            names.Add(symbol.Name);
        }

        return names;
    }
}
