namespace SystemTap.Semantics.Regex;

// Regular expressions of the script language, for all engines. One pattern becomes a small non-deterministic program; from it come
//  - RegexDfa: a table for yes/no searches, what kernel code and `=~` without matched() use;
//  - Match: a tagged simulation that also tells the groups.
//
// Meaning: the match that starts first, and of those the longest. Among ways to match that same text, groups are taken greedily from left to
// right: earlier branches and more iterations first. That is a rule a deterministic tagged automaton can keep too. It differs from POSIX only
// where an earlier branch of `|` is shorter yet completes to the same overall match, as in (a|ab)(c|bcd).
//
// Deliberately not done: case folding, back-references, lazy quantifiers, multi-byte characters: the language has none of them.

/// <summary>One step of a <see cref="RegexProgram"/>.</summary>
public enum RegexOp : byte
{
    /// <summary>Consumes a byte of set <c>A</c>.</summary>
    Set,

    /// <summary>Goes on at <c>A</c> (preferred) and at <c>B</c>.</summary>
    Split,

    /// <summary>Goes on at <c>A</c>.</summary>
    Jump,

    /// <summary>Remembers the position in slot <c>A</c>.</summary>
    Save,

    /// <summary>Passes at the start of the text only.</summary>
    Start,

    /// <summary>Passes at the end of the text only.</summary>
    End,
    Match,
}

/// <summary>An instruction; what A and B mean depends on the operation.</summary>
public readonly record struct RegexInstruction(RegexOp Op, int A, int B = 0);

/// <summary>A compiled regular expression. Immutable; matching is thread-safe.</summary>
public sealed class RegexProgram
{
    private const int MostInstructions = 20000;
    private readonly List<RegexInstruction> _code = [];
    private readonly List<ByteSet> _sets = [];
    private readonly Dictionary<ByteSet, int> _setNumbers = [];
    private readonly string _pattern;
    private RegexDfa? _dfa;
    private bool _dfaTried;

    private RegexProgram(string pattern) => _pattern = pattern;

    public IReadOnlyList<RegexInstruction> Code => _code;

    public IReadOnlyList<ByteSet> Sets => _sets;

    /// <summary>Groups including the whole match (group 0).</summary>
    public int GroupCount { get; private set; }

    /// <summary>Compiles a pattern (one char per byte).</summary>
    /// <exception cref="RegexSyntaxException">The pattern is not well formed or too large.</exception>
    public static RegexProgram Compile(string pattern)
    {
        var parser = new RegexParser(pattern);
        var node = parser.Parse();
        var program = new RegexProgram(pattern) { GroupCount = parser.GroupCount + 1 };
        program.Emit(new(RegexOp.Save, 0));
        program.Generate(node);
        program.Emit(new(RegexOp.Save, 1));
        program.Emit(new(RegexOp.Match, 0));
        return program;
    }

    /// <summary>The table for yes/no searches; null when it would be larger than the limit of states.</summary>
    public RegexDfa? Dfa
    {
        get
        {
            if (!_dfaTried)
            {
                _dfa = RegexDfa.Build(this, 2000);
                _dfaTried = true;
            }

            return _dfa;
        }
    }

    /// <summary>True when the pattern occurs anywhere in the text.</summary>
    public bool IsMatch(ReadOnlySpan<char> text)
    {
        if (Dfa is { } dfa)
        {
            return dfa.IsMatch(text);
        }

        Span<int> whole = stackalloc int[2];
        return Match(text, whole);
    }

    /// <summary>Finds the first, longest match.</summary>
    /// <param name="text">The subject, one char per byte.</param>
    /// <param name="groups">Gets start and end of group n at 2n and 2n+1, −1 for groups that took no part. May be shorter than all groups.</param>
    public bool Match(ReadOnlySpan<char> text, Span<int> groups)
    {
        if (Dfa is { } dfa && !dfa.IsMatch(text))
        {
            return false;
        }

        var simulation = new RegexSimulation(this);
        for (var start = 0; start <= text.Length; start++)
        {
            if (simulation.Run(text, start))
            {
                simulation.Best.AsSpan(0, Math.Min(groups.Length, simulation.Best.Length)).CopyTo(groups);
                return true;
            }
        }

        return false;
    }

    private int Emit(RegexInstruction instruction)
    {
        if (_code.Count >= MostInstructions)
        {
            throw new RegexSyntaxException($"regular expression \"{_pattern}\": its repeat counts multiply to more than {MostInstructions} steps; use smaller ones", 0);
        }

        _code.Add(instruction);
        return _code.Count - 1;
    }

    private void Generate(RegexNode node)
    {
        switch (node)
        {
            case RegexNode.Set set:
                if (!_setNumbers.TryGetValue(set.Bytes, out var number))
                {
                    number = _sets.Count;
                    _sets.Add(set.Bytes);
                    _setNumbers.Add(set.Bytes, number);
                }

                Emit(new(RegexOp.Set, number));
                break;
            case RegexNode.Start:
                Emit(new(RegexOp.Start, 0));
                break;
            case RegexNode.End:
                Emit(new(RegexOp.End, 0));
                break;
            case RegexNode.Sequence sequence:
                foreach (var part in sequence.Parts)
                {
                    Generate(part);
                }

                break;
            case RegexNode.Group group:
                Emit(new(RegexOp.Save, 2 * group.Number));
                Generate(group.Body);
                Emit(new(RegexOp.Save, (2 * group.Number) + 1));
                break;
            case RegexNode.Choice choice:
                Choose(choice);
                break;
            case RegexNode.Repeat repeat:
                Repeat(repeat);
                break;
        }
    }

    private void Choose(RegexNode.Choice choice)
    {
        var exits = new List<int>();
        for (var i = 0; i < choice.Branches.Count; i++)
        {
            var last = i == choice.Branches.Count - 1;
            var split = last ? -1 : Emit(new(RegexOp.Split, 0));
            Generate(choice.Branches[i]);
            if (!last)
            {
                exits.Add(Emit(new(RegexOp.Jump, 0)));
                _code[split] = new(RegexOp.Split, split + 1, _code.Count);
            }
        }

        foreach (var exit in exits)
        {
            _code[exit] = new(RegexOp.Jump, _code.Count);
        }
    }

    private void Repeat(RegexNode.Repeat repeat)
    {
        for (var i = 0; i < repeat.Min; i++)
        {
            Generate(repeat.Body);
        }

        if (repeat.Max < 0)
        {
            var split = Emit(new(RegexOp.Split, 0));
            Generate(repeat.Body);
            Emit(new(RegexOp.Jump, split));
            _code[split] = new(RegexOp.Split, split + 1, _code.Count);
            return;
        }

        var splits = new List<int>();
        for (var i = repeat.Min; i < repeat.Max; i++)
        {
            splits.Add(Emit(new(RegexOp.Split, 0)));
            Generate(repeat.Body);
        }

        foreach (var split in splits)
        {
            _code[split] = new(RegexOp.Split, split + 1, _code.Count);
        }
    }
}
