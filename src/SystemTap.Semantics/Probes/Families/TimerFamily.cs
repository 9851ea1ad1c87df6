using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Semantics.Probes.Families;

/// <summary>
/// <c>timer.s(N)</c> and the other units, each with an optional <c>.randomize(M)</c>, <c>timer.hz(N)</c> and <c>timer.jiffies(N)</c>.
/// The interval plus and minus its random part must lie between 100 µs and 24 h: shorter ones would do nothing but fire.
/// </summary>
public sealed class TimerFamily : ProbeFamily
{
    /// <summary>100 µs.</summary>
    public const long ShortestNs = 100_000;

    /// <summary>24 h.</summary>
    public const long LongestNs = 86_400_000_000_000;

    private static readonly (string Name, long Ns)[] Units =
    [
        ("s", 1_000_000_000), ("sec", 1_000_000_000), ("ms", 1_000_000), ("msec", 1_000_000), ("us", 1_000), ("usec", 1_000), ("ns", 1), ("nsec", 1),
    ];

    /// <inheritdoc/>
    public override IReadOnlyList<IReadOnlyList<ComponentPattern>> Forms { get; } = ProbeForms.Of(
        "timer.s(N)", "timer.s(N).randomize(N)", "timer.sec(N)", "timer.sec(N).randomize(N)",
        "timer.ms(N)", "timer.ms(N).randomize(N)", "timer.msec(N)", "timer.msec(N).randomize(N)",
        "timer.us(N)", "timer.us(N).randomize(N)", "timer.usec(N)", "timer.usec(N).randomize(N)",
        "timer.ns(N)", "timer.ns(N).randomize(N)", "timer.nsec(N)", "timer.nsec(N).randomize(N)",
        "timer.jiffies(N)", "timer.jiffies(N).randomize(N)", "timer.hz(N)");

    /// <inheritdoc/>
    public override Privilege Privilege => Privilege.User;

    /// <inheritdoc/>
    public override void Resolve(ProbeMatch match, ResolveScope scope, List<ResolvedPoint> results)
    {
        var interval = match.Point.Components[1];
        var span = interval.Argument!.Span;
        var amount = match.Number(1);
        var random = match.Point.Components.Count > 2 ? match.Number(2) : 0;
        long unit;
        switch (interval.Name)
        {
            case "hz":
                if (amount <= 0)
                {
                    scope.Diagnostics.Error("probe.timer-range", span, $"timer frequency '{amount}' is out of range: it must be greater than 0", "use timer.hz(100)");
                    return;
                }

                if (Check(1_000_000_000 / amount, 0, interval.ToString(), span, scope))
                {
                    Add(match, 1_000_000_000 / amount, 0, results);
                }

                return;
            case "jiffies":
                unit = 1_000_000_000L / scope.Target.TicksPerSecond;
                break;
            default:
                unit = Unit(interval.Name);
                break;
        }

        // Beyond the limit in any unit; also keeps the products below from wrapping.
        if (amount is <= 0 or > LongestNs)
        {
            Check(amount <= 0 ? 0 : LongestNs + 1, 0, interval.ToString(), span, scope);
            return;
        }

        if (random < 0 || random > amount)
        {
            scope.Diagnostics.Error("probe.timer-randomize", match.Point.Components[2].Argument!.Span,
                $"randomize value '{random}' is out of range: it must lie between 0 and the interval '{amount}'", "use a smaller number");
            return;
        }

        var ns = (Int128)amount * unit;
        var randomNs = (Int128)random * unit;
        if (Check(ns > LongestNs ? LongestNs + 1 : (long)ns, randomNs > LongestNs ? LongestNs : (long)randomNs, interval.ToString(), span, scope))
        {
            Add(match, (long)ns, (long)randomNs, results);
        }
    }

    private static long Unit(string name)
    {
        foreach (var (unit, ns) in Units)
        {
            if (unit == name)
            {
                return ns;
            }
        }

        return 1;
    }

    private static bool Check(long ns, long randomNs, string text, SourceSpan span, ResolveScope scope)
    {
        if (ns is >= ShortestNs and <= LongestNs && randomNs <= ns)
        {
            return true;
        }

        scope.Diagnostics.Error("probe.timer-range", span, $"timer interval '{text}' is out of range: it must lie between 100 us and 24 h", "use timer.ms(100)");
        return false;
    }

    private static void Add(ProbeMatch match, long ns, long randomNs, List<ResolvedPoint> results) =>
        results.Add(new ResolvedPoint(new TimerSpec(ns, randomNs), match.Point.ToString(), ProbeContext.None));
}
