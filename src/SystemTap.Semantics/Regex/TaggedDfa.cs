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
    private readonly RegexWays _ways;
    private readonly byte[] _samples;

    private sealed record State(int[] Ways, bool AtStart, int Accept, int AcceptAtEnd);

    private TaggedDfa(RegexProgram program)
    {
        _program = program;
        Slots = 2 * program.GroupCount;
        _ways = new RegexWays(program);
        (Classes, ClassCount, _samples) = RegexDfa.ByteClasses(program);
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
        dfa.Starts = [dfa.Begin(true), dfa.Begin(false)];
        for (var state = 0; state < dfa._states.Count; state++)
        {
            for (var c = 0; c < dfa.ClassCount; c++)
            {
                var ways = dfa._states[state].Ways;
                dfa._ways.Begin();
                var list = new List<RegexWay>();
                for (var w = 0; w < ways.Length; w++)
                {
                    var instruction = program.Code[ways[w]];
                    if (instruction.Op == RegexOp.Set && program.Sets[instruction.A].Contains(dfa._samples[c]))
                    {
                        dfa._ways.Follow(list, ways[w] + 1, dfa.WayOf(w), Here, atStart: false, atEnd: false);
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
        _ways.Begin();
        var list = new List<RegexWay>();
        var none = new int[Slots];
        Array.Fill(none, None);
        _ways.Follow(list, 0, none, Here, atStart, atEnd: false);
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

    private (int State, int Recipe) Intern(List<RegexWay> list, bool atStart)
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
            _states.Add(new State(ways, atStart, First(ways, atStart, atEnd: false), First(ways, atStart, atEnd: true)));
        }

        return (number, Recipe(recipe));
    }

    /// <summary>The recipe of the first way that is a match here, −1 when there is none.</summary>
    private int First(int[] ways, bool atStart, bool atEnd)
    {
        _ways.Begin();
        var list = new List<RegexWay>();
        for (var w = 0; w < ways.Length; w++)
        {
            _ways.Follow(list, ways[w], WayOf(w), Here, atStart, atEnd);
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
}
