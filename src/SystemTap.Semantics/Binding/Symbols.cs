using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Probes;

namespace SystemTap.Semantics.Binding;

/// <summary>A type still to be found, and the place that decided it.</summary>
internal sealed class TypeSlot
{
    public ScriptType? Type { get; private set; }

    /// <summary>What first gave the type; shown as the second place of a mismatch.</summary>
    public SourceSpan Place { get; private set; }

    public void Set(ScriptType type, SourceSpan place)
    {
        Type = type;
        Place = place;
    }
}

internal abstract class VariableSymbol(string name, SourceSpan span)
{
    public string Name { get; } = name;

    /// <summary>Declaration, or first mention of a local.</summary>
    public SourceSpan Span { get; } = span;

    /// <summary>Type of the scalar or of the array's values.</summary>
    public TypeSlot Slot { get; } = new();

    public bool IsRead { get; set; }

    public bool IsWritten { get; set; }

    /// <summary>Right sides of its plain assignments with the body they stand in: where autocast looks for a C type.</summary>
    public List<(Expression Value, BodyUnit Unit)>? Assignments { get; private set; }

    /// <summary>Result of <see cref="CTypes"/>.</summary>
    public CType? CType { get; set; }

    public CTypeState CTypeState { get; set; }

    public void AddAssignment(Expression value, BodyUnit unit) => (Assignments ??= []).Add((value, unit));
}

internal enum CTypeState : byte
{
    Unknown,
    InProgress,
    Known,
}

internal sealed class GlobalSymbol(GlobalDefinition definition, bool isTapset, int order) : VariableSymbol(definition.Name, definition.Span)
{
    public GlobalDefinition Definition { get; } = definition;

    public bool IsTapset { get; } = isTapset;

    /// <summary>Position in order of declaration over the session.</summary>
    public int Order { get; } = order;

    /// <summary>Null until a use shows whether it is a scalar (empty) or an array.</summary>
    public TypeSlot[]? Keys { get; set; }

    /// <summary>First use that fixed <see cref="Keys"/>.</summary>
    public SourceSpan ArityPlace { get; set; }

    public StatisticShape Shape { get; } = new();

    /// <summary>Where the histogram and the variance shift were fixed.</summary>
    public SourceSpan HistogramPlace { get; set; }

    public SourceSpan? ShiftPlace { get; set; }

    public bool IsUsed => IsRead || IsWritten;

    /// <summary>Value of <c>-G</c>, or null.</summary>
    public string? Override { get; set; }

    public Global? Lowered { get; set; }
}

/// <summary>A parameter or local of one body.</summary>
internal sealed class LocalSymbol(string name, SourceSpan span, bool isParameter) : VariableSymbol(name, span)
{
    public bool IsParameter { get; } = isParameter;

    /// <summary>For the value variable of a foreach over aggregates: the loop, whose element it stands for.</summary>
    public ForeachStatement? AggregateLoop { get; set; }
}

/// <summary>One function definition, or its copy for one probe context when it mentions target variables.</summary>
internal sealed class FunctionSymbol(FunctionDefinition definition, bool isTapset, int order)
{
    public FunctionDefinition Definition { get; } = definition;

    public string Name => Definition.Name;

    public bool IsTapset { get; } = isTapset;

    public int Order { get; } = order;

    public long Priority => Definition.Priority ?? (IsTapset ? 1 : 0);

    public TypeSlot Return { get; } = new();

    /// <summary>The parameters; created with the unit.</summary>
    public BodyUnit? Unit { get; set; }

    /// <summary>What <c>next</c> tries.</summary>
    public FunctionSymbol? Next { get; set; }

    public Function? Lowered { get; set; }

    /// <summary>First call, for "called from here".</summary>
    public SourceSpan FirstUse { get; set; }

    public CType? CType { get; set; }

    public CTypeState CTypeState { get; set; }

    /// <summary>Copies by probe context.</summary>
    public Dictionary<ProbeContext, FunctionSymbol>? Copies { get; set; }
}

/// <summary>
/// A body to bind: a function's, or one expanded probe's (prologues, user handler and epilogues with shared locals).
/// Statements of the shared syntax trees are never annotated, because the same user body serves hundreds of probes.
/// </summary>
internal sealed class BodyUnit
{
    public FunctionSymbol? Function { get; init; }

    public ExpandedProbe? Probe { get; init; }

    public ProbeDefinition? Definition { get; init; }

    /// <summary>For probes: context of the event. For context-sensitive functions: that of the calling probe.</summary>
    public ProbeContext Context { get; init; } = ProbeContext.None;

    /// <summary>Blocks in order of execution.</summary>
    public required IReadOnlyList<BlockStatement> Blocks { get; init; }

    /// <summary>The user's own block among them (for <c>@probewrite</c>), or null.</summary>
    public BlockStatement? UserBlock { get; init; }

    public IReadOnlyList<Expression> Conditions { get; init; } = [];

    /// <summary>Parameters first, then locals in order of first mention.</summary>
    public List<LocalSymbol> Locals { get; } = [];

    public Dictionary<string, VariableSymbol> Scope { get; } = new(StringComparer.Ordinal);

    /// <summary>Statements that stay; null means all (<c>-u</c>, or nothing to remove).</summary>
    public HashSet<Statement>? Kept { get; set; }

    /// <summary>Answers of <c>@defined</c> and results of <c>@entry</c> by node.</summary>
    public Dictionary<Expression, bool>? Defined { get; set; }

    public Dictionary<string, TypedValue?>? TargetValues { get; set; }

    public List<EntryUse>? Entries { get; set; }

    /// <summary>Type inference has nothing left to find here.</summary>
    public bool IsSettled { get; set; }

    public Lowering.BodyLowering? Lowering { get; set; }

    public bool IsProbe => Probe is not null;

    /// <summary>A function or probe (not only an alias around the user's handler) of the library.</summary>
    public bool IsLibraryBody => Function is { IsTapset: true } || Definition is { Span.Source.IsTapset: true };

    public string OwnerText => Function is not null ? "function '" + Function.Name + "'" : "probe '" + Probe?.Name + "'";
}

/// <summary>An <c>@entry</c> of a return probe.</summary>
internal sealed class EntryUse(string key, Expression operand, BodyUnit entryUnit)
{
    /// <summary>Text that equal expressions share.</summary>
    public string Key { get; } = key;

    public Expression Operand { get; } = operand;

    /// <summary>A unit whose context is the entry point: the operand is bound and lowered there.</summary>
    public BodyUnit EntryUnit { get; } = entryUnit;

    public bool IsDiscovered { get; set; }

    public ScriptType? Type { get; set; }

    public Local? Temporary { get; set; }
}
