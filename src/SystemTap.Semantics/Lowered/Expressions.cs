using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Intrinsics;

namespace SystemTap.Semantics.Lowered;

/// <summary>A typed expression. Evaluation order is left to right; a fallible node raises a run-time error at its <see cref="Span"/>.</summary>
public abstract class Expr(ScriptType type, SourceSpan span)
{
    public ScriptType Type { get; } = type;

    /// <summary>Place named by run-time errors and verifier messages.</summary>
    public SourceSpan Span { get; } = span;
}

public sealed class LongConst(long value, SourceSpan span) : Expr(ScriptType.Long, span)
{
    public long Value { get; } = value;
}

public sealed class StringConst(string value, SourceSpan span) : Expr(ScriptType.String, span)
{
    public string Value { get; } = value;
}

/// <summary>Something that can be read, assigned and updated: local, scalar global or array element.</summary>
public abstract class Place(ScriptType type)
{
    public ScriptType Type { get; } = type;
}

public sealed class LocalPlace(Local local) : Place(local.Type)
{
    public Local Local { get; } = local;
}

/// <summary>A scalar global (Long or String; aggregates are reached by <see cref="StatAddStmt"/> and <see cref="StatExpr"/>).</summary>
public sealed class GlobalPlace(Global global) : Place(global.Type)
{
    public Global Global { get; } = global;
}

public sealed class ElementPlace(Global array, IReadOnlyList<Expr> keys) : Place(array.Type)
{
    public Global Array { get; } = array;

    public IReadOnlyList<Expr> Keys { get; } = keys;
}

/// <summary>Value of a place. A missing element reads as 0 or "" and is not created.</summary>
public sealed class ReadExpr(Place place, SourceSpan span) : Expr(place.Type, span)
{
    public Place Place { get; } = place;
}

/// <summary>Stores and yields the value. Strings are cut to MAXSTRINGLEN−1 bytes. Creating an element may raise "Array overflow".</summary>
public sealed class AssignExpr(Place place, Expr value, SourceSpan span) : Expr(place.Type, span)
{
    public Place Place { get; } = place;

    public Expr Value { get; } = value;
}

/// <summary><c>place op= operand</c> as one step; <c>x++</c> is Add 1 that yields the old value. Strings: Concat only.</summary>
public sealed class UpdateExpr(Place place, BinaryOperator op, Expr operand, bool yieldsOld, SourceSpan span) : Expr(place.Type, span)
{
    public Place Place { get; } = place;

    public BinaryOperator Operator { get; } = op;

    public Expr Operand { get; } = operand;

    /// <summary>Yields the value before the update (postfix ++ and --).</summary>
    public bool YieldsOld { get; } = yieldsOld;
}

/// <summary>Long arithmetic, bit operations, shifts (count masked with 63) and comparisons of longs. Divide and Modulo raise "division by 0".</summary>
public sealed class BinaryExpr(BinaryOperator op, Expr left, Expr right, SourceSpan span) : Expr(ScriptType.Long, span)
{
    public BinaryOperator Operator { get; } = op;

    public Expr Left { get; } = left;

    public Expr Right { get; } = right;
}

/// <summary>Bytewise comparison of strings: Less … NotEqual. Yields 0 or 1.</summary>
public sealed class StringCompareExpr(BinaryOperator op, Expr left, Expr right, SourceSpan span) : Expr(ScriptType.Long, span)
{
    public BinaryOperator Operator { get; } = op;

    public Expr Left { get; } = left;

    public Expr Right { get; } = right;
}

/// <summary>Short-circuit <c>&amp;&amp;</c> or <c>||</c>; yields 0 or 1.</summary>
public sealed class LogicalExpr(bool isAnd, Expr left, Expr right, SourceSpan span) : Expr(ScriptType.Long, span)
{
    public bool IsAnd { get; } = isAnd;

    public Expr Left { get; } = left;

    public Expr Right { get; } = right;
}

/// <summary>Minus, Not (0/1) or Complement of a long.</summary>
public sealed class UnaryExpr(UnaryOperator op, Expr operand, SourceSpan span) : Expr(ScriptType.Long, span)
{
    public UnaryOperator Operator { get; } = op;

    public Expr Operand { get; } = operand;
}

public sealed class ConditionalExpr(Expr condition, Expr whenTrue, Expr whenFalse, SourceSpan span) : Expr(whenTrue.Type, span)
{
    public Expr Condition { get; } = condition;

    public Expr WhenTrue { get; } = whenTrue;

    public Expr WhenFalse { get; } = whenFalse;
}

/// <summary>Concatenation of two or more strings, cut to MAXSTRINGLEN−1.</summary>
public sealed class ConcatExpr(IReadOnlyList<Expr> parts, SourceSpan span) : Expr(ScriptType.String, span)
{
    public IReadOnlyList<Expr> Parts { get; } = parts;
}

/// <summary>1 when an element with these keys exists; a key of null matches any.</summary>
public sealed class InExpr(Global array, IReadOnlyList<Expr?> keys, SourceSpan span) : Expr(ScriptType.Long, span)
{
    public Global Array { get; } = array;

    public IReadOnlyList<Expr?> Keys { get; } = keys;
}

public sealed class CallExpr(Function function, IReadOnlyList<Expr> arguments, SourceSpan span) : Expr(function.ReturnType, span)
{
    public Function Function { get; } = function;

    public IReadOnlyList<Expr> Arguments { get; } = arguments;
}

/// <summary>A call of a built-in; see <see cref="Intrinsic"/>.</summary>
public sealed class IntrinsicExpr(Intrinsic intrinsic, IReadOnlyList<Expr> arguments, SourceSpan span) : Expr(intrinsic.ReturnType, span)
{
    public Intrinsic Intrinsic { get; } = intrinsic;

    public IReadOnlyList<Expr> Arguments { get; } = arguments;
}

/// <summary>What a <see cref="ContextExpr"/> reads from the event.</summary>
public enum ContextValue
{
    /// <summary>Argument <see cref="ContextExpr.Index"/> (0-based) of a tracepoint, as the kernel passes it: 64 bits whose upper part is undefined for narrow types.</summary>
    TracepointArgument,

    /// <summary>System-call argument 0–5.</summary>
    SyscallArgument,

    /// <summary>System-call number.</summary>
    SyscallNumber,

    /// <summary>Return value of the system call.</summary>
    SyscallReturn,

    /// <summary>Function argument 0–… by the kernel's or user ABI (kprobe, uprobe, fentry).</summary>
    FunctionArgument,

    /// <summary>Return value of the function.</summary>
    FunctionReturn,

    /// <summary>Register <see cref="ContextExpr.Index"/>: byte offset in pt_regs.</summary>
    Register,

    /// <summary>Eight bytes of a vector register of the traced program: <see cref="ContextExpr.Index"/> is twice the register's number, plus one for the upper half. The kernel-module runtime only.</summary>
    VectorRegister,

    /// <summary><c>$value</c> of a procfs write: the text written (string). For procfs read it is a local made by lowering whose final value the engine takes; see <see cref="ProcfsSpec"/>.</summary>
    ProcfsValue,
}

/// <summary>A value of the event that fired: only in probes whose <see cref="ProbeSpec"/> offers it.</summary>
public sealed class ContextExpr(ContextValue value, int index, SourceSpan span)
    : Expr(value == ContextValue.ProcfsValue ? ScriptType.String : ScriptType.Long, span)
{
    public ContextValue Value { get; } = value;

    public int Index { get; } = index;

    /// <summary>Size of the real type in bytes (1, 2, 4, 8): engines extend from it.</summary>
    public int Size { get; init; } = 8;

    public bool IsSigned { get; init; } = true;

    /// <summary>BTF type id (kernel) when this is a pointer the verifier may trust for direct loads; else 0.</summary>
    public int BtfPointee { get; init; }
}

/// <summary>Reads an integer from memory: raises "read fault" when the address cannot be read.</summary>
public sealed class DerefExpr(Expr address, int size, bool isSigned, bool isUser, SourceSpan span) : Expr(ScriptType.Long, span)
{
    public Expr Address { get; } = address;

    /// <summary>1, 2, 4 or 8 bytes.</summary>
    public int Size { get; } = size;

    public bool IsSigned { get; } = isSigned;

    public bool IsUser { get; } = isUser;

    /// <summary>Bit-field: bits to shift right after loading; with <see cref="BitWidth"/> 0 the whole value is meant.</summary>
    public int BitShift { get; init; }

    public int BitWidth { get; init; }

    /// <summary>The member read, for messages: <c>task_struct.pid</c>; null when unknown.</summary>
    public string? MemberName { get; init; }
}

/// <summary><c>sprintf</c>, <c>sprint…</c>: the text of <see cref="Segments"/> with <see cref="Arguments"/>, cut to MAXSTRINGLEN−1.</summary>
public sealed class FormatExpr(IReadOnlyList<FormatSegment> segments, IReadOnlyList<Expr> arguments, SourceSpan span) : Expr(ScriptType.String, span)
{
    public IReadOnlyList<FormatSegment> Segments { get; } = segments;

    /// <summary>In format order, with those of <c>*</c> widths and precisions. May hold a <see cref="HistogramTextExpr"/> for a <c>%s</c>.</summary>
    public IReadOnlyList<Expr> Arguments { get; } = arguments;
}

/// <summary>The printed form of a histogram; only as an argument of a print or <see cref="FormatExpr"/>. Raises "empty aggregate".</summary>
public sealed class HistogramTextExpr(Global aggregate, IReadOnlyList<Expr> keys, SourceSpan span) : Expr(ScriptType.String, span)
{
    public Global Aggregate { get; } = aggregate;

    public IReadOnlyList<Expr> Keys { get; } = keys;
}

/// <summary><c>@count(x)</c> … Empty aggregates: count and sum are 0, the others raise "empty aggregate".</summary>
public sealed class StatExpr(StatisticKind kind, Global aggregate, IReadOnlyList<Expr> keys, SourceSpan span) : Expr(ScriptType.Long, span)
{
    public StatisticKind Kind { get; } = kind;

    public Global Aggregate { get; } = aggregate;

    /// <summary>Empty for a scalar.</summary>
    public IReadOnlyList<Expr> Keys { get; } = keys;
}

/// <summary>Count of one histogram bucket; raises "histogram index out of range".</summary>
public sealed class BucketExpr(Global aggregate, IReadOnlyList<Expr> keys, Expr index, SourceSpan span) : Expr(ScriptType.Long, span)
{
    public Global Aggregate { get; } = aggregate;

    public IReadOnlyList<Expr> Keys { get; } = keys;

    public Expr Index { get; } = index;
}

/// <summary>1 when the subject matches (or not, when negated); remembers groups for <c>matched()</c>.</summary>
public sealed class RegexExpr(Expr subject, RegexPattern regex, bool negated, SourceSpan span) : Expr(ScriptType.Long, span)
{
    public Expr Subject { get; } = subject;

    public RegexPattern Regex { get; } = regex;

    public bool IsNegated { get; } = negated;
}

/// <summary>Statements, then a value: made by lowering only.</summary>
public sealed class SequenceExpr(IReadOnlyList<Stmt> statements, Expr value, SourceSpan span) : Expr(value.Type, span)
{
    public IReadOnlyList<Stmt> Statements { get; } = statements;

    public Expr Value { get; } = value;
}

/// <summary><c>%{ … %}</c> as a value; only the kernel-module runtime can run it (pass 2 refuses it for others).</summary>
public sealed class EmbeddedCExpr(ScriptType type, string code, SourceSpan span) : Expr(type, span)
{
    /// <summary>The text between the braces.</summary>
    public string Code { get; } = code;
}
