using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Probes.User;
using SystemTap.Targets;

namespace SystemTap.Semantics.Probes.Families;

/// <summary>Calls of imported functions: <c>process….plt[("NAME")][.return]</c>, at the stubs of the procedure linkage table. <c>$$name</c>, <c>$arg1…</c>, <c>$return</c>.</summary>
public sealed class UserPltFamily : ProbeFamily
{
    private static readonly string[] Ends = ["plt", "plt(S)", "plt.return", "plt(S).return"];

    /// <inheritdoc/>
    public override IReadOnlyList<IReadOnlyList<ComponentPattern>> Forms { get; } = UserRoots.Forms(Ends);

    /// <inheritdoc/>
    public override Privilege Privilege => Privilege.User;

    /// <inheritdoc/>
    public override string ArgumentNoun => "imported function";

    /// <inheritdoc/>
    public override void Resolve(ProbeMatch match, ResolveScope scope, List<ResolvedPoint> results)
    {
        var end = match.FormIndex % Ends.Length;
        var roots = UserRoots.Find(match, Ends.Length, scope);
        var before = results.Count;
        foreach (var root in roots)
        {
            var pattern = root.Point.Components[root.End].Argument is StringLiteral text ? text.Value : "*";
            foreach (var entry in root.File.Plt)
            {
                if (Globs.Matches(pattern, entry.Name))
                {
                    Add(root, entry, end >= 2, scope, results);
                }
            }
        }

        if (results.Count > before || scope.Diagnostics.HasErrors || roots.Count != 1)
        {
            return;
        }

        var file = roots[0].File;
        var at = roots[0].End;
        var wanted = roots[0].Point.Components[at].Argument is StringLiteral s ? s.Value : "*";
        scope.Diagnostics.Error("probe.no-plt", Literal.ArgumentSpan(roots[0].Point, at), file.Plt.Count == 0
            ? $"\"{file.Path}\" calls no imported functions through stubs"
            : $"\"{file.Path}\" does not call \"{wanted}\" through a stub",
            file.Plt.Count == 0 ? "it is static, or linked with -z now -fno-plt; probe the library's function" : Names.Hint(Names.Similar(wanted, file.Plt.Select(p => p.Name))));
    }

    private static void Add(UserRoot root, PltEntry entry, bool isReturn, ResolveScope scope, List<ResolvedPoint> results)
    {
        if (root.File.Elf.FileOffset(entry.Address) is not { } offset)
        {
            return;
        }

        if (isReturn && ReturnSites.KeepsAddress(entry.Name))
        {
            if (root.Point.Components[root.End].Argument is StringLiteral { Value: var written } && !Globs.IsPattern(written))
            {
                scope.Diagnostics.Error("probe.no-return", Literal.ArgumentSpan(root.Point, root.End),
                    $"function \"{entry.Name}\" keeps its return address for a later jump: a return probe would send that jump to nowhere", "probe its call: leave .return out");
            }

            return;
        }

        var point = Literal.WithText(root.Point, root.End, entry.Name);
        var called = new ResolvedPoint(new UserFunctionSpec(root.File.Path, offset, false, root.Filter) { Symbol = entry.Name },
            isReturn ? point.ToString()[..^".return".Length] : point.ToString(), new PltContext(scope.Target, root.File, entry, null));
        results.Add(!isReturn ? called
            : new ResolvedPoint(new UserFunctionSpec(root.File.Path, offset, true, root.Filter) { Symbol = entry.Name }, point.ToString(), new PltContext(scope.Target, root.File, entry, called)));
    }

    private sealed class PltContext(Target target, UserFile file, PltEntry plt, ResolvedPoint? entry) : UserContext(target, file, plt.Address)
    {
        protected override bool IsAtAddress => entry is null;

        public override ResolvedPoint? EntryPoint => entry;

        public override IReadOnlyList<ContextVariable> Variables => [];

        public override TypedValue? Resolve(string name, SourceSpan span)
        {
            if (name == "$$name")
            {
                return new TypedValue(new StringConst(plt.Name, span), null);
            }

            if (entry is not null)
            {
                return name == "$return" ? new TypedValue(new ContextExpr(ContextValue.FunctionReturn, 0, span), null) : null;
            }

            return name.StartsWith("$arg", StringComparison.Ordinal) && int.TryParse(name.AsSpan(4), out var number) && number is >= 1 and <= 32
                ? new TypedValue(new ContextExpr(ContextValue.FunctionArgument, number - 1, span), null)
                : null;
        }
    }
}
