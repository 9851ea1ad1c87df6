using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;
using SystemTap.Targets;

namespace SystemTap.Semantics.Probes.Families;

/// <summary>
/// <c>kernel.trace("[system:]glob")</c>: tracepoints with parameters by name, and <c>kernel.tracepoint("glob")</c>: the same found from BTF alone, where
/// scripts say <c>$arg1…</c>. Both spellings give both ways of naming a parameter; only the listing differs.
/// </summary>
public sealed class KernelTraceFamily : ProbeFamily
{
    /// <inheritdoc/>
    public override IReadOnlyList<IReadOnlyList<ComponentPattern>> Forms { get; } = ProbeForms.Of("kernel.trace(S)", "kernel.tracepoint(S)");

    /// <inheritdoc/>
    public override Privilege Privilege => Privilege.System;

    /// <inheritdoc/>
    public override string ArgumentNoun => "tracepoint";

    /// <inheritdoc/>
    public override void Resolve(ProbeMatch match, ResolveScope scope, List<ResolvedPoint> results)
    {
        var pattern = match.Text(1);
        var numbered = match.FormIndex == 1;
        var isPattern = Globs.IsPattern(pattern);
        foreach (var tracepoint in scope.Target.Tracepoints.Match(pattern))
        {
            var system = tracepoint.System ?? SystemWritten(pattern);
            var name = numbered || system is null ? tracepoint.Name : system + ":" + tracepoint.Name;
            var text = Literal.WithText(match.Point, 1, name).ToString();
            var point = new ResolvedPoint(new TracepointSpec(tracepoint.Name, system), text, new TracepointContext(tracepoint, numbered ? "" : system ?? "", numbered));
            if (!isPattern || scope.Obstacle?.Invoke(point) is null)
            {
                results.Add(point);
            }
        }
    }

    /// <inheritdoc/>
    public override IEnumerable<string> Candidates(ProbeMatch match, ResolveScope scope) => scope.Target.Tracepoints.Names;

    /// <inheritdoc/>
    public override string? WhyNone(string pattern, ResolveScope scope)
    {
        if (scope.Target.KernelBtfOrNull is null)
        {
            return "this kernel offers no BTF (/sys/kernel/btf/vmlinux), by which tracepoints are found; use one built with CONFIG_DEBUG_INFO_BTF=y";
        }

        return pattern.Contains(':') && !scope.Target.Tracepoints.SystemsKnown
            ? "which system a tracepoint belongs to stands in tracefs, which cannot be read; run stap as root, or leave out what stands before ':'" : null;
    }

    /// <summary>Where tracefs cannot be read the script's own word is the best there is.</summary>
    private static string? SystemWritten(string pattern)
    {
        var colon = pattern.IndexOf(':');
        return colon > 0 && !Globs.IsPattern(pattern.AsSpan(0, colon)) ? pattern[..colon] : null;
    }
}

/// <summary>Parameters of a tracepoint: <c>$name</c> and <c>$argN</c> (from 1), with <c>$$name</c> and <c>$$system</c> as strings.</summary>
public sealed class TracepointContext : ProbeContext
{
    private readonly Tracepoint _tracepoint;
    private readonly string _system;
    private readonly bool _numbered;
    private ContextVariable[]? _variables;

    /// <param name="tracepoint">The tracepoint.</param>
    /// <param name="system">What <c>$$system</c> says.</param>
    /// <param name="numbered">Listings say <c>$arg1</c> instead of the parameter's name.</param>
    public TracepointContext(Tracepoint tracepoint, string system, bool numbered)
    {
        _tracepoint = tracepoint;
        _system = system;
        _numbered = numbered;
    }

    /// <inheritdoc/>
    public override IReadOnlyList<ContextVariable> Variables => _variables ??= List();

    /// <inheritdoc/>
    public override TypedValue? Resolve(string name, SourceSpan span)
    {
        switch (name)
        {
            case "$$name":
                return new TypedValue(new StringConst(_tracepoint.Name, span), null);
            case "$$system":
                return new TypedValue(new StringConst(_system, span), null);
        }

        var parameters = _tracepoint.Parameters;
        var wanted = name.AsSpan(1);
        for (var i = 0; i < parameters.Count; i++)
        {
            if (wanted.SequenceEqual(parameters[i].Name))
            {
                return Value(i, parameters[i].Type, span);
            }
        }

        return wanted.StartsWith("arg") && int.TryParse(wanted[3..], out var number) && number >= 1 && number <= parameters.Count && wanted[3] != '0'
            ? Value(number - 1, parameters[number - 1].Type, span)
            : null;
    }

    private static TypedValue? Value(int index, BtfType type, SourceSpan span)
    {
        // A struct by value comes in one or two registers, not as an address: there is nothing to point to.
        if (type.IsStructOrUnion || type.IsFloat)
        {
            return null;
        }

        var isPointer = type.IsPointer || type.IsArray;
        var size = isPointer ? 8 : (int)type.Size;
        var pointee = type.IsPointer ? type.Stripped.Target : default;
        var user = type.IsPointer && Targeting.CTypes.PointsToUser(type);
        var value = new ContextExpr(ContextValue.TracepointArgument, index, span)
        {
            Size = size is 1 or 2 or 4 ? size : 8,
            IsSigned = !isPointer && type.IsSigned,
            // The verifier lets a program follow a pointer argument only when its type is in the kernel's own BTF.
            BtfPointee = type.IsPointer && !user && pointee.IsStructOrUnion && pointee.Btf.Base is null ? pointee.Stripped.Id : 0,
        };
        return new TypedValue(value, new CType(type, user, false));
    }

    private ContextVariable[] List()
    {
        var parameters = _tracepoint.Parameters;
        var list = new ContextVariable[parameters.Count];
        for (var i = 0; i < list.Length; i++)
        {
            list[i] = new ContextVariable(_numbered ? "$arg" + (i + 1) : "$" + parameters[i].Name, parameters[i].Type.CompactDeclaration);
        }

        return list;
    }
}
