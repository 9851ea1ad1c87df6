using SystemTap.Language.Diagnostics;
using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Tapsets;

namespace SystemTap.Semantics.Probes;

// From a script's probe point to events.
//
//   point ── tree of spellings ──► native form ── family ──► ResolvedPoint        one event
//                    └───────────► alias ── its points + suffix ──► the same again, one level deeper
//
// The rules that decide what happens when nothing is found:
//  * "?" and "!" on a use hold for everything below it. An optional point that leads to nothing vanishes with its complaints.
//  * After a point with "!" that led to something, the rest of its list (the script's, or the alias' own) is not looked at.
//  * Below a wildcard, members that fail are left out silently as long as one succeeds.
//  * Otherwise the innermost complaint is reported, with the aliases passed on the way as its context.
// To keep these rules in one place every attempt writes into a diagnostic bag of its own, which its caller keeps or drops.

/// <summary>Expands probe points: aliases, wildcards, families. One for each session; not safe for concurrent use.</summary>
public sealed class ProbeResolver
{
    private const int DeepestAlias = 64;

    private readonly ResolveScope _scope;
    private readonly ITapsetLibrary _library;
    private readonly ProbeTree _tree = new();
    private readonly HashSet<ScriptFile> _loaded = [];
    private readonly HashSet<SourceText> _used = [];
    private readonly List<ScriptFile> _joined = [];

    /// <param name="scope">The machine and where complaints go.</param>
    /// <param name="library">Where aliases that no user file defines come from.</param>
    /// <param name="userFiles">The script and additional scripts, whose aliases are known from the start.</param>
    public ProbeResolver(ResolveScope scope, ITapsetLibrary library, IEnumerable<ScriptFile> userFiles)
    {
        _scope = scope;
        _library = library;
        foreach (var family in ProbeFamilies.All)
        {
            _tree.Add(family);
        }

        foreach (var file in userFiles)
        {
            Load(file);
        }
    }

    /// <summary>Tapset files whose aliases have been used so far: they belong to the session with all their definitions.</summary>
    public IReadOnlyList<ScriptFile> JoinedFiles => _joined;

    internal ProbeTree Tree => _tree;

    internal ResolveScope Scope => _scope;

    /// <summary>
    /// All events of a probe definition, in the order of its points. Errors are in the session's diagnostics; an empty result without errors
    /// means that all points were optional and none exists here.
    /// </summary>
    public List<ExpandedProbe> Expand(ProbeDefinition probe) => Expand(probe.Points, _scope.Diagnostics);

    /// <summary>All events of one point.</summary>
    public List<ExpandedProbe> Expand(ProbePoint point) => Expand([point], _scope.Diagnostics);

    /// <summary>The same without reporting anything to the session.</summary>
    public List<ExpandedProbe> TryExpand(ProbePoint point, DiagnosticBag diagnostics) => Expand([point], diagnostics);

    /// <summary>All events of a list of points.</summary>
    private List<ExpandedProbe> Expand(IReadOnlyList<ProbePoint> points, DiagnosticBag diagnostics)
    {
        var results = new List<ExpandedProbe>();
        foreach (var point in points)
        {
            var before = results.Count;
            _obstacle = null;
            One(point, new Path([], [], null, point.IsOptional, point.IsSufficient), diagnostics, results);
            if (results.Count > before && point.IsSufficient)
            {
                break;
            }
        }

        return results;
    }

    /// <summary>Why an optional point was left out last, below the point of the script that is being expanded.</summary>
    private string? _obstacle;

    /// <summary>What has been passed on the way to a point.</summary>
    private sealed record Path(IReadOnlyList<AliasStep> Aliases, IReadOnlyList<Expression> Conditions, string? Name, bool Optional, bool Sufficient);

    private void One(ProbePoint point, Path path, DiagnosticBag diagnostics, List<ExpandedProbe> results)
    {
        LoadAliases(point);
        var own = new DiagnosticBag();
        var before = results.Count;
        if (point.Condition is { } condition)
        {
            path = path with { Conditions = [.. path.Conditions, condition] };
        }

        var matches = _tree.Match(point);
        var isWildcard = ProbeTree.HasWildcard(point);
        foreach (var match in matches)
        {
            var found = results.Count;
            var attempt = isWildcard ? new DiagnosticBag() : own;
            Enter(match, path, attempt, results);
            if (isWildcard && results.Count == found && !own.HasErrors)
            {
                Move(attempt, own);
            }
        }

        if (results.Count > before)
        {
            // Something was found: complaints about other members of a wildcard are of no interest, those of a plain point are.
            if (!isWildcard && !path.Optional)
            {
                Move(own, diagnostics);
            }

            return;
        }

        if (path.Optional)
        {
            return;
        }

        if (!own.HasErrors)
        {
            if (matches.Count == 0)
            {
                own.Add(Mismatch(point));
            }
            else if (matches[0].Node.Family is { } family && (_obstacle is null || path.Aliases.Count == 0))
            {
                own.Add(NoMatch(family, matches[0]));
            }
            else
            {
                // An alternative that is there but cannot be probed is the reason, not that the last one does not exist.
                own.Add(new Diagnostic("probe.no-match", Severity.SemanticError, $"no match for '{path.Name ?? point.ToString()}', while resolving probe point", point.Components[0].Span)
                {
                    Hint = _obstacle is { } why ? "what is behind the alias cannot be probed here: " + why
                        : Misspelt(point, matches[0].Used) ?? "none of the points behind the alias exists on this machine",
                });
            }
        }

        Move(own, diagnostics, path.Aliases);
    }

    /// <summary>What follows an alias goes to the points behind it: a word that no point has.</summary>
    private string? Misspelt(ProbePoint point, int used) =>
        used < point.Components.Count && _tree.Words() is var words && !words.Contains(point.Components[used].Name) ? Suggestions.DidYouMean(point.Components[used].Name, words, 1) : null;

    private void Enter(TreeMatch match, Path path, DiagnosticBag diagnostics, List<ExpandedProbe> results)
    {
        if (match.Node.Family is { } family)
        {
            Native(family, match, path, diagnostics, results);
        }

        if (match.Node.Aliases is not { } aliases)
        {
            return;
        }

        var use = Use(match.Point, match.Used);
        foreach (var alias in aliases)
        {
            if (path.Aliases.Count >= DeepestAlias)
            {
                diagnostics.Error("probe.alias-depth", use, $"'{ProbeTree.Text(match.Point, match.Used)}' is the {DeepestAlias + 1}th alias of a chain in which each is built on the next",
                    $"at most {DeepestAlias} may follow each other: let one end at a probe point that is no alias");
                continue;
            }

            if (IsInside(alias, path.Aliases))
            {
                // A native point of the same name is what such an alias means: probe begin = begin { … }.
                if (match.Node.Family is null)
                {
                    diagnostics.Error("probe.alias-loop", use, $"recursive loop in alias expansion of '{ProbeTree.Text(match.Point, match.Used)}'",
                        "make the alias end at a probe point that is not built on it");
                }

                continue;
            }

            Join(alias);
            var step = new AliasStep(alias, alias.IsEpilogueStyle ? null : alias.Body, alias.IsEpilogueStyle ? alias.Body : alias.Epilogue, use);
            var inner = path with { Aliases = [.. path.Aliases, step], Name = path.Name ?? match.Point.ToString() };
            foreach (var under in alias.Points)
            {
                var before = results.Count;
                var optional = under.IsOptional || under.IsSufficient || path.Optional;
                var sufficient = under.IsSufficient || path.Sufficient;
                One(WithSuffix(under, match), inner with { Optional = optional, Sufficient = sufficient }, diagnostics, results);
                if (results.Count > before && sufficient)
                {
                    break;
                }
            }
        }
    }

    private void Native(ProbeFamily family, TreeMatch match, Path path, DiagnosticBag diagnostics, List<ExpandedProbe> results)
    {
        if (family.Privilege > _scope.Granted && family.IsAvailable)
        {
            diagnostics.Error("probe.privilege", match.Point.Components[0].Span, $"probe point '{match.Point}' is not allowed at this privilege level",
                "run as a member of group " + (family.Privilege == Privilege.System ? "stapsys" : "stapdev"));
            return;
        }

        var points = new List<ResolvedPoint>();
        family.Resolve(new ProbeMatch(match.Node.FormIndex, match.Point), _scope with { Diagnostics = diagnostics }, points);
        foreach (var point in points)
        {
            point.Context.RunBy(_scope.Runtime);
            if ((path.Optional || path.Sufficient) && _scope.Obstacle?.Invoke(point) is { } obstacle)
            {
                _obstacle = obstacle;
                continue;
            }

            results.Add(new ExpandedProbe(point with { Privilege = family.Privilege }, path.Name ?? point.ListText, path.Aliases, path.Conditions));
        }
    }

    private static bool IsInside(AliasDefinition alias, IReadOnlyList<AliasStep> steps)
    {
        foreach (var step in steps)
        {
            if (ReferenceEquals(step.Alias, alias))
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>An alias' point with what the use wrote behind the alias' name.</summary>
    private static ProbePoint WithSuffix(ProbePoint under, TreeMatch match)
    {
        var suffix = match.Point.Components.Count - match.Used;
        if (suffix == 0)
        {
            return under;
        }

        var components = new ProbeComponent[under.Components.Count + suffix];
        for (var i = 0; i < under.Components.Count; i++)
        {
            components[i] = under.Components[i];
        }

        for (var i = 0; i < suffix; i++)
        {
            components[under.Components.Count + i] = match.Point.Components[match.Used + i];
        }

        return new ProbePoint(under.Span, components, under.IsOptional, under.IsSufficient, under.Condition);
    }

    private static SourceSpan Use(ProbePoint point, int count) => point.Components[0].Span.To(point.Components[count - 1].Span);

    // -------------------------------------------------------------------------------------------------------- aliases

    /// <summary>Brings the library's aliases that the point may mean into the tree.</summary>
    internal void LoadAliases(ProbePoint point)
    {
        foreach (var file in _library.FilesWithAlias(point.Components))
        {
            Load(file);
        }
    }

    private void Load(ScriptFile file)
    {
        if (!_loaded.Add(file))
        {
            return;
        }

        foreach (var item in file.Items)
        {
            if (item is AliasDefinition alias)
            {
                _tree.Add(alias);
            }
        }
    }

    private void Join(AliasDefinition alias)
    {
        var source = alias.Span.Source;
        if (source is not { IsTapset: true } || !_used.Add(source))
        {
            return;
        }

        foreach (var file in _loaded)
        {
            if (ReferenceEquals(file.Source, source))
            {
                _joined.Add(file);
                return;
            }
        }
    }

    // ------------------------------------------------------------------------------------------------------- messages

    private Diagnostic NoMatch(ProbeFamily family, TreeMatch match)
    {
        for (var i = match.Point.Components.Count - 1; i >= 0; i--)
        {
            if (match.Point.Components[i].Argument is StringLiteral text)
            {
                var similar = Names.Similar(Bare(text.Value), family.Candidates(new ProbeMatch(match.Node.FormIndex, match.Point), _scope));
                return new Diagnostic("probe.no-match", Severity.SemanticError,
                    $"no match for {family.ArgumentNoun} \"{text.Value}\", while resolving probe point", match.Point.Components[0].Span)
                {
                    Hint = family.WhyNone(text.Value, _scope) ?? Names.Hint(similar),
                };
            }
        }

        return new Diagnostic("probe.no-match", Severity.SemanticError, $"no match for '{match.Point}', while resolving probe point", match.Point.Components[0].Span);
    }

    /// <summary>The name behind a <c>system:</c> or a folder, which is where people mistype.</summary>
    private static string Bare(string text) => text[(text.LastIndexOfAny([':', '/']) + 1)..];

    private Diagnostic Mismatch(ProbePoint point)
    {
        var (last, at) = _tree.Reach(point);
        if (at == point.Components.Count)
        {
            return new Diagnostic("probe.incomplete", Severity.SemanticError,
                $"probe point '{point}' is not complete, while resolving probe point", point.Components[^1].Span) { Hint = Continue(last) };
        }

        // Only files that could hold the point were loaded: the library knows further beginnings than the tree.
        var known = at;
        while (at < point.Components.Count && !ProbeTree.IsWildcard(point.Components[at].Name) && LibraryGoesOn(point, at))
        {
            at++;
        }

        if (at == point.Components.Count)
        {
            return new Diagnostic("probe.incomplete", Severity.SemanticError, $"probe point '{point}' is not complete, while resolving probe point", point.Components[^1].Span);
        }

        var component = point.Components[at];
        var kind = ProbeTree.KindOf(component);
        foreach (var child in last.Children)
        {
            if (child.Name == component.Name && child.Kind != kind)
            {
                return new Diagnostic("probe.argument", Severity.SemanticError, kind == ComponentArgument.None
                    ? $"probe point component '{component.Name}' needs an argument, while resolving probe point"
                    : child.Kind == ComponentArgument.None
                        ? $"probe point component '{component.Name}' takes no argument, while resolving probe point"
                        : $"probe point component '{component.Name}' takes a {(child.Kind == ComponentArgument.Number ? "number" : "string")}, while resolving probe point", component.Span)
                {
                    Hint = "write " + child.Text,
                };
            }
        }

        var names = new List<string>();
        foreach (var child in last.Children)
        {
            names.Add(child.Name);
        }

        foreach (var alias in _library.AliasNames)
        {
            if (Part(alias, point, at) is { } part)
            {
                names.Add(part);
            }
        }

        var similar = Names.Similar(component.Name, names);
        return new Diagnostic("probe.unknown", Severity.SemanticError,
            $"no match for '{component.Name}'" + (at == 0 ? "" : $" of '{ProbeTree.Text(point, at)}'") + ", while resolving probe point", component.Span)
        {
            Hint = Names.Hint(similar) ?? (at == 0 ? "list what there is with --dump-probe-types and --dump-probe-aliases"
                : (at == known ? Continue(last) : null) ?? (names.Count > 0 ? OneOf(names, ProbeTree.Text(point, at)) : null)),
        };
    }

    private static string OneOf(List<string> names, string before)
    {
        string[] all = [.. names.Distinct().Order(StringComparer.Ordinal)];
        return all.Length <= 12 ? "use one of: " + string.Join(", ", all) : $"list them with stap -l '{before}.*'";
    }

    private bool LibraryGoesOn(ProbePoint point, int at)
    {
        foreach (var alias in _library.AliasNames)
        {
            if (Part(alias, point, at) == point.Components[at].Name)
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>Component <paramref name="at"/> of an alias whose earlier ones are the point's.</summary>
    private static string? Part(string alias, ProbePoint point, int at)
    {
        var i = 0;
        foreach (var range in alias.AsSpan().Split('.'))
        {
            var part = alias.AsSpan(range);
            if (i == at)
            {
                return part.ToString();
            }

            if (!part.SequenceEqual(point.Components[i].Name))
            {
                return null;
            }

            i++;
        }

        return null;
    }

    private static string? Continue(ProbeTree.Node node)
    {
        var names = new List<string>();
        foreach (var child in node.Children)
        {
            if (names.Count < 8)
            {
                names.Add(child.Text);
            }
        }

        return names.Count == 0 ? null : "go on with one of: " + string.Join(", ", names);
    }

    private static void Move(DiagnosticBag from, DiagnosticBag to, IReadOnlyList<AliasStep>? aliases = null)
    {
        foreach (var d in from.All)
        {
            if (aliases is not { Count: > 0 } || d.Severity == Severity.Warning || d.Context.Count > 0)
            {
                to.Add(d);
                continue;
            }

            var context = new List<(string, SourceSpan)>();
            for (var i = aliases.Count - 1; i >= 0; i--)
            {
                context.Add(("in expansion of alias '" + aliases[i].Alias.Names[0] + "'", aliases[i].Use));
            }

            to.Add(new Diagnostic(d.Code, d.Severity, d.Message, d.Span) { Saw = d.Saw, Related = d.Related, RelatedMessage = d.RelatedMessage, Hint = d.Hint, Context = context });
        }
    }
}
