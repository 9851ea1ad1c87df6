using System.Globalization;

namespace SystemTap.Bench;

/// <summary>Numbers of one thing measured many times. The median is reported; the minimum is beside it, since noise only adds.</summary>
internal sealed class Sample
{
    private readonly List<double> _values = [];

    public void Add(double value) => _values.Add(value);

    public bool Any => _values.Count > 0;

    public double Min => _values.Min();

    public double Median
    {
        get
        {
            var sorted = _values.Order().ToArray();
            var middle = sorted.Length / 2;
            return sorted.Length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
        }
    }
}

/// <summary>The one table: what, ours, the peer's, and how many times the peer's is ours.</summary>
internal sealed class Table(string peer)
{
    private const string Line = "{0,-54} {1,19} {2,19} {3,9}";

    public void Head()
    {
        Write(string.Format(CultureInfo.InvariantCulture, Line, "median (min)", "stap", peer, "ratio"));
        Write(new string('-', 54 + 20 + 20 + 10));
    }

    public void Section(string title) => Write("\n" + title);

    /// <summary>Ratio above 1: the peer's number is larger (we are faster or smaller).</summary>
    public void Row(string what, Sample ours, Sample theirs, string unit)
    {
        // below one unit (a body of 0.2 ns above the empty program) a ratio would only be noise
        var ratio = ours.Any && theirs.Any && ours.Median >= 1 ? (theirs.Median / ours.Median).ToString(theirs.Median / ours.Median >= 100 ? "0" : "0.0", CultureInfo.InvariantCulture) + " x" : "";
        Write(string.Format(CultureInfo.InvariantCulture, Line, what, Show(ours, unit), Show(theirs, unit), ratio));
    }

    public void Text(string what, string ours, string theirs) => Write(string.Format(CultureInfo.InvariantCulture, Line, what, ours, theirs, ""));

    private static string Show(Sample sample, string unit) =>
        !sample.Any ? "-" : Number(sample.Median) + " (" + Number(sample.Min) + ") " + unit;

    private static string Number(double value) => value.ToString(Math.Abs(value) < 10 ? "0.0" : "0", CultureInfo.InvariantCulture);

    private static void Write(string line)
    {
        Console.WriteLine(line.TrimEnd());
        Console.Out.Flush();
    }
}
