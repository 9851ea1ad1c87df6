namespace SystemTap.Semantics.Regex;

/// <summary>
/// Runs a program over a text from one start position, all ways at once, in order of preference. Each way carries the positions it has saved.
/// Time is text × program, whatever the pattern.
/// </summary>
internal sealed class RegexSimulation
{
    private readonly RegexProgram _program;
    private readonly int _slots;
    private readonly int[] _mark;
    private int _generation;
    private List<(int At, int[] Saved)> _now = [], _then = [];

    public RegexSimulation(RegexProgram program)
    {
        _program = program;
        _slots = 2 * program.GroupCount;
        _mark = new int[program.Code.Count];
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
        _generation++;
        Add(_now, 0, saved, start, text.Length);
        for (var at = start; _now.Count > 0; at++)
        {
            _then.Clear();
            _generation++;
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
                else if (at < text.Length && _program.Sets[instruction.A].Contains((byte)text[at]))
                {
                    Add(_then, pc + 1, positions, at + 1, text.Length);
                }
            }

            (_now, _then) = (_then, _now);
        }

        return found;
    }

    private void Add(List<(int, int[])> list, int pc, int[] saved, int at, int end)
    {
        while (_mark[pc] != _generation)
        {
            _mark[pc] = _generation;
            var instruction = _program.Code[pc];
            switch (instruction.Op)
            {
                case RegexOp.Jump:
                    pc = instruction.A;
                    continue;
                case RegexOp.Split:
                    Add(list, instruction.A, saved, at, end);
                    pc = instruction.B;
                    continue;
                case RegexOp.Save:
                    saved = [.. saved];
                    saved[instruction.A] = at;
                    pc++;
                    continue;
                case RegexOp.Start when at == 0:
                case RegexOp.End when at == end:
                    pc++;
                    continue;
                case RegexOp.Start or RegexOp.End:
                    return;
                default:
                    list.Add((pc, saved));
                    return;
            }
        }
    }
}
