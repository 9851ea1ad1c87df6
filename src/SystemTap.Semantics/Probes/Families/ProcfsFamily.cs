using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Semantics.Probes.Families;

/// <summary>
/// <c>procfs("PATH").read</c> and <c>.write</c>: a file of the session that runs a handler when someone reads or writes it. Without a path it is
/// called "command". <c>.umask(U)</c> takes away permissions from 0400 (read), 0200 (write); <c>.maxsize(N)</c> is the longest text in bytes.
/// </summary>
public sealed class ProcfsFamily : ProbeFamily
{
    /// <summary>The path when none is written.</summary>
    public const string DefaultPath = "command";

    /// <inheritdoc/>
    public override IReadOnlyList<IReadOnlyList<ComponentPattern>> Forms { get; } = ProbeForms.Of(
        "procfs.read", "procfs.read.maxsize(N)", "procfs.umask(N).read", "procfs.umask(N).read.maxsize(N)", "procfs.write", "procfs.umask(N).write",
        "procfs(S).read", "procfs(S).read.maxsize(N)", "procfs(S).umask(N).read", "procfs(S).umask(N).read.maxsize(N)", "procfs(S).write", "procfs(S).umask(N).write");

    /// <inheritdoc/>
    public override Privilege Privilege => Privilege.System;

    /// <inheritdoc/>
    public override void Resolve(ProbeMatch match, ResolveScope scope, List<ResolvedPoint> results)
    {
        var components = match.Point.Components;
        var path = components[0].Argument is null ? DefaultPath : match.Text(0);
        if (Fault(path) is { } fault)
        {
            scope.Diagnostics.Error("probe.procfs-path", Literal.ArgumentSpan(match.Point, 0), $"procfs path \"{path}\" cannot be used: {fault}",
                "write a path such as \"name\" or \"folder/name\"");
            return;
        }

        var spec = new ProcfsSpec(path, false);
        for (var i = 1; i < components.Count; i++)
        {
            switch (components[i].Name)
            {
                case "write":
                    spec = spec with { IsWrite = true };
                    break;
                case "umask" when match.Number(i) is >= 0 and <= 511:
                    spec = spec with { Umask = (int)match.Number(i) };
                    break;
                case "maxsize" when match.Number(i) is > 0 and <= 64 * 1024 * 1024:
                    spec = spec with { MaxSize = (int)match.Number(i) };
                    break;
                case "umask":
                    scope.Diagnostics.Error("probe.procfs-range", components[i].Span, $"procfs umask '{match.Number(i)}' is out of range: it must lie between 0 and 0777");
                    return;
                case "maxsize":
                    scope.Diagnostics.Error("probe.procfs-range", components[i].Span, $"procfs maxsize '{match.Number(i)}' is out of range: it must lie between 1 and 67108864 bytes");
                    return;
            }
        }

        results.Add(new ResolvedPoint(spec, match.Point.ToString(), spec.IsWrite ? ProcfsContext.Write : ProcfsContext.Read));
    }

    private static string? Fault(string path)
    {
        if (path.Length == 0)
        {
            return "it is empty";
        }

        if (path[0] == '/' || path[^1] == '/')
        {
            return "it must be relative and name a file";
        }

        foreach (var range in path.AsSpan().Split('/'))
        {
            var part = path.AsSpan(range);
            if (part.IsEmpty || part is "." or "..")
            {
                return "its parts must be plain names";
            }
        }

        return path.Contains('\0') ? "it holds a NUL" : null;
    }
}

/// <summary><c>$value</c>, a string: what was written, or what the reader will get.</summary>
/// <remarks>
/// In a read probe <c>$value</c> is a local of the handler (see <see cref="ProcfsSpec.Value"/>): lowering maps this context's expression and
/// assignments to it. In a write probe it cannot be assigned.
/// </remarks>
public sealed class ProcfsContext : ProbeContext
{
    public static readonly ProcfsContext Read = new(false);
    public static readonly ProcfsContext Write = new(true);
    private static readonly ContextVariable[] Value = [new("$value", "string")];

    private ProcfsContext(bool isWrite) => IsWrite = isWrite;

    /// <summary>The probe runs when someone writes the file.</summary>
    public bool IsWrite { get; }

    /// <inheritdoc/>
    public override IReadOnlyList<ContextVariable> Variables => Value;

    /// <inheritdoc/>
    public override TypedValue? Resolve(string name, SourceSpan span) =>
        name == "$value" ? new TypedValue(new ContextExpr(ContextValue.ProcfsValue, 0, span), null) : null;
}
