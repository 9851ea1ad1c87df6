namespace SystemTap.Targets;

// Names of types, global variables and enumerators of all units, made when the first script asks.

public sealed unsafe partial class DwarfFile
{
    private Dictionary<string, DwarfDie>? _types;
    private Dictionary<string, List<(DwarfDie Die, DwarfUnit Unit)>>? _globals;
    private Dictionary<string, long>? _enumerators;

    /// <summary>The definition for a declaration (<c>struct x;</c>), or null.</summary>
    internal DwarfDie? Definition(DwarfDie declaration)
    {
        var name = declaration.Name();
        return name.Length > 0 && Index().TryGetValue(KeyOf(declaration.Tag()) + name, out var die) ? die : null;
    }

    internal DwarfDie? TypeNamed(string keyword, string name)
    {
        var types = Index();
        ReadOnlySpan<string> kinds = keyword switch
        {
            "struct" or "class" => ["s "],
            "union" => ["u "],
            "enum" => ["e "],
            "int" => ["b "],
            _ => ["t ", "b ", "s ", "u ", "e "],
        };
        foreach (var kind in kinds)
            if (types.TryGetValue(kind + name, out var die))
                return die;
        return null;
    }

    /// <summary>Value of an enumerator of any enum of the program; null when there is none.</summary>
    public long? Enumerator(string name)
    {
        lock (Lock)
        {
            Index();
            return _enumerators!.TryGetValue(name, out var value) ? value : null;
        }
    }

    /// <summary>Names of all enumerators, and of all types; for suggestions.</summary>
    public (IReadOnlyList<string> Enumerators, IReadOnlyList<string> Types) KnownNames()
    {
        lock (Lock)
        {
            var types = Index();
            return ([.. _enumerators!.Keys], [.. types.Keys.Select(static k => k[2..])]);
        }
    }

    /// <summary>
    /// Global and file-local variables of a name, those of the unit first.
    /// </summary>
    /// <param name="name">Plain or qualified name.</param>
    /// <param name="unit">The unit the script is in, or null.</param>
    /// <param name="file">Pattern of the unit's source file, or null for any.</param>
    public List<DwarfVariable> Globals(string name, DwarfUnit? unit, string? file)
    {
        var result = new List<DwarfVariable>();
        lock (Lock)
        {
            Index();
            if (!_globals!.TryGetValue(name, out var all))
                return result;
            foreach (var (die, its) in all)
            {
                if (file is not null && !SourceFiles.Matches(file, its.Name, its.Die.WholeText(Dw.AtCompDir)))
                    continue;
                var variable = new DwarfVariable(name, false) { Die = die };
                if (ReferenceEquals(its, unit))
                    result.Insert(0, variable);
                else
                    result.Add(variable);
            }
        }
        return result;
    }

    /// <summary>Names of global variables, for suggestions.</summary>
    public IReadOnlyCollection<string> GlobalNames
    {
        get
        {
            lock (Lock)
            {
                Index();
                return _globals!.Keys;
            }
        }
    }

    private Dictionary<string, DwarfDie> Index()
    {
        if (_types is not null)
            return _types;
        _types = new(StringComparer.Ordinal);
        _globals = new(StringComparer.Ordinal);
        _enumerators = new(StringComparer.Ordinal);
        foreach (var unit in Units)
            _indexed.Add(unit.Die.Key);
        foreach (var unit in Units)
            Index(unit, unit.Die, "", 0);
        return _types;
    }

    /// <summary>Units that are indexed, also those of the third file in which dwz puts what several files share (<c>.gnu_debugaltlink</c>): no unit of this file, they are only imported.</summary>
    private readonly HashSet<nint> _indexed = [];

    private void Index(DwarfUnit unit, DwarfDie parent, string scope, int depth)
    {
        if (depth > 32 || !parent.FirstChild(out var die))
            return;
        do
        {
            var tag = die.Tag();
            switch (tag)
            {
                case Dw.StructureType or Dw.ClassType or Dw.UnionType or Dw.EnumerationType or Dw.Typedef or Dw.BaseType or Dw.InterfaceType:
                    var name = die.Name();
                    var scoped = name.Length == 0 ? scope : scope.Length == 0 ? name : scope + "::" + name;
                    if (name.Length > 0 && !die.Has(Dw.AtDeclaration))
                    {
                        var key = KeyOf(tag);
                        _types!.TryAdd(key + scoped, die);
                        if (scope.Length > 0)
                            _types.TryAdd(key + name, die);
                    }
                    if (tag == Dw.EnumerationType)
                        Enumerators(die, scoped);
                    else if (tag is Dw.StructureType or Dw.ClassType or Dw.UnionType)
                        Index(unit, die, scoped, depth + 1);
                    break;
                case Dw.ImportedUnit when die.Refer(Dw.AtImport, whole: false) is { } imported && _indexed.Add(imported.Key):
                    Index(unit, imported, scope, depth + 1);
                    break;
                case Dw.Namespace or Dw.Module:
                    var space = die.Name();
                    Index(unit, die, space.Length == 0 ? scope : scope.Length == 0 ? space : scope + "::" + space, depth + 1);
                    break;
                case Dw.Variable when !die.Has(Dw.AtDeclaration) && (die.Has(Dw.AtLocation) || die.Has(Dw.AtConstValue)):
                    AddGlobal(die, unit, scope);
                    break;
            }
        }
        while (DwarfDies.Next(ref die));
    }

    private void AddGlobal(DwarfDie die, DwarfUnit unit, string scope)
    {
        var name = die.Name();
        if (name.Length == 0)
            return;
        Add(name);
        var qualified = die.LinkageName() is { } linkage ? Demangler.Plain(linkage) : scope.Length > 0 ? scope + "::" + name : null;
        if (qualified is not null && qualified != name)
            Add(qualified);

        void Add(string key)
        {
            if (!_globals!.TryGetValue(key, out var list))
                _globals[key] = list = [];
            list.Add((die, unit));
        }
    }

    private void Enumerators(DwarfDie die, string scope)
    {
        foreach (var child in die.Children())
        {
            if (child.Tag() != Dw.Enumerator || child.SignedNumber(Dw.AtConstValue) is not { } value)
                continue;
            var name = child.Name();
            _enumerators!.TryAdd(name, value);
            if (scope.Length > 0)
                _enumerators.TryAdd(scope + "::" + name, value);
        }
    }

    private static string KeyOf(int tag) => tag switch
    {
        Dw.StructureType or Dw.ClassType or Dw.InterfaceType => "s ",
        Dw.UnionType => "u ",
        Dw.EnumerationType => "e ",
        Dw.BaseType => "b ",
        _ => "t ",
    };
}
