using System.Runtime.InteropServices;

namespace SystemTap.Semantics.Regex;

// Groups without backtracking
// ---------------------------
// RegexSimulation follows all ways at once, in order of preference, and each way carries the positions it has saved. Which ways there are, and in which order, depends on
// the bytes read only, not on the positions: so the ordered list of ways is the state of a deterministic table, and a step is "next state" plus a recipe that says where each
// saved position of each new way comes from: a position of an old way, or the place reached just now. That is what kernel code can run: two banks of positions,
// one recipe a byte. It starts at one place in the text; whoever searches tries the places in turn.

/// <summary>The deterministic form of a search with groups from one start, for engines that can only follow tables.</summary>
public sealed class TaggedDfa
{
    /// <summary>In a recipe: the position is where the text was read up to.</summary>
    public const int Here = 0xffff;

    /// <summary>In a recipe: the group took no part.</summary>
    public const int None = 0xfffe;

    private readonly RegexProgram _program;
    private readonly List<State> _states = [];
    private readonly Dictionary<string, int> _numbers = new(StringComparer.Ordinal);
    private readonly List<int[]> _recipes = [];
    private readonly Dictionary<string, int> _recipeNumbers = new(StringComparer.Ordinal);
    private readonly List<(int State, int Recipe)> _next = [];
    private readonly int[] _mark;
    private int _generation;

    private sealed record State(int[] Ways, bool AtStart, int Accept, int AcceptAtEnd);

    private readonly record struct Way(int Pc, int[] Saved);

    private TaggedDfa(RegexProgram program)
    {
        _program = program;
        Slots = 2 * program.GroupCount;
        _mark = new int[program.Code.Count];
        (Classes, ClassCount, _) = RegexDfa.ByteClasses(program);
    }

    /// <summary>Class of each of the 256 bytes.</summary>
    public IReadOnlyList<byte> Classes { get; }

    public int ClassCount { get; }

    /// <summary>Saved positions of one way: start and end of each group.</summary>
    public int Slots { get; }

    /// <summary>Most ways of any state.</summary>
    public int MostWays { get; private set; }

    public int StateCount => _states.Count;

    /// <summary>Recipes: for each position of the new bank (way × slots), <see cref="Here"/>, <see cref="None"/> or a position of the old bank.</summary>
    public IReadOnlyList<int[]> Recipes => _recipes;

    /// <summary>State and recipe at the start of the text (0) and elsewhere (1).</summary>
    public IReadOnlyList<(int State, int Recipe)> Starts { get; private set; } = [];

    /// <summary>At state × <see cref="ClassCount"/> + class; state −1: every way has ended.</summary>
    public IReadOnlyList<(int State, int Recipe)> Next => _next;

    /// <summary>Recipe of the match's positions when the state is reached; −1: no match ends here.</summary>
    public int Accept(int state) => _states[state].Accept;

    /// <summary>The same at the end of the text.</summary>
    public int AcceptAtEnd(int state) => _states[state].AcceptAtEnd;

    /// <summary>Builds the table; null when it would have more states.</summary>
    public static TaggedDfa? Build(RegexProgram program, int mostStates)
    {
        var dfa = new TaggedDfa(program);
        var (_, classCount, samples) = RegexDfa.ByteClasses(program);
        dfa.Starts = [dfa.Begin(true), dfa.Begin(false)];
        for (var state = 0; state < dfa._states.Count; state++)
        {
            for (var c = 0; c < classCount; c++)
            {
                var ways = dfa._states[state].Ways;
                dfa._generation++;
                var list = new List<Way>();
                for (var w = 0; w < ways.Length; w++)
                {
                    var instruction = program.Code[ways[w]];
                    if (instruction.Op == RegexOp.Set && program.Sets[instruction.A].Contains(samples[c]))
                    {
                        dfa.Add(list, ways[w] + 1, dfa.WayOf(w), atStart: false, end: false);
                    }
                }

                dfa._next.Add(list.Count == 0 ? (-1, 0) : dfa.Intern(list, false));
                if (dfa._states.Count > mostStates)
                {
                    return null;
                }
            }
        }

        return dfa;
    }

    private (int State, int Recipe) Begin(bool atStart)
    {
        _generation++;
        var list = new List<Way>();
        var none = new int[Slots];
        Array.Fill(none, None);
        Add(list, 0, none, atStart, end: false);
        return Intern(list, atStart);
    }

    /// <summary>The positions of a way of the old bank.</summary>
    private int[] WayOf(int way)
    {
        var saved = new int[Slots];
        for (var s = 0; s < Slots; s++)
        {
            saved[s] = (way * Slots) + s;
        }

        return saved;
    }

    private (int State, int Recipe) Intern(List<Way> list, bool atStart)
    {
        MostWays = Math.Max(MostWays, list.Count);
        var ways = new int[list.Count];
        var recipe = new int[list.Count * Slots];
        for (var i = 0; i < ways.Length; i++)
        {
            ways[i] = list[i].Pc;
            list[i].Saved.CopyTo(recipe, i * Slots);
        }

        var key = (atStart ? "^" : "") + new string(MemoryMarshal.Cast<int, char>(ways));
        if (!_numbers.TryGetValue(key, out var number))
        {
            number = _states.Count;
            _numbers.Add(key, number);
            _states.Add(new State(ways, atStart, First(ways, atStart, end: false), First(ways, atStart, end: true)));
        }

        return (number, Recipe(recipe));
    }

    /// <summary>The recipe of the first way that is a match here, −1 when there is none.</summary>
    private int First(int[] ways, bool atStart, bool end)
    {
        _generation++;
        var list = new List<Way>();
        for (var w = 0; w < ways.Length; w++)
        {
            Add(list, ways[w], WayOf(w), atStart, end);
        }

        var match = list.FindIndex(w => _program.Code[w.Pc].Op == RegexOp.Match);
        return match < 0 ? -1 : Recipe(list[match].Saved);
    }

    private int Recipe(int[] recipe)
    {
        var key = new string(MemoryMarshal.Cast<int, char>(recipe));
        if (!_recipeNumbers.TryGetValue(key, out var number))
        {
            number = _recipes.Count;
            _recipeNumbers.Add(key, number);
            _recipes.Add(recipe);
        }

        return number;
    }

    // As in RegexSimulation, but ways that wait for the end of the text are kept, since only the engine knows where that is.
    private void Add(List<Way> list, int pc, int[] saved, bool atStart, bool end)
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
                    Add(list, instruction.A, saved, atStart, end);
                    pc = instruction.B;
                    continue;
                case RegexOp.Save:
                    saved = [.. saved];
                    saved[instruction.A] = Here;
                    pc++;
                    continue;
                case RegexOp.Start when atStart:
                case RegexOp.End when end:
                    pc++;
                    continue;
                case RegexOp.Start:
                    return;
                default:
                    list.Add(new Way(pc, saved));
                    return;
            }
        }
    }
}
