using SystemTap.Language.Text;

namespace SystemTap.Language.Lexing;

/// <summary>One use of a macro: the link from an expanded token back to the text that caused it.</summary>
/// <param name="Name">The macro's name without <c>@</c>.</param>
/// <param name="Span">Where <c>@name</c> stands.</param>
/// <param name="Outer">The use whose body holds this one, or null at file level.</param>
public sealed record MacroUse(string Name, SourceSpan Span, MacroUse? Outer)
{
    /// <summary>Length of the chain from here outwards, at least 1.</summary>
    public int Depth { get; } = Outer is null ? 1 : Outer.Depth + 1;
}

/// <summary>A token. A pasted script argument's tokens carry the place of the <c>$N</c> that stands for them.</summary>
public readonly struct Token
{
    internal Token(TokenKind kind, SourceText source, int start, int length, string? text = null, long value = 0, JunkReason junk = JunkReason.None, MacroUse? use = null)
    {
        Kind = kind;
        Junk = junk;
        Source = source;
        Start = start;
        Length = length;
        Text = text;
        Value = value;
        Use = use;
    }

    public TokenKind Kind { get; }

    /// <summary>Why this is no token, when <see cref="Kind"/> is <see cref="TokenKind.Junk"/>.</summary>
    public JunkReason Junk { get; }

    public SourceText Source { get; }

    /// <summary>Byte offset of the first byte.</summary>
    public int Start { get; }

    /// <summary>Length in bytes.</summary>
    public int Length { get; }

    /// <summary>Offset after the last byte.</summary>
    public int End => Start + Length;

    /// <summary>Name of an identifier, keyword or @word, value of a string, code of embedded C; the written text of numbers and operators when they were pasted from an argument, else null for these.</summary>
    public string? Text { get; }

    /// <summary>Value of a number; values from 2^63 up are wrapped to negative.</summary>
    public long Value { get; }

    /// <summary>The macro use this token came out of, or null.</summary>
    public MacroUse? Use { get; }

    public SourceSpan Span => new(Source, Start, Length);

    internal Token WithUse(MacroUse? use) => new(Kind, Source, Start, Length, Text, Value, Junk, use);

    internal Token At(SourceText source, int start, int length) => new(Kind, source, start, length, Text, Value, Junk, Use);

    /// <summary>The token for messages, such as <c>identifier 'foo'</c> or <c>end of file</c>.</summary>
    public string Describe() => TokenFacts.Describe(this);
}

/// <summary>A growing array of tokens that hands out its storage.</summary>
internal sealed class TokenList(int capacity)
{
    public Token[] Items = new Token[Math.Max(4, capacity)];

    public int Count;

    public void Add(in Token token)
    {
        if (Count == Items.Length)
        {
            Array.Resize(ref Items, Items.Length * 2);
        }

        Items[Count++] = token;
    }
}
