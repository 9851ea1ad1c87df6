using SystemTap.Language.Syntax;
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
            Add(match.Point.ToString(), new SyscallSpec(-1, "", isReturn, false), scope.Target, results);
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
                Add(match.Point.ToString(), new SyscallSpec(number, pattern, isReturn, isCompat), scope.Target, results);
            }

            return;
        }

        var names = table.Names;
        for (var number = 0; number < names.Length; number++)
        {
            if (names[number] is { } name && Globs.Matches(pattern, name))
            {
                Add(Literal.WithText(match.Point, 1, name).ToString(), new SyscallSpec(number, name, isReturn, isCompat), scope.Target, results);
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

    private static void Add(string text, SyscallSpec spec, Target target, List<ResolvedPoint> results)
    {
        var entry = new ResolvedPoint(spec with { IsReturn = false }, spec.IsReturn ? text[..^".return".Length] : text, new SyscallContext(null, spec, target));
        results.Add(spec.IsReturn ? new ResolvedPoint(spec, text, new SyscallContext(entry, spec, target)) : entry);
    }
}

/// <summary>
/// <c>$syscall</c> (the number), <c>$arg1…$arg6</c>, at return <c>$return</c>, and for a single call its parameters by the names and types of the kernel's
/// definition: <c>$fd</c>, <c>$filename</c>. Pointers point into user memory.
/// </summary>
/// <remarks>The argument registers keep their values until the call returns, so that they can be read there too.</remarks>
public sealed class SyscallContext : ProbeContext
{
    /// <summary>The context at entry of any call.</summary>
    public static readonly SyscallContext AtEntry = new(null);

    private static readonly ContextVariable[] EntryVariables = [new("$syscall", "long"), .. Enumerable.Range(1, 6).Select(n => new ContextVariable("$arg" + n, "long"))];
    private static readonly ContextVariable[] ReturnVariables = [new("$syscall", "long"), new("$return", "long")];
    private static readonly ContextVariable[] Arguments = EntryVariables[1..];

    private readonly SyscallSpec? _call;
    private readonly Target? _target;
    private SyscallParameter[]? _parameters;
    private ContextVariable[]? _named;

    internal SyscallContext(ResolvedPoint? entry) => EntryPoint = entry;

    internal SyscallContext(ResolvedPoint? entry, SyscallSpec call, Target target)
        : this(entry) => (_call, _target) = (call, target);

    /// <inheritdoc/>
    public override IReadOnlyList<ContextVariable> Variables => Names.Length == 0
        ? EntryPoint is null ? EntryVariables : ReturnVariables
        : EntryPoint is null ? Named : [.. Named, ReturnVariables[1]];

    /// <inheritdoc/>
    public override IReadOnlyList<ContextVariable> Parameters => Names.Length > 0 ? Named : EntryPoint is null && _call is not { Number: >= 0 } ? Arguments : [];

    /// <inheritdoc/>
    public override ResolvedPoint? EntryPoint { get; }

    private SyscallParameter[] Names => _parameters ??= _call is { Number: >= 0 } ? SyscallParameters.Of(_call.Name) : [];

    private ContextVariable[] Named => _named ??=
        [.. Names.Select(p => new ContextVariable("$" + p.Name, p.Pointers > 0 ? p.Type + new string('*', p.Pointers) : p.Type))];

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
        if (expr is not null)
        {
            return new TypedValue(expr, null);
        }

        var index = Array.FindIndex(Names, p => name.AsSpan(1).SequenceEqual(p.Name));
        return index < 0 ? null : Value(index, Names[index], span);
    }

    /// <summary>The register of an argument, extended from the parameter's size: the rest of it is whatever the program had there.</summary>
    private TypedValue Value(int index, SyscallParameter parameter, SourceSpan span)
    {
        var raw = new ContextExpr(ContextValue.SyscallArgument, index, span);
        var found = parameter is { Type: "void", Pointers: 1 } ? null : new Targeting.TypeFinder(_target!).Find(parameter.Type, null, null, out _);
        if (parameter.Pointers > 0)
        {
            return new TypedValue(raw, found is { } pointee && !_call!.IsCompat ? new CType(pointee.Type, true, false) { PointerDepth = parameter.Pointers } : null);
        }

        // Without the kernel's types: what C programs mean by an int.
        var (size, isSigned) = found is { } known ? (known.Type.Size, known.Type.IsSigned) : (parameter.Type == "int" ? 4 : 8, true);
        if (found is { Type.IsPointer: true })
        {
            return new TypedValue(raw, new CType(found.Value.Type, true, false));
        }

        var bits = 64 - (8 * (long)size);
        Expr value = bits is <= 0 or >= 64 ? raw
            : isSigned ? Shift(BinaryOperator.ShiftRight, Shift(BinaryOperator.ShiftLeft, raw, bits, span), bits, span)
            : new BinaryExpr(BinaryOperator.BitAnd, raw, new LongConst((1L << (8 * (int)size)) - 1, span), span);
        return new TypedValue(value, found is { } type ? new CType(type.Type, false, false) : null);
    }

    private static BinaryExpr Shift(BinaryOperator op, Expr value, long bits, SourceSpan span) => new(op, value, new LongConst(bits, span), span);
}
