using System.Runtime.InteropServices;

namespace SystemTap.Semantics.Regex;

/// <summary>
/// A deterministic table that answers whether a pattern occurs anywhere in a text. Bytes are grouped into classes that the pattern does not tell
/// apart, so the table is states × classes. State 0 is where a search starts. A NUL byte never occurs in script strings.
/// </summary>
public sealed class RegexDfa
{
    private RegexDfa(byte[] classes, int classCount, int[] next, bool[] accepts, bool[] acceptsAtEnd)
    {
        Classes = classes;
        ClassCount = classCount;
        Next = next;
        Accepts = accepts;
        AcceptsAtEnd = acceptsAtEnd;
    }

    /// <summary>Class of each of the 256 bytes.</summary>
    public IReadOnlyList<byte> Classes { get; }

    public int ClassCount { get; }

    public int StateCount => Accepts.Count;

    /// <summary>Next state, at state × <see cref="ClassCount"/> + class; −1: no match can come any more.</summary>
    public IReadOnlyList<int> Next { get; }

    /// <summary>The search has succeeded; nothing more need be read.</summary>
    public IReadOnlyList<bool> Accepts { get; }

    /// <summary>The search succeeds if the text ends here.</summary>
    public IReadOnlyList<bool> AcceptsAtEnd { get; }

    /// <summary>True when the pattern occurs in the text (one char per byte).</summary>
    public bool IsMatch(ReadOnlySpan<char> text)
    {
        var classes = (byte[])Classes;
        var next = (int[])Next;
        var accepts = (bool[])Accepts;
        var state = 0;
        foreach (var c in text)
        {
            if (accepts[state])
            {
                return true;
            }

            state = next[(state * ClassCount) + classes[(byte)c]];
            if (state < 0)
            {
                return false;
            }
        }

        return accepts[state] || AcceptsAtEnd[state];
    }

    /// <summary>Builds the table by subset construction; null when it would have more states.</summary>
    public static RegexDfa? Build(RegexProgram program, int mostStates)
    {
        var (classes, classCount, samples) = ByteClasses(program);
        var states = new Dictionary<string, int>(StringComparer.Ordinal);
        var sets = new List<int[]>();
        var accepts = new List<bool>();
        var atEnd = new List<bool>();
        var next = new List<int>();
        var builder = new Closure(program);

        // The first state alone is at the start of the text, where ^ passes.
        builder.Clear();
        builder.Add(0, atStart: true, end: false);
        Intern(true);
        for (var state = 0; state < sets.Count; state++)
        {
            for (var c = 0; c < classCount; c++)
            {
                if (accepts[state])
                {
                    next.Add(state);
                    continue;
                }

                builder.Clear();
                foreach (var pc in sets[state])
                {
                    var instruction = program.Code[pc];
                    if (instruction.Op == RegexOp.Set && program.Sets[instruction.A].Contains(samples[c]))
                    {
                        builder.Add(pc + 1, atStart: false, end: false);
                    }
                }

                // Unanchored: a match may begin at the next byte too.
                builder.Add(0, atStart: false, end: false);
                next.Add(builder.IsEmpty ? -1 : Intern(false));
                if (sets.Count > mostStates)
                {
                    return null;
                }
            }
        }

        return new RegexDfa(classes, classCount, [.. next], [.. accepts], [.. atEnd]);

        int Intern(bool atStart)
        {
            var members = builder.Members();
            var key = new string(MemoryMarshal.Cast<int, char>(members));
            if (atStart)
            {
                key = "^" + key;
            }

            if (states.TryGetValue(key, out var known))
            {
                return known;
            }

            var accepting = builder.HasMatch;
            builder.Clear();
            foreach (var pc in members)
            {
                builder.Add(pc, atStart, end: true);
            }

            states.Add(key, sets.Count);
            sets.Add(members);
            accepts.Add(accepting);
            atEnd.Add(accepting || builder.HasMatch);
            return sets.Count - 1;
        }
    }

    internal static (byte[] Classes, int Count, byte[] Samples) ByteClasses(RegexProgram program)
    {
        var classes = new byte[256];
        var samples = new List<byte>();
        var known = new Dictionary<string, byte>(StringComparer.Ordinal);
        var signature = new char[program.Sets.Count];
        for (var b = 0; b < 256; b++)
        {
            for (var s = 0; s < signature.Length; s++)
            {
                signature[s] = program.Sets[s].Contains((byte)b) ? '1' : '0';
            }

            var key = new string(signature);
            if (!known.TryGetValue(key, out var number))
            {
                number = (byte)samples.Count;
                known.Add(key, number);
                samples.Add((byte)b);
            }

            classes[b] = number;
        }

        return (classes, samples.Count, [.. samples]);
    }

    // The instructions reachable without reading a byte; only Set, End and Match are kept.
    private sealed class Closure(RegexProgram program)
    {
        private readonly int[] _mark = new int[program.Code.Count];
        private readonly SortedSet<int> _members = [];
        private readonly Stack<int> _work = new();
        private int _generation;

        public bool HasMatch { get; private set; }

        public bool IsEmpty => _members.Count == 0;

        public void Clear()
        {
            _members.Clear();
            HasMatch = false;
            _generation++;
        }

        public int[] Members() => [.. _members];

        public void Add(int from, bool atStart, bool end)
        {
            _work.Push(from);
            while (_work.TryPop(out var pc))
            {
                if (_mark[pc] == _generation)
                {
                    continue;
                }

                _mark[pc] = _generation;
                var instruction = program.Code[pc];
                switch (instruction.Op)
                {
                    case RegexOp.Jump: _work.Push(instruction.A); break;
                    case RegexOp.Split: _work.Push(instruction.B); _work.Push(instruction.A); break;
                    case RegexOp.Save: _work.Push(pc + 1); break;
                    case RegexOp.Start:
                        if (atStart)
                        {
                            _work.Push(pc + 1);
                        }

                        break;
                    case RegexOp.End when end: _work.Push(pc + 1); break;
                    case RegexOp.Match: HasMatch = true; _members.Add(pc); break;
                    default: _members.Add(pc); break;
                }
            }
        }
    }
}
