namespace SystemTap.Semantics.Regex;

/// <summary>
/// Runs a program over a text from one start position, all ways at once, in order of preference. Each way carries the positions it has saved.
/// Time is text × program, whatever the pattern.
/// </summary>
internal sealed class RegexSimulation
{
    private readonly RegexProgram _program;
    private readonly int _slots;
    private readonly RegexWays _ways;
    private List<RegexWay> _now = [], _then = [];

    public RegexSimulation(RegexProgram program)
    {
        _program = program;
        _slots = 2 * program.GroupCount;
        _ways = new RegexWays(program);
        Best = new int[_slots];
    }

    /// <summary>Saved positions of the longest match of the last successful run.</summary>
    public int[] Best { get; private set; }

    /// <summary>True when something matches exactly at <paramref name="start"/>; then <see cref="Best"/> is the longest.</summary>
    public bool Run(ReadOnlySpan<char> text, int start)
    {
        var found = false;
        _now.Clear();
        var saved = new int[_slots];
        Array.Fill(saved, -1);
        _ways.Begin();
        _ways.Follow(_now, 0, saved, start, start == 0, start == text.Length);
        for (var at = start; _now.Count > 0; at++)
        {
            _then.Clear();
            _ways.Begin();
            var done = false;
            foreach (var (pc, positions) in _now)
            {
                var instruction = _program.Code[pc];
                if (instruction.Op == RegexOp.Match)
                {
                    // Ways come in order of preference, so the first to finish here wins; one that finishes later is longer and replaces it.
                    if (!done)
                    {
                        done = found = true;
                        Best = positions;
                    }
                }
                else if (instruction.Op == RegexOp.Set && at < text.Length && _program.Sets[instruction.A].Contains((byte)text[at]))
                {
                    _ways.Follow(_then, pc + 1, positions, at + 1, atStart: false, at + 1 == text.Length);
                }
            }

            (_now, _then) = (_then, _now);
        }

        return found;
    }
}
