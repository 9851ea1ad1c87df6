using System.Text;
using SystemTap.Language.Syntax;
using SystemTap.Targets;

namespace SystemTap.Semantics.Probes;

/// <summary>A form of a family, or the definitions of an alias, that a probe point leads to.</summary>
/// <param name="Node">Where it ends in the tree.</param>
/// <param name="Point">The point with concrete component names.</param>
/// <param name="Used">How many components the node stands for; what follows is a suffix for an alias' underlying points.</param>
internal readonly record struct TreeMatch(ProbeTree.Node Node, ProbePoint Point, int Used);

/// <summary>
/// All spellings of probe points, as a tree of components: native forms and the aliases loaded so far. A name is found by one look-up for each
/// component, a wildcard looks at the children of one node only, so that <c>syscall.*</c> costs what its 350 results cost.
/// </summary>
/// <remarks>
/// A wildcard component matches children with the same kind of argument (<c>timer.*</c> does not match <c>timer.s(N)</c>, <c>timer.*(1)</c> does).
/// Names that begin with an underscore are private to the tapset: a pattern that begins with a star does not match them.
/// Where an alias ends and components remain, they are a suffix only if no longer path leads to anything.
/// </remarks>
internal sealed class ProbeTree
{
    private readonly Node _root = new("");

    /// <summary>One component: its children, and what ends here.</summary>
    internal sealed class Node(string text)
    {
        private Dictionary<(string Name, ComponentArgument Kind, LiteralKey Value), Node>? _children;
        private List<Node>? _sorted;

        /// <summary>The component as dumps show it: <c>function(string)</c>.</summary>
        public string Text { get; } = text;

        public string Name { get; private init; } = "";

        public ComponentArgument Kind { get; private init; }

        /// <summary>For aliases that are named with a literal: only this one matches.</summary>
        public LiteralKey Value { get; private init; }

        public ProbeFamily? Family { get; set; }

        public int FormIndex { get; set; }

        public List<AliasDefinition>? Aliases { get; set; }

        /// <summary>The library knows what ends here by another name too: wildcards leave it out, so that they see no event twice.</summary>
        public bool IsSecondName => Aliases is { } aliases && aliases.TrueForAll(static a => a.Span.Source is { IsTapset: true } file && file.Path.EndsWith("/second_names.stp", StringComparison.Ordinal));

        public bool Ends => Family is not null || Aliases is not null;

        public Node? Child(string name, ComponentArgument kind, LiteralKey value) =>
            _children is null ? null
            : value != default && _children.TryGetValue((name, kind, value), out var exact) ? exact
            : _children.GetValueOrDefault((name, kind, default));

        public Node GetOrAdd(string name, ComponentArgument kind, LiteralKey value)
        {
            _children ??= [];
            if (!_children.TryGetValue((name, kind, value), out var child))
            {
                var text = kind switch
                {
                    ComponentArgument.Number => value.Text is null ? name + "(number)" : name + "(" + value.Number + ")",
                    ComponentArgument.String => value.Text is null ? name + "(string)" : name + "(\"" + value.Text + "\")",
                    _ => name,
                };
                _children[(name, kind, value)] = child = new Node(text) { Name = name, Kind = kind, Value = value };
                _sorted = null;
            }

            return child;
        }

        /// <summary>Children by name.</summary>
        public IReadOnlyList<Node> Children
        {
            get
            {
                if (_children is null)
                {
                    return [];
                }

                if (_sorted is null)
                {
                    _sorted = [.. _children.Values];
                    _sorted.Sort(static (a, b) => string.CompareOrdinal(a.Text, b.Text));
                }

                return _sorted;
            }
        }
    }

    /// <summary>An alias' own literal; default for "any".</summary>
    internal readonly record struct LiteralKey(string? Text, long Number)
    {
        public static LiteralKey Of(LiteralExpression? literal) => literal switch
        {
            StringLiteral s => new(s.Value, 0),
            NumberLiteral n => new("", n.Value),
            _ => default,
        };
    }

    public static ComponentArgument KindOf(ProbeComponent component) => component.Argument switch
    {
        null => ComponentArgument.None,
        NumberLiteral => ComponentArgument.Number,
        _ => ComponentArgument.String,
    };

    public Node Root => _root;

    /// <summary>The names of all components.</summary>
    public HashSet<string> Words()
    {
        var words = new HashSet<string>(StringComparer.Ordinal);
        void Add(Node node)
        {
            foreach (var child in node.Children)
            {
                words.Add(child.Name);
                Add(child);
            }
        }

        Add(_root);
        return words;
    }

    public void Add(ProbeFamily family)
    {
        for (var i = 0; i < family.Forms.Count; i++)
        {
            var node = _root;
            foreach (var component in family.Forms[i])
            {
                node = node.GetOrAdd(component.Name, component.Argument, default);
            }

            if (node.Family is null)
            {
                node.Family = family;
                node.FormIndex = i;
            }
        }
    }

    public void Add(AliasDefinition alias)
    {
        foreach (var name in alias.Names)
        {
            var node = _root;
            foreach (var component in name.Components)
            {
                node = node.GetOrAdd(component.Name, KindOf(component), LiteralKey.Of(component.Argument));
            }

            (node.Aliases ??= []).Add(alias);
        }
    }

    /// <summary>Everything the point leads to.</summary>
    public List<TreeMatch> Match(ProbePoint point)
    {
        var results = new List<TreeMatch>();
        Walk(_root, point, 0, results, HasWildcard(point));
        return results;
    }

    public static bool HasWildcard(ProbePoint point)
    {
        foreach (var component in point.Components)
        {
            if (IsWildcard(component.Name))
            {
                return true;
            }
        }

        return false;
    }

    public static bool IsWildcard(string name) => name.AsSpan().IndexOfAny("*?[") >= 0;

    private static bool Walk(Node node, ProbePoint point, int at, List<TreeMatch> results, bool inWildcard)
    {
        if (at == point.Components.Count)
        {
            if (!node.Ends)
            {
                return false;
            }

            results.Add(new TreeMatch(node, point, at));
            return true;
        }

        var component = point.Components[at];
        var kind = KindOf(component);
        var found = false;
        if (!IsWildcard(component.Name))
        {
            found = node.Child(component.Name, kind, LiteralKey.Of(component.Argument)) is { } child && Walk(child, point, at + 1, results, inWildcard);
        }
        else if (component.Name.Contains("**", StringComparison.Ordinal))
        {
            foreach (var child in node.Children)
            {
                found |= Deep(child, point, at, [], component, kind, results);
            }
        }
        else
        {
            foreach (var child in node.Children)
            {
                if (Fits(child, component, kind) && Globs.Matches(component.Name, child.Name))
                {
                    found |= Walk(child, Replace(point, at, [child.Name]), at + 1, results, true);
                }
            }
        }

        if (found)
        {
            return true;
        }

        var suffix = node.Aliases is not null || node.Family is { IsOpenEnded: true } && !inWildcard;
        if (suffix)
        {
            results.Add(new TreeMatch(node, point, at));
        }

        return suffix;
    }

    private static bool Fits(Node child, ProbeComponent component, ComponentArgument kind) =>
        child.Kind == kind && child.Family is not { IsAvailable: false } && !child.IsSecondName && !(child.Name[0] == '_' && component.Name[0] == '*') && (child.Value == default || child.Value == LiteralKey.Of(component.Argument));

    /// <summary><c>**</c>: the component stands for one component or more, all without arguments except the last, which has the component's own.</summary>
    private static bool Deep(Node child, ProbePoint point, int at, string[] before, ProbeComponent component, ComponentArgument kind, List<TreeMatch> results)
    {
        if (child.Family is { IsAvailable: false })
        {
            return false;
        }

        string[] names = [.. before, child.Name];
        var found = false;
        if (Fits(child, component, kind) && Globs.Matches(component.Name, string.Join('.', names)))
        {
            found = Walk(child, Replace(point, at, names), at + names.Length, results, true);
        }

        if (child.Kind == ComponentArgument.None)
        {
            foreach (var next in child.Children)
            {
                found |= Deep(next, point, at, names, component, kind, results);
            }
        }

        return found;
    }

    /// <summary>The point with a wildcard component replaced by concrete ones; the last of them takes its argument.</summary>
    private static ProbePoint Replace(ProbePoint point, int at, string[] names)
    {
        var components = new ProbeComponent[point.Components.Count - 1 + names.Length];
        for (int from = 0, to = 0; from < point.Components.Count; from++)
        {
            var old = point.Components[from];
            if (from != at)
            {
                components[to++] = old;
                continue;
            }

            for (var i = 0; i < names.Length; i++)
            {
                components[to++] = new ProbeComponent(old.Span, names[i], i == names.Length - 1 ? old.Argument : null);
            }
        }

        return new ProbePoint(point.Span, components, point.IsOptional, point.IsSufficient, point.Condition);
    }

    /// <summary>How far a point can be followed, for messages: the last node reached and the index of the component that leads nowhere.</summary>
    public (Node Last, int At) Reach(ProbePoint point)
    {
        var node = _root;
        for (var i = 0; i < point.Components.Count; i++)
        {
            var component = point.Components[i];
            if (IsWildcard(component.Name) || node.Child(component.Name, KindOf(component), LiteralKey.Of(component.Argument)) is not { } child)
            {
                return (node, i);
            }

            node = child;
        }

        return (node, point.Components.Count);
    }

    /// <summary>The concrete text of the first <paramref name="count"/> components.</summary>
    public static string Text(ProbePoint point, int count)
    {
        var sb = new StringBuilder();
        for (var i = 0; i < count; i++)
        {
            if (i > 0)
            {
                sb.Append('.');
            }

            sb.Append(point.Components[i]);
        }

        return sb.ToString();
    }
}
