using SystemTap.Language.Diagnostics;
using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;
using SystemTap.Targets;

namespace SystemTap.Semantics.Probes;

/// <summary>What may stand in the parentheses of a probe component.</summary>
public enum ComponentArgument
{
    None,
    Number,
    String,
}

/// <summary>One component of a native probe point: <c>s(N)</c> is ("s", Number).</summary>
public readonly record struct ComponentPattern(string Name, ComponentArgument Argument = ComponentArgument.None);

/// <summary>Who may use a probe point or function.</summary>
public enum Privilege
{
    /// <summary>Members of stapusr: own processes only.</summary>
    User,

    /// <summary>stapsys.</summary>
    System,

    /// <summary>stapdev, root.</summary>
    Developer,

    /// <summary>Needs <c>-g</c> as well.</summary>
    Guru,
}

/// <summary>
/// A way of spelling native probe points, what they resolve to, which context variables they have. Adding a family is one new
/// file with a subclass, listed in <c>ProbeFamilies.All</c>. Aliases are not families: they are script.
/// </summary>
public abstract class ProbeFamily
{
    /// <summary>Every form, e.g. <c>[kernel, trace(String)]</c>. Wildcards in the script's component names are matched against these.</summary>
    public abstract IReadOnlyList<IReadOnlyList<ComponentPattern>> Forms { get; }

    /// <summary>Who may use it.</summary>
    public abstract Privilege Privilege { get; }

    /// <summary>
    /// Resolves one point whose components have the names and argument kinds of the matched form. String arguments may hold the
    /// family's own wildcards. Adds nothing and reports nothing when nothing matches (the caller reports, with
    /// <see cref="Candidates"/> as suggestions); reports a diagnostic for bad arguments (a zero interval, …).
    /// </summary>
    public abstract void Resolve(ProbeMatch match, ResolveScope scope, List<ResolvedPoint> results);

    /// <summary>True when a form also stands for everything that begins with it (families that only explain why they are absent).</summary>
    public virtual bool IsOpenEnded => false;

    /// <summary>False for families that only explain their absence: they are not listed and take no part in wildcards.</summary>
    public virtual bool IsAvailable => true;

    /// <summary>What the string argument names, for messages: "tracepoint", "system call".</summary>
    public virtual string ArgumentNoun => "name";

    /// <summary>What stands in the way of any match on this machine (a file that cannot be read, …), as a hint; null when nothing does.</summary>
    public virtual string? WhyNone(string pattern, ResolveScope scope) => null;

    /// <summary>Names that could have been meant in the string argument, for "did you mean".</summary>
    public virtual IEnumerable<string> Candidates(ProbeMatch match, ResolveScope scope) => [];
}

/// <summary>A script's probe point against a native form.</summary>
/// <param name="FormIndex">Index into <see cref="ProbeFamily.Forms"/>.</param>
/// <param name="Point">The point (component names already concrete).</param>
public sealed record ProbeMatch(int FormIndex, ProbePoint Point)
{
    /// <summary>The string argument of component <paramref name="index"/>.</summary>
    public string Text(int index) => ((StringLiteral)Point.Components[index].Argument!).Value;

    /// <summary>The number argument of component <paramref name="index"/>.</summary>
    public long Number(int index) => ((NumberLiteral)Point.Components[index].Argument!).Value;
}

/// <summary>What families may look at.</summary>
/// <param name="Target">The machine.</param>
/// <param name="Diagnostics">Where complaints go.</param>
/// <param name="HasTargetProcess">Started with <c>-c</c> or <c>-x</c>: process probes mean its tree.</param>
/// <param name="Runtime">"bpf" or "kernel".</param>
public sealed record ResolveScope(Target Target, DiagnosticBag Diagnostics, bool HasTargetProcess, string Runtime)
{
    /// <summary>The privilege of who runs the session: points of families that need more are refused.</summary>
    public Privilege Granted { get; init; } = Privilege.Developer;

    /// <summary>
    /// Why a point that was found cannot be probed by the kernel the session will run on; null when it can. Asked for points that a script or alias marks optional
    /// (<c>?</c>, <c>!</c>) and for tracepoints of a pattern: they are left out then, and an alternative may take their place. Others are refused later, with their place.
    /// </summary>
    public Func<ResolvedPoint, string?>? Obstacle { get; init; }

    /// <summary>Path of the program that <c>-c</c> starts or <c>-x</c> names: what <c>process</c> without argument means; null without one.</summary>
    public string? TargetProgram { get; init; }
}

/// <summary>A concrete event.</summary>
/// <param name="Spec">What to attach to.</param>
/// <param name="PointText">The fully resolved point (<c>pp()</c>), e.g. <c>kernel.trace("sched:sched_switch")</c>.</param>
/// <param name="Context">The context variables there.</param>
public sealed record ResolvedPoint(ProbeSpec Spec, string PointText, ProbeContext Context)
{
    /// <summary>Who may use it (the family's).</summary>
    public Privilege Privilege { get; init; }

    /// <summary>The handler is left at once when this is 0, before anything of the script; null for none.</summary>
    public Expression? Guard { get; init; }

    /// <summary>The point as <c>-l</c> lists it (wildcards replaced).</summary>
    public string ListText { get; init; } = PointText;
}

/// <summary>A value with what is known of its C type: what <c>-&gt;</c>, <c>[]</c>, <c>$</c> and autocast work on.</summary>
/// <param name="Value">How to compute it. For a struct or array in memory: its address.</param>
/// <param name="CType">Its C type, or null for a plain number or string.</param>
public sealed record TypedValue(Expr Value, CType? CType)
{
    /// <summary>A struct, union or array that is not in one place of memory: <see cref="Value"/> then means nothing.</summary>
    public Targeting.ObjectParts? Parts { get; init; }

    /// <summary>What a pointer points to that the compiler did away with: <see cref="Value"/> then means nothing, but the object can be read.</summary>
    public Targeting.ObjectParts? Pointee { get; init; }

    /// <summary><see cref="Value"/> is the value, or the object's address.</summary>
    public bool HasValue => Parts is null && Pointee is null;
}

/// <summary>A C type of the target: where it is described, and that it lives in user or kernel memory.</summary>
/// <param name="Type">Type in the kernel's or a module's BTF. (DWARF types come with the function-probe work as another subclass of the same idea.)</param>
/// <param name="IsUser">The value points into user memory.</param>
/// <param name="IsInMemory">The value is the address of an object of this type (struct, union, array), not the object itself.</param>
public sealed record CType(BtfType Type, bool IsUser, bool IsInMemory)
{
    /// <summary>
    /// How many pointers stand in front of <see cref="Type"/>: 1 means the value is a pointer to it. <c>@cast</c> and <c>&amp;</c> make these, because
    /// BTF need not hold a record for the pointer type. <see cref="IsInMemory"/> is then false.
    /// </summary>
    public int PointerDepth { get; init; }

    /// <summary>The value of a <c>float</c> has become a double's already.</summary>
    public bool IsWidened { get; init; }
}

/// <summary>A context variable for listings.</summary>
/// <param name="Name">With the dollar sign.</param>
/// <param name="TypeText">C declaration text, as <c>-L</c> prints it.</param>
public readonly record struct ContextVariable(string Name, string TypeText);

/// <summary>The context variables of one resolved point.</summary>
public abstract class ProbeContext
{
    /// <summary>A point without context variables.</summary>
    public static readonly ProbeContext None = new NoContext();

    /// <summary>Variables in the order <c>$$vars</c> prints them.</summary>
    public abstract IReadOnlyList<ContextVariable> Variables { get; }

    /// <summary>The value of <c>$name</c> (with the dollar sign; never <c>$$vars $$parms $$locals $$return</c>, which binding makes from <see cref="Variables"/>); null when there is none.</summary>
    public abstract TypedValue? Resolve(string name, SourceSpan span);

    /// <summary>Variables that are parameters, for <c>$$parms</c>.</summary>
    public virtual IReadOnlyList<ContextVariable> Parameters => Variables;

    /// <summary>Variables of the function that are no parameters, for <c>$$locals</c>.</summary>
    public virtual IReadOnlyList<ContextVariable> Locals => [];

    /// <summary>Why <see cref="Resolve"/> gave nothing for a name that the script may rightly expect (optimised out, no debug information); null when there is nothing to say.</summary>
    public virtual string? Explain(string name) => null;

    /// <summary>"bpf" or "kernel": what the session's handlers can reach. Set when the point is resolved.</summary>
    internal string Runtime { get; private set; } = "bpf";

    /// <summary>Sets <see cref="Runtime"/> of the point and of those it takes values from.</summary>
    internal void RunBy(string runtime)
    {
        Runtime = runtime;
        EntryPoint?.Context.RunBy(runtime);
    }

    /// <summary><see cref="Resolve"/> gave nothing for a name only because BPF programs cannot read it: the kernel-module runtime can.</summary>
    public virtual bool NeedsModule(string name) => false;

    /// <summary>What <see cref="CalledVariable"/> means here: 1 when the function was called by the one that the point names (<c>.callee</c>); null for other points.</summary>
    internal Func<SourceSpan, Expr>? CalledBy { get; set; }

    /// <summary>A target variable that scripts cannot spell, for guards.</summary>
    internal const string CalledVariable = "$?called";

    /// <summary>The value of a variable of a script or guard; null when there is none.</summary>
    internal TypedValue? Find(string name, SourceSpan span) =>
        name != CalledVariable ? Resolve(name, span) : CalledBy is { } test ? new TypedValue(test(span), null) : null;

    /// <summary>For <c>.return</c> points: the entry point whose values <c>@entry</c> takes, else null.</summary>
    public virtual ResolvedPoint? EntryPoint => null;

    /// <summary>Makes the assignment <c>$name = value</c>; null when the variable cannot be assigned here.</summary>
    public virtual Expr? Assign(string name, Expr value, SourceSpan span) => null;

    private sealed class NoContext : ProbeContext
    {
        public override IReadOnlyList<ContextVariable> Variables => [];

        public override TypedValue? Resolve(string name, SourceSpan span) => null;
    }
}
