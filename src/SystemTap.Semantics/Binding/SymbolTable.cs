using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Elaboration;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Semantics.Binding;

/// <summary>
/// The names of a session. User files are declared at once; library files when a name leads to them. A library file is
/// <em>declared</em> (its functions and globals become visible) when binding looks at something in it, and <em>joins</em> (its own probes run)
/// only when something in it is really used: looking whether a removable call has effects must not start the probes of its file.
/// </summary>
internal sealed class SymbolTable
{
    private readonly ElaborationInput _input;
    private readonly Dictionary<string, GlobalSymbol> _userGlobals = new(StringComparer.Ordinal);
    private readonly Dictionary<string, GlobalSymbol> _tapsetGlobals = new(StringComparer.Ordinal);
    private readonly Dictionary<SourceText, Dictionary<string, GlobalSymbol>> _privateGlobals = [];
    private readonly Dictionary<string, List<FunctionSymbol>> _userFunctions = new(StringComparer.Ordinal);
    private readonly Dictionary<string, List<FunctionSymbol>> _tapsetFunctions = new(StringComparer.Ordinal);
    private readonly Dictionary<SourceText, Dictionary<string, List<FunctionSymbol>>> _privateFunctions = [];
    private readonly Dictionary<SourceText, ScriptFile> _files = [];
    private readonly HashSet<SourceText> _joined = [];
    private readonly HashSet<string> _notTapsetGlobals = new(StringComparer.Ordinal);
    private readonly HashSet<string> _askedFunctions = new(StringComparer.Ordinal);
    private readonly Dictionary<(string Name, int Arity, SourceText? File), FunctionSymbol?> _chains = [];
    private HashSet<string>? _writtenByScript;
    private int _globalOrder;
    private int _functionOrder;

    public SymbolTable(ElaborationInput input)
    {
        _input = input;
        foreach (var file in input.Files)
        {
            Declare(file);
        }
    }

    /// <summary>All globals declared so far, in order.</summary>
    public List<GlobalSymbol> Globals { get; } = [];

    /// <summary>Functions of the user's files, in order.</summary>
    public List<FunctionSymbol> UserFunctions { get; } = [];

    /// <summary>Library files that joined.</summary>
    public List<ScriptFile> TapsetFiles { get; } = [];

    /// <summary>Probes of joined library files that wait to be expanded.</summary>
    public Queue<ProbeDefinition> PendingProbes { get; } = new();

    /// <summary>Top-level embedded C of user and joined files.</summary>
    public List<EmbeddedCDefinition> EmbeddedC { get; } = [];

    /// <summary>Makes a library file part of the session.</summary>
    public void Join(SourceText source)
    {
        if (!source.IsTapset || !_joined.Add(source) || !_files.TryGetValue(source, out var file))
        {
            return;
        }

        TapsetFiles.Add(file);
        foreach (var item in file.Items)
        {
            switch (item)
            {
                case ProbeDefinition probe: PendingProbes.Enqueue(probe); break;
                case EmbeddedCDefinition code: EmbeddedC.Add(code); break;
            }
        }
    }

    /// <summary>Makes the file of an alias part of the session.</summary>
    public void JoinAlias(AliasDefinition alias)
    {
        var source = alias.Span.Source;
        if (source is null || !source.IsTapset || _joined.Contains(source))
        {
            return;
        }

        if (!_files.ContainsKey(source) && alias.Names.Count > 0 && alias.Names[0].Components.Count > 0)
        {
            foreach (var file in _input.Library.FilesWithAlias(alias.Names[0].Components[0].Name))
            {
                if (ReferenceEquals(file.Source, source))
                {
                    Declare(file);
                }
            }
        }

        Join(source);
    }

    /// <summary>
    /// The global that a name in a file means, or null (a local). Names in tapset functions and probes never mean globals of the user's files; names in
    /// tapset aliases mean one only when the script itself never writes it, so that the alias must be meant to.
    /// </summary>
    /// <remarks>
    /// SystemTap lets every user global capture the alias' local of the same name and warns. Then <c>global n; probe syscall.* { n[name]++ }</c> fails
    /// as soon as one alias has a local <c>n</c>. The scripts that live by the capture declare <c>global name</c> and only read it: these still work.
    /// </remarks>
    public GlobalSymbol? FindGlobal(string name, SourceText? source, bool inTapsetFunction)
    {
        if (source is not null && _privateGlobals.Count > 0
            && _privateGlobals.TryGetValue(source, out var own) && own.TryGetValue(name, out var found))
        {
            return found;
        }

        if (!inTapsetFunction && _userGlobals.TryGetValue(name, out found) && !(source is { IsTapset: true } && IsWrittenByScript(name)))
        {
            return found;
        }

        if (_tapsetGlobals.TryGetValue(name, out found))
        {
            return found;
        }

        if (_notTapsetGlobals.Contains(name))
        {
            return null;
        }

        foreach (var file in _input.Library.FilesWithGlobal(name))
        {
            Declare(file);
        }

        if (_tapsetGlobals.TryGetValue(name, out found))
        {
            return found;
        }

        _notTapsetGlobals.Add(name);
        return null;
    }

    /// <summary>A user global has this name and library aliases keep a local of their own under it.</summary>
    public bool IsHiddenFromAliases(string name) => _userGlobals.ContainsKey(name) && IsWrittenByScript(name);

    private bool IsWrittenByScript(string name)
    {
        if (_writtenByScript is null)
        {
            _writtenByScript = new(StringComparer.Ordinal);
            foreach (var file in _input.Files)
            {
                SyntaxFacts.AddWritten(file, _writtenByScript);
            }
        }

        return _writtenByScript.Contains(name);
    }

    /// <summary>The file keeps a private global of this name.</summary>
    public bool HasPrivate(string name, SourceText? source) =>
        _privateGlobals.Count > 0 && source is not null && _privateGlobals.TryGetValue(source, out var own) && own.ContainsKey(name);

    public GlobalSymbol? FindUserGlobal(string name)
    {
        if (_userGlobals.TryGetValue(name, out var found))
        {
            return found;
        }

        foreach (var names in _privateGlobals.Values)
        {
            if (names.TryGetValue(name, out found) && !found.IsTapset)
            {
                return found;
            }
        }

        return FindGlobal(name, null, inTapsetFunction: false);
    }

    public IEnumerable<string> GlobalNames => Globals.Select(g => g.Name);

    /// <summary>The first candidate for a call (the others are chained by <see cref="FunctionSymbol.Next"/>), or null.</summary>
    public FunctionSymbol? FindFunction(string name, int arity, SourceText? source)
    {
        if (source is not null && _privateFunctions.Count > 0
            && _privateFunctions.TryGetValue(source, out var own) && own.TryGetValue(name, out var mine))
        {
            var privateKey = (name, arity, source);
            if (!_chains.TryGetValue(privateKey, out var head))
            {
                head = Chain(mine, arity, null);
                _chains[privateKey] = head;
            }

            if (head is not null)
            {
                return head;
            }
        }

        var key = (name, arity, (SourceText?)null);
        if (_chains.TryGetValue(key, out var known))
        {
            return known;
        }

        _userFunctions.TryGetValue(name, out var user);
        List<FunctionSymbol>? library = null;
        if (user is null || !user.Exists(f => f.Definition.Parameters.Count == arity) || user.Exists(f => MayPassOn(f)))
        {
            library = LibraryFunctions(name);
        }

        return _chains[key] = Chain(user, arity, library);
    }

    /// <summary>Functions of a name whatever their arity, for messages.</summary>
    public IEnumerable<FunctionSymbol> FunctionsNamed(string name)
    {
        if (_userFunctions.TryGetValue(name, out var user))
        {
            foreach (var f in user)
            {
                yield return f;
            }
        }

        if (LibraryFunctions(name) is { } library)
        {
            foreach (var f in library)
            {
                yield return f;
            }
        }
    }

    public IEnumerable<string> FunctionNames => UserFunctions.Select(f => f.Name).Concat(_input.Library.FunctionNames);

    private static bool MayPassOn(FunctionSymbol f) => SyntaxFacts.HasNext(f.Definition);

    private List<FunctionSymbol>? LibraryFunctions(string name)
    {
        if (!_tapsetFunctions.ContainsKey(name) | _askedFunctions.Add(name))
        {
            foreach (var file in _input.Library.FilesWithFunction(name))
            {
                Declare(file);
            }
        }

        return _tapsetFunctions.GetValueOrDefault(name);
    }

    private static FunctionSymbol? Chain(List<FunctionSymbol>? first, int arity, List<FunctionSymbol>? second)
    {
        var all = new List<FunctionSymbol>();
        Collect(first);
        Collect(second);
        if (all.Count == 0)
        {
            return null;
        }

        all.Sort(static (a, b) => a.Priority != b.Priority ? a.Priority.CompareTo(b.Priority) : a.Order.CompareTo(b.Order));
        for (var i = 0; i + 1 < all.Count && MayPassOn(all[i]); i++)
        {
            all[i].Next = all[i + 1];
        }

        return all[0];

        void Collect(List<FunctionSymbol>? from)
        {
            if (from is null)
            {
                return;
            }

            foreach (var f in from)
            {
                if (f.Definition.Parameters.Count == arity)
                {
                    all.Add(f);
                }
            }
        }
    }

    private void Declare(ScriptFile file)
    {
        if (!_files.TryAdd(file.Source, file))
        {
            return;
        }

        var isTapset = file.Source.IsTapset;
        foreach (var item in file.Items)
        {
            switch (item)
            {
                case GlobalDefinition global: DeclareGlobal(global, isTapset); break;
                case FunctionDefinition function: DeclareFunction(function, isTapset); break;
                case EmbeddedCDefinition code when !isTapset: EmbeddedC.Add(code); break;
            }
        }
    }

    private void DeclareGlobal(GlobalDefinition definition, bool isTapset)
    {
        var symbol = new GlobalSymbol(definition, isTapset, _globalOrder++);
        var source = definition.Span.Source;
        var table = isTapset ? _tapsetGlobals : _userGlobals;
        if (definition.IsPrivate)
        {
            if (table.TryGetValue(definition.Name, out var other) && ReferenceEquals(other.Span.Source, source))
            {
                ReportDuplicate(definition, other);
                return;
            }

            if (!_privateGlobals.TryGetValue(source, out table))
            {
                _privateGlobals[source] = table = new(StringComparer.Ordinal);
            }
        }
        else if (_privateGlobals.TryGetValue(source, out var own) && own.TryGetValue(definition.Name, out var hidden))
        {
            ReportDuplicate(definition, hidden);
            return;
        }

        if (!table.TryAdd(definition.Name, symbol))
        {
            ReportDuplicate(definition, table[definition.Name]);
            return;
        }

        CheckSize(definition);
        Globals.Add(symbol);
    }

    private void CheckSize(GlobalDefinition definition)
    {
        if (definition.MaxSize is { } size and (< 1 or > int.MaxValue))
        {
            _input.Diagnostics.Error("semantic.array-size", definition.Span,
                $"array '{definition.Name}' has size {size}, it must be between 1 and {int.MaxValue}");
        }

        if (definition.Initializer is not null && (definition.MaxSize is not null || definition.Wraps))
        {
            _input.Diagnostics.Error("semantic.array-initializer", definition.Span,
                $"array '{definition.Name}' cannot be initialised, only scalars can");
        }
    }

    private void ReportDuplicate(GlobalDefinition definition, GlobalSymbol other) =>
        _input.Diagnostics.Add(new Language.Diagnostics.Diagnostic("semantic.duplicate-global", Language.Diagnostics.Severity.SemanticError,
            $"global '{definition.Name}' is declared twice", definition.Span)
        {
            Related = other.Span,
            RelatedMessage = "first declared here",
        });

    private void DeclareFunction(FunctionDefinition definition, bool isTapset)
    {
        var symbol = new FunctionSymbol(definition, isTapset, _functionOrder++);
        if (!isTapset)
        {
            UserFunctions.Add(symbol);
        }

        var table = isTapset ? _tapsetFunctions : _userFunctions;
        if (definition.IsPrivate)
        {
            var source = definition.Span.Source;
            if (!_privateFunctions.TryGetValue(source, out table))
            {
                _privateFunctions[source] = table = new(StringComparer.Ordinal);
            }
        }

        if (!table.TryGetValue(definition.Name, out var list))
        {
            table[definition.Name] = list = [];
        }

        list.Add(symbol);
        for (var i = 0; i < definition.Parameters.Count; i++)
        {
            for (var j = 0; j < i; j++)
            {
                if (definition.Parameters[i].Name == definition.Parameters[j].Name)
                {
                    _input.Diagnostics.Error("semantic.duplicate-parameter", definition.Parameters[i].Span,
                        $"parameter '{definition.Parameters[i].Name}' of function '{definition.Name}' is declared twice");
                }
            }
        }
    }
}
