namespace SystemTap.Semantics.Regex;

/// <summary>One way through a program: the instruction it waits at, and the places its groups began and ended at.</summary>
internal readonly record struct RegexWay(int Pc, int[] Saved);

/// <summary>Follows a program from an instruction to those that read a byte, match, or wait for the end of the text: in order of preference, each at most once.</summary>
internal sealed class RegexWays(RegexProgram program)
{
    private readonly int[] _mark = new int[program.Code.Count];
    private int _generation;

    /// <summary>Begins a new list: no instruction has been reached yet.</summary>
    public void Begin() => _generation++;

    /// <summary>Adds the ways that go on at <paramref name="pc"/>; groups that begin or end on the way save <paramref name="place"/>.</summary>
    public void Follow(List<RegexWay> list, int pc, int[] saved, int place, bool atStart, bool atEnd)
    {
        while (_mark[pc] != _generation)
        {
            _mark[pc] = _generation;
            var instruction = program.Code[pc];
            switch (instruction.Op)
            {
                case RegexOp.Jump:
                    pc = instruction.A;
                    continue;
                case RegexOp.Split:
                    Follow(list, instruction.A, saved, place, atStart, atEnd);
                    pc = instruction.B;
                    continue;
                case RegexOp.Save:
                    saved = [.. saved];
                    saved[instruction.A] = place;
                    pc++;
                    continue;
                case RegexOp.Start when atStart:
                case RegexOp.End when atEnd:
                    pc++;
                    continue;
                case RegexOp.Start:
                    return;
                default:
                    list.Add(new RegexWay(pc, saved));
                    return;
            }
        }
    }
}
