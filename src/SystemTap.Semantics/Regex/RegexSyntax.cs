namespace SystemTap.Semantics.Regex;

/// <summary>A regular expression that is not well formed: subject first, then cause. Becomes a semantic error at the pattern.</summary>
/// <param name="message">What is wrong, with the place in the pattern.</param>
/// <param name="offset">Byte offset in the pattern.</param>
public sealed class RegexSyntaxException(string message, int offset) : Exception(message)
{
    public int Offset { get; } = offset;
}

/// <summary>A set of byte values.</summary>
public struct ByteSet : IEquatable<ByteSet>
{
    private ulong _a, _b, _c, _d;

    public readonly bool Contains(byte value) => ((value >> 6) switch { 0 => _a, 1 => _b, 2 => _c, _ => _d } >> (value & 63) & 1) != 0;

    public void Add(byte value)
    {
        var bit = 1UL << (value & 63);
        switch (value >> 6)
        {
            case 0: _a |= bit; break;
            case 1: _b |= bit; break;
            case 2: _c |= bit; break;
            default: _d |= bit; break;
        }
    }

    public readonly ByteSet Complement() => new() { _a = ~_a & ~1UL, _b = ~_b, _c = ~_c, _d = ~_d };

    public readonly bool Equals(ByteSet other) => _a == other._a && _b == other._b && _c == other._c && _d == other._d;

    public override readonly bool Equals(object? obj) => obj is ByteSet other && Equals(other);

    public override readonly int GetHashCode() => HashCode.Combine(_a, _b, _c, _d);
}

/// <summary>The parsed form: a closed set of nodes.</summary>
internal abstract record RegexNode
{
    public sealed record Empty : RegexNode;

    public sealed record Set(ByteSet Bytes) : RegexNode;

    public sealed record Start : RegexNode;

    public sealed record End : RegexNode;

    public sealed record Sequence(IReadOnlyList<RegexNode> Parts) : RegexNode;

    public sealed record Choice(IReadOnlyList<RegexNode> Branches) : RegexNode;

    /// <summary>Max −1: no upper bound.</summary>
    public sealed record Repeat(RegexNode Body, int Min, int Max) : RegexNode;

    /// <summary>Number 1…</summary>
    public sealed record Group(RegexNode Body, int Number) : RegexNode;
}

/// <summary>
/// Parser of POSIX extended regular expressions as the script language has them: <c>. [] [^] [[:class:]] ^ $ | () (?:) * + ? {n} {n,} {n,m}</c>;
/// a backslash quotes the next character or starts a C escape (<c>\n \t \x41 \101</c>), inside brackets too. No back-references, no <c>\d</c>.
/// </summary>
internal sealed class RegexParser(string pattern)
{
    private const int MostRepeats = 255;
    private const int MostNesting = 200;
    private int _at;
    private int _depth;

    /// <summary>Groups seen, not counting the whole match.</summary>
    public int GroupCount { get; private set; }

    public RegexNode Parse()
    {
        var node = Choice();
        return _at < pattern.Length ? throw Error("')' has no '(' before it; write \\) for the character", _at) : node;
    }

    private RegexSyntaxException Error(string cause, int at) => new($"regular expression \"{pattern}\": {cause} (at offset {at})", at);

    private bool Next(char c)
    {
        if (_at < pattern.Length && pattern[_at] == c)
        {
            _at++;
            return true;
        }

        return false;
    }

    private RegexNode Choice()
    {
        if (++_depth > MostNesting)
        {
            throw Error($"groups are nested deeper than {MostNesting}", _at);
        }

        var branches = new List<RegexNode> { Branch() };
        while (Next('|'))
        {
            branches.Add(Branch());
        }

        _depth--;
        return branches.Count == 1 ? branches[0] : new RegexNode.Choice(branches);
    }

    private RegexNode Branch()
    {
        var parts = new List<RegexNode>();
        while (_at < pattern.Length && pattern[_at] is not ('|' or ')'))
        {
            parts.Add(Repeated());
        }

        return parts.Count switch { 0 => new RegexNode.Empty(), 1 => parts[0], _ => new RegexNode.Sequence(parts) };
    }

    private RegexNode Repeated()
    {
        var node = Atom();
        while (_at < pattern.Length)
        {
            var start = _at;
            int min, max;
            switch (pattern[_at])
            {
                case '*': (min, max) = (0, -1); _at++; break;
                case '+': (min, max) = (1, -1); _at++; break;
                case '?': (min, max) = (0, 1); _at++; break;
                case '{': (min, max) = Bounds(); break;
                default: return node;
            }

            if (node is RegexNode.Start or RegexNode.End)
            {
                throw Error($"'{pattern[start]}' follows an anchor, which cannot repeat", start);
            }

            node = new RegexNode.Repeat(node, min, max);
        }

        return node;
    }

    private (int Min, int Max) Bounds()
    {
        var open = _at++;
        var min = Number(open);
        var max = min;
        if (Next(','))
        {
            max = _at < pattern.Length && pattern[_at] == '}' ? -1 : Number(open);
        }

        if (!Next('}'))
        {
            throw Error("'{' has no '}' after its numbers; write \\{ for the character", open);
        }

        return max >= 0 && max < min ? throw Error($"'{{{min},{max}}}' has its bounds in the wrong order", open) : (min, max);
    }

    private int Number(int open)
    {
        var start = _at;
        var value = 0;
        while (_at < pattern.Length && char.IsAsciiDigit(pattern[_at]))
        {
            value = Math.Min(100000, (value * 10) + pattern[_at++] - '0');
        }

        if (_at == start)
        {
            throw Error("'{' needs a number after it; write \\{ for the character", open);
        }

        return value > MostRepeats ? throw Error($"a repeat count is more than {MostRepeats}", start) : value;
    }

    private RegexNode Atom()
    {
        var at = _at;
        var c = pattern[_at++];
        switch (c)
        {
            case '^': return new RegexNode.Start();
            case '$': return new RegexNode.End();
            case '.': return new RegexNode.Set(default(ByteSet).Complement());
            case '[': return new RegexNode.Set(Bracket(at));
            case '*' or '+' or '?' or '{':
                throw Error($"'{c}' has nothing before it to repeat; write \\{c} for the character", at);
            case '(':
                return Group(at);
            case '\\':
                return Single(Escape(at));
            default:
                return Single((byte)c);
        }
    }

    private static RegexNode.Set Single(byte value)
    {
        ByteSet set = default;
        set.Add(value);
        return new RegexNode.Set(set);
    }

    private RegexNode Group(int open)
    {
        var number = 0;
        if (Next('?'))
        {
            if (!Next(':'))
            {
                throw Error("'(?' must be followed by ':'", open);
            }
        }
        else
        {
            number = ++GroupCount;
        }

        var body = Choice();
        if (!Next(')'))
        {
            throw Error("'(' has no ')' after it; write \\( for the character", open);
        }

        return number == 0 ? body : new RegexNode.Group(body, number);
    }

    private byte Escape(int backslash)
    {
        if (_at == pattern.Length)
        {
            throw Error("a backslash ends the pattern; write \\\\ for the character", backslash);
        }

        var c = pattern[_at++];
        switch (c)
        {
            case 'a': return 7;
            case 'b': return 8;
            case 't': return 9;
            case 'n': return 10;
            case 'v': return 11;
            case 'f': return 12;
            case 'r': return 13;
            case 'x':
            {
                int value = 0, digits = 0;
                while (digits < 2 && _at < pattern.Length && char.IsAsciiHexDigit(pattern[_at]))
                {
                    value = (value * 16) + Convert.ToInt32(pattern[_at++].ToString(), 16);
                    digits++;
                }

                return digits == 0 ? throw Error("'\\x' needs hexadecimal digits", backslash) : (byte)value;
            }

            case >= '0' and <= '7':
            {
                var value = c - '0';
                for (var digits = 1; digits < 3 && _at < pattern.Length && pattern[_at] is >= '0' and <= '7'; digits++)
                {
                    value = (value * 8) + pattern[_at++] - '0';
                }

                return (byte)value;
            }

            default: return (byte)c;
        }
    }

    private ByteSet Bracket(int open)
    {
        var negated = Next('^');
        ByteSet set = default;
        for (var first = true; ; first = false)
        {
            if (_at == pattern.Length)
            {
                throw Error("'[' has no ']' after it; write \\[ for the character", open);
            }

            var at = _at;
            if (pattern[_at] == ']' && !first)
            {
                _at++;
                return negated ? set.Complement() : set;
            }

            if (pattern[_at] == '[' && _at + 1 < pattern.Length && pattern[_at + 1] is ':' or '.' or '=')
            {
                if (pattern[_at + 1] != ':')
                {
                    throw Error($"'[{pattern[_at + 1]}' (collating elements) is not supported", at);
                }

                Class(ref set);
                continue;
            }

            var low = BracketChar();
            var high = low;
            if (_at + 1 < pattern.Length && pattern[_at] == '-' && pattern[_at + 1] != ']')
            {
                _at++;
                high = BracketChar();
                if (high < low)
                {
                    throw Error($"range '{(char)low}-{(char)high}' is inverted", at);
                }
            }

            for (int b = low; b <= high; b++)
            {
                set.Add((byte)b);
            }
        }
    }

    private byte BracketChar()
    {
        var at = _at;
        return pattern[_at++] is var c && c == '\\' ? Escape(at) : (byte)c;
    }

    private void Class(ref ByteSet set)
    {
        var start = _at;
        var end = pattern.IndexOf(":]", _at + 2, StringComparison.Ordinal);
        if (end < 0)
        {
            throw Error("'[:' has no ':]' after it", start);
        }

        var name = pattern[(_at + 2)..end];
        _at = end + 2;
        for (var b = 1; b < 128; b++)
        {
            var c = (char)b;
            var member = name switch
            {
                "alpha" => char.IsAsciiLetter(c),
                "digit" => char.IsAsciiDigit(c),
                "alnum" => char.IsAsciiLetterOrDigit(c),
                "upper" => char.IsAsciiLetterUpper(c),
                "lower" => char.IsAsciiLetterLower(c),
                "space" => c is ' ' or (>= '\t' and <= '\r'),
                "blank" => c is ' ' or '\t',
                "punct" => c is > ' ' and < (char)127 && !char.IsAsciiLetterOrDigit(c),
                "print" => c is >= ' ' and < (char)127,
                "graph" => c is > ' ' and < (char)127,
                "cntrl" => c is < ' ' or (char)127,
                "xdigit" => char.IsAsciiHexDigit(c),
                _ => throw Error($"character class \"{name}\" is unknown; use alpha digit alnum upper lower space blank punct print graph cntrl xdigit", start),
            };
            if (member)
            {
                set.Add((byte)b);
            }
        }
    }
}
