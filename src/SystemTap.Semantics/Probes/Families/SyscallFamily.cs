using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;
using SystemTap.Targets;

namespace SystemTap.Semantics.Probes.Families;

/// <summary>
/// System calls seen at the kernel's one entry and one exit: <c>kernel.syscall("glob")</c>, <c>kernel.compat_syscall("glob")</c> for 32-bit programs,
/// <c>kernel.syscall_any</c> for all of them, each with <c>.return</c>. The tapset's <c>syscall.*</c> aliases stand on these. A call that this
/// architecture does not have resolves to nothing.
/// </summary>
public sealed class SyscallFamily : ProbeFamily
{
    /// <inheritdoc/>
    public override IReadOnlyList<IReadOnlyList<ComponentPattern>> Forms { get; } = ProbeForms.Of(
        "kernel.syscall(S)", "kernel.syscall(S).return", "kernel.compat_syscall(S)", "kernel.compat_syscall(S).return",
        "kernel.syscall_any", "kernel.syscall_any.return");

    /// <inheritdoc/>
    public override Privilege Privilege => Privilege.System;

    /// <inheritdoc/>
    public override string ArgumentNoun => "system call";

    /// <inheritdoc/>
    public override void Resolve(ProbeMatch match, ResolveScope scope, List<ResolvedPoint> results)
    {
        var isReturn = (match.FormIndex & 1) != 0;
        if (match.FormIndex >= 4)
        {
            Add(match.Point.ToString(), new SyscallSpec(-1, "", isReturn, false), results);
            return;
        }

        var isCompat = match.FormIndex >= 2;
        var table = Table(isCompat, scope);
        var pattern = match.Text(1);
        if (!Globs.IsPattern(pattern))
        {
            var number = table.Number(pattern);
            if (number >= 0)
            {
                Add(match.Point.ToString(), new SyscallSpec(number, pattern, isReturn, isCompat), results);
            }

            return;
        }

        var names = table.Names;
        for (var number = 0; number < names.Length; number++)
        {
            if (names[number] is { } name && Globs.Matches(pattern, name))
            {
                Add(Literal.WithText(match.Point, 1, name).ToString(), new SyscallSpec(number, name, isReturn, isCompat), results);
            }
        }
    }

    /// <inheritdoc/>
    public override IEnumerable<string> Candidates(ProbeMatch match, ResolveScope scope)
    {
        if (match.FormIndex >= 4)
        {
            return [];
        }

        var names = new List<string>();
        foreach (var name in Table(match.FormIndex >= 2, scope).Names)
        {
            if (name is not null)
            {
                names.Add(name);
            }
        }

        return names;
    }

    private static SyscallTable Table(bool isCompat, ResolveScope scope) =>
        isCompat ? scope.Target.Architecture.CompatSyscalls : scope.Target.Architecture.Syscalls;

    private static void Add(string text, SyscallSpec spec, List<ResolvedPoint> results) =>
        results.Add(new ResolvedPoint(spec, text, spec.IsReturn ? new SyscallContext(EntryOf(text, spec)) : SyscallContext.AtEntry));

    private static ResolvedPoint EntryOf(string text, SyscallSpec spec) =>
        new(spec with { IsReturn = false }, text[..^".return".Length], SyscallContext.AtEntry);
}

/// <summary><c>$syscall</c> (the number), <c>$arg1…$arg6</c> and, at return, <c>$return</c>.</summary>
/// <remarks>The argument registers keep their values until the call returns, so that they can be read there too.</remarks>
public sealed class SyscallContext : ProbeContext
{
    /// <summary>The context at entry.</summary>
    public static readonly SyscallContext AtEntry = new(null);

    private static readonly ContextVariable[] EntryVariables = List(false);
    private static readonly ContextVariable[] ReturnVariables = List(true);
    private static readonly ContextVariable[] Arguments = EntryVariables[1..];

    internal SyscallContext(ResolvedPoint? entry) => EntryPoint = entry;

    /// <inheritdoc/>
    public override IReadOnlyList<ContextVariable> Variables => EntryPoint is null ? EntryVariables : ReturnVariables;

    /// <inheritdoc/>
    public override IReadOnlyList<ContextVariable> Parameters => EntryPoint is null ? Arguments : [];

    /// <inheritdoc/>
    public override ResolvedPoint? EntryPoint { get; }

    /// <inheritdoc/>
    public override TypedValue? Resolve(string name, SourceSpan span)
    {
        var expr = name switch
        {
            "$syscall" => new ContextExpr(ContextValue.SyscallNumber, 0, span),
            "$return" when EntryPoint is not null => new ContextExpr(ContextValue.SyscallReturn, 0, span),
            ['$', 'a', 'r', 'g', >= '1' and <= '6'] => new ContextExpr(ContextValue.SyscallArgument, name[4] - '1', span),
            _ => null,
        };
        return expr is null ? null : new TypedValue(expr, null);
    }

    private static ContextVariable[] List(bool isReturn) => isReturn
        ? [new("$syscall", "long"), new("$return", "long")]
        : [new("$syscall", "long"), new("$arg1", "long"), new("$arg2", "long"), new("$arg3", "long"), new("$arg4", "long"), new("$arg5", "long"), new("$arg6", "long")];
}
