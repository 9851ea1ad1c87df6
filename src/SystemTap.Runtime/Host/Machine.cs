using SystemTap.Language.Text;
using SystemTap.Runtime.Output;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Runtime.Host;

/// <summary>
/// The state of one handler run. Locals of all active functions lie in two parallel stacks (a local's index means the same slot in both), so a
/// call allocates nothing. Nothing unwinds by <c>finally</c>: whoever catches an error puts Base, Top and Depth back.
/// </summary>
internal sealed class Machine(IGlobalStore store, IHostServices services, Limits limits)
{
    public readonly IGlobalStore Store = store;
    public readonly IHostServices Services = services;
    public readonly Limits Limits = limits;

    /// <summary>Most bytes of a string.</summary>
    public readonly int MaxText = limits.MaxStringLength - 1;

    public readonly int MaxActions = limits.SuppressTimeLimits ? int.MaxValue : limits.MaxAction;
    
    /// <summary>Most nested calls.</summary>
    public int MaxNesting = int.MaxValue;

    public readonly ByteSink Scratch = new();

    public long[] Longs = new long[256];
    public string[] Texts = NewTexts(256);
    public int Base, Top, Depth, Actions;
    public SourceSpan[] Callers = new SourceSpan[16];
    public long ReturnLong;
    public string ReturnText = "";
    public Probe? Probe;

    /// <summary>Values of the record being printed, see LeafExpr.</summary>
    public long[] LeafLongs = [];
    public string[] LeafTexts = [];

    // matched()
    public string MatchSubject = "";
    public int[] MatchGroups = [];
    public int MatchCount;

    // tokenize()
    public string TokenText = "";
    public int TokenAt;

    /// <summary>Text written to a procfs file.</summary>
    public string ProcfsText = "";

    private readonly Stack<Value[]>[] _keys = NewKeyPools();

    /// <summary>Prepares for a handler.</summary>
    public void Reset(Probe? probe, int locals)
    {
        Probe = probe;
        Base = Depth = Actions = 0;
        Top = 0;
        MatchCount = 0;
        TokenText = "";
        TokenAt = 0;
        Reserve(locals);
        Array.Clear(Longs, 0, locals);
        Array.Fill(Texts, "", 0, locals);
    }

    /// <summary>Takes slots from the top of both stacks; returns the first.</summary>
    public int Reserve(int count)
    {
        var first = Top;
        Top += count;
        if (Top > Longs.Length)
        {
            var size = Math.Max(Top, Longs.Length * 2);
            Array.Resize(ref Longs, size);
            var old = Texts.Length;
            Array.Resize(ref Texts, size);
            Array.Fill(Texts, "", old, size - old);
        }

        return first;
    }

    /// <summary>Counts a statement or iteration against MAXACTION.</summary>
    public void Act(SourceSpan span)
    {
        if (++Actions > MaxActions)
        {
            throw new RuntimeError("MAXACTION exceeded", span, isCatchable: false);
        }
    }

    /// <summary>Strings that were too long for a script string, and where the first was cut.</summary>
    public long Cuts;
    public SourceSpan FirstCut;

    /// <summary>Cuts a string to the length a script string can have, and counts that.</summary>
    public string Cut(SourceSpan place, string text)
    {
        if (text.Length <= MaxText)
        {
            return text;
        }

        if (Cuts++ == 0)
        {
            FirstCut = place;
        }

        return text[..MaxText];
    }

    /// <summary>Cuts a text that is not the script's own.</summary>
    public string CutQuietly(string text) => text.Length > MaxText ? text[..MaxText] : text;

    /// <summary>A key of so many parts; its memory is used again after <see cref="Release"/>. Lost (to the collector) when an error passes.</summary>
    public Value[] Rent(int parts) => _keys[parts].TryPop(out var key) ? key : new Value[parts];

    public void Release(Value[] key) => _keys[key.Length].Push(key);

    private static string[] NewTexts(int count)
    {
        var texts = new string[count];
        Array.Fill(texts, "");
        return texts;
    }

    private static Stack<Value[]>[] NewKeyPools()
    {
        var pools = new Stack<Value[]>[16];
        for (var i = 0; i < pools.Length; i++)
        {
            pools[i] = new Stack<Value[]>();
        }

        return pools;
    }
}

/// <summary>How a statement ended.</summary>
internal enum Flow
{
    Normal,
    Break,
    Continue,
    Next,
    Return,
}

/// <summary>An executable expression; one of the two methods works, by the expression's type.</summary>
internal abstract class Node(SourceSpan span)
{
    public readonly SourceSpan Span = span;

    public virtual long Long(Machine m) => throw new RuntimeError("a string stands where a number is needed", Span);

    public virtual string Text(Machine m) => throw new RuntimeError("a number stands where a string is needed", Span);
}

/// <summary>An executable statement.</summary>
internal abstract class Act(SourceSpan span)
{
    public readonly SourceSpan Span = span;

    public abstract Flow Run(Machine m);
}
