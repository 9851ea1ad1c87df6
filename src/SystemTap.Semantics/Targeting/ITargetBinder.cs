using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Probes;

namespace SystemTap.Semantics.Targeting;

/// <summary>Which of the <c>$$…</c> texts.</summary>
public enum VariableSet
{
    /// <summary><c>$$vars</c></summary>
    Vars,

    /// <summary><c>$$parms</c></summary>
    Parms,

    /// <summary><c>$$locals</c></summary>
    Locals,

    /// <summary><c>$$return</c></summary>
    Return,
}

/// <summary>
/// Typed access to the target's data: what binding asks when it meets <c>-&gt;</c>, <c>[]</c>, <c>&amp;</c>, <c>$</c>, <c>@cast</c>, <c>@enum</c>. Every
/// method that returns null has put an error into the session's diagnostics; with <c>quiet</c> true (inside <c>@defined</c>) it reports nothing.
/// </summary>
public interface ITargetBinder
{
    /// <summary>The binder as seen from a probe: in a program's probe, casts, enumerators and <c>@var</c> mean the program first.</summary>
    ITargetBinder For(ProbeContext context) => this;

    /// <summary><c>v-&gt;name</c>: follows a pointer or stays in a struct in memory.</summary>
    TypedValue? Member(TypedValue value, string name, SourceSpan span, bool quiet);

    /// <summary><c>v[index]</c> on pointers and arrays.</summary>
    TypedValue? Index(TypedValue value, Expr index, SourceSpan span, bool quiet);

    /// <summary><c>&amp;v</c>: address of the object, as a pointer to its type.</summary>
    TypedValue? AddressOf(TypedValue value, SourceSpan span, bool quiet);

    /// <summary>The value as an ordinary long (loads it from memory if it is an object there; arrays and structs give their address). Keeps the C type for autocast.</summary>
    TypedValue Load(TypedValue value, SourceSpan span);

    /// <summary>Pretty printing <c>$v$</c> (depth 1) or <c>$v$$</c> (2) as a string expression.</summary>
    Expr? Pretty(TypedValue value, int depth, SourceSpan span, bool quiet);

    /// <summary><c>@cast(value, type, module)</c>: the value seen as a pointer to <paramref name="type"/>. <paramref name="module"/> null: the probe's, else the kernel.</summary>
    TypedValue? Cast(Expr value, string type, string? module, SourceSpan span, bool quiet);

    /// <summary><c>@var("name@cu", "module")</c></summary>
    TypedValue? Variable(string name, string? module, SourceSpan span, bool quiet);

    /// <summary><c>@enum("NAME")</c></summary>
    Expr? EnumValue(string name, SourceSpan span, bool quiet);

    /// <summary><c>@enumname(value, "enum t", "module")</c>: the type may be null when <paramref name="value"/> has an enum type.</summary>
    Expr? EnumName(TypedValue value, string? type, string? module, SourceSpan span, bool quiet);

    /// <summary><c>$$vars</c> and so on, e.g. <c>preempt=0x0 prev=0xffff…</c>; with a depth each as <see cref="Pretty"/> has it (<c>$$vars$</c>, <c>$$parms$$</c>).</summary>
    Expr Variables(ProbeContext context, VariableSet set, int depth, SourceSpan span);

    /// <summary>
    /// Functions that <see cref="Pretty"/> and <see cref="EnumName"/> have made so far, callees first. Those that the program calls belong into
    /// <see cref="LoweredProgram.Functions"/>; they call intrinsics and each other only.
    /// </summary>
    IReadOnlyList<Function> SyntheticFunctions => [];

    /// <summary>The assignment <c>v = newValue</c> through memory (guru); null when impossible.</summary>
    Expr? Store(TypedValue value, Expr newValue, SourceSpan span, bool quiet);
}
