namespace SystemTap.Targets;

// Finding functions, and what is visible in them.

/// <summary>A test of a name's bytes.</summary>
public delegate bool NameTest(ReadOnlySpan<byte> name);

public sealed unsafe partial class DwarfFile
{
    private readonly Dictionary<nint, DwarfDie> _outermost = [];

    /// <summary>
    /// Functions with code whose name fits. The name test sees the plain name's bytes, so that millions of DIEs can be looked at; what passes is offered to
    /// <paramref name="accept"/> as a whole.
    /// </summary>
    /// <param name="mayBe">Cheap test of the unqualified name.</param>
    /// <param name="accept">Full test; null accepts.</param>
    /// <param name="inlines">Also inline instances.</param>
    /// <param name="source">Only those of units with code of such source files (<see cref="SourceFiles.Matches"/>); null: of all.</param>
    public List<DwarfFunction> Functions(NameTest? mayBe, Func<DwarfFunction, bool>? accept, bool inlines, string? source = null)
    {
        var result = new List<DwarfFunction>();
        var seen = new HashSet<(ulong, bool, string)>();
        lock (Lock)
        {
            foreach (var entry in (_functionIndex ??= new FunctionIndex(this)).Named(mayBe, source, inlines))
            {
                var unit = Units[entry.Unit];
                var die = unit.Die.At(entry.Die);
                if (die.EntryPc() is not ({ } start and not 0))
                    continue;
                if (Make(unit, die, entry.Scope, unit.Die.At(entry.Frame), start, entry.IsInlined) is var function && (accept is null || accept(function))
                    && seen.Add((start, entry.IsInlined, function.Name)))
                    result.Add(function);
            }
        }
        return result;
    }

    private FunctionIndex? _functionIndex;

    private DwarfFunction Make(DwarfUnit unit, DwarfDie die, string scope, DwarfDie frame, ulong entry, bool inlined)
    {
        var name = die.Name();
        var linkage = die.LinkageName();
        var (file, line) = die.Declared(unit);

        // Lambdas are declared nowhere, Go tells no lines, and the files of split units are known to the line table only.
        if ((unit.IsSplit || (file.Length == 0 || line == 0) && !inlined) && LineOf(unit, entry) is { } row)
            (file, line) = (row.File, line == 0 ? row.Line : line);
        var scoped = inlined || scope.Length == 0 ? name : scope + "::" + name;
        var qualified = linkage is not null && Demangler.Plain(linkage) is { } plain ? plain : scoped;
        return new DwarfFunction(name, entry, inlined)
        {
            Unit = unit,
            Die = die,
            Frame = frame,
            QualifiedName = qualified,
            ScopedName = scoped.Length == name.Length ? qualified : scoped,
            LinkageName = linkage,
            File = file,
            Line = line,
            IsExternal = die.Flag(Dw.AtExternal),
        };
    }

    /// <summary>Variables visible at an address of a function, innermost block first; parameters as declared, last.</summary>
    public List<DwarfVariable> Variables(DwarfFunction function, ulong address)
    {
        var result = new List<DwarfVariable>();
        lock (Lock)
            Collect(function.Die);
        return result;

        void Collect(DwarfDie scope)
        {
            var own = new List<DwarfVariable>();
            foreach (var die in scope.Children())
            {
                if (die.Tag() == Dw.LexicalBlock && die.HasPc(address))
                    Collect(die);
                else
                    Add(own, die, die.Origin());
            }

            // Copies, and bodies of functions that were also copied, have their variables in any order, and lack those of which nothing is left: the declarations have all, in the source's order.
            if (scope.Refer(Dw.AtAbstractOrigin, whole: false) is { } declared && own.TrueForAll(v => v.Origin != 0))
            {
                var known = own.ConvertAll(v => v.Origin);
                foreach (var die in declared.Children())
                    if (!known.Contains(die.Key))
                        Add(own, die, die.Key);
                own = [.. own.OrderBy(v => v.Origin)];
            }
            foreach (var variable in own)
                if (!result.Exists(v => v.Name == variable.Name))
                    result.Add(variable);
        }

        static void Add(List<DwarfVariable> own, DwarfDie die, nint origin)
        {
            if (die.Tag() is Dw.Variable or Dw.FormalParameter && die.Name() is { Length: > 0 } name)
                own.Add(new DwarfVariable(name, die.Tag() == Dw.FormalParameter) { Die = die, Origin = origin });
        }
    }

    /// <summary>Labels of a function with their addresses and source places.</summary>
    public List<(string Name, ulong Address, string File, int Line)> Labels(DwarfFunction function)
    {
        var result = new List<(string, ulong, string, int)>();
        lock (Lock)
            Collect(function.Die);
        return result;

        void Collect(DwarfDie scope)
        {
            foreach (var die in scope.Children())
            {
                if (die.Tag() == Dw.Label && die.EntryPc() is { } address && die.Name() is { Length: > 0 } name)
                {
                    var (file, line) = die.Declared(function.Unit);
                    result.Add((name, address, file, line));
                }
                else if (die.Tag() == Dw.LexicalBlock)
                    Collect(die);
            }
        }
    }

    /// <summary>
    /// Where the body of an unoptimised function begins: parameters are in their frame slots only behind the prologue. Optimised functions and those
    /// without such parameters begin at their entry.
    /// </summary>
    public ulong BodyStart(DwarfFunction function)
    {
        lock (Lock)
        {
            if (function.IsInlined)
                return function.Entry;

            // A Go function begins with a look at its stack; when that is too small it is moved and the function begins again. Behind that is where it is entered once.
            if (function.Unit.Language == DwarfLanguage.Go)
                return AfterPrologue(function, onlyMarked: true);
            var producer = function.Unit.Producer;
            for (var at = producer.IndexOf(" -O", StringComparison.Ordinal); at >= 0; at = producer.IndexOf(" -O", at + 3, StringComparison.Ordinal))
                if (at + 3 == producer.Length || producer[at + 3] is not ('0' or 'g'))
                    return function.Entry;
            var plain = false;
            foreach (var die in function.Die.Children())
                plain |= die.Tag() == Dw.FormalParameter && DwarfLocations.IsPlainFrameSlot(die);
            return plain ? AfterPrologue(function) : function.Entry;
        }
    }

    /// <summary>Ranges of a function's code.</summary>
    public List<(ulong Start, ulong End)> Ranges(DwarfFunction function)
    {
        lock (Lock)
            return function.Die.Ranges();
    }

    /// <summary>Some instruction of the function belongs to that line of the function's file.</summary>
    public bool ContainsLine(DwarfFunction function, int line)
    {
        var ranges = Ranges(function);
        foreach (var row in Lines(function.Unit))
            if (row.Line == line && !row.IsEnd && row.File == function.File)
                foreach (var (start, end) in ranges)
                    if (row.Address >= start && row.Address < end)
                        return true;
        return false;
    }

    private ulong AfterPrologue(DwarfFunction function, bool onlyMarked = false)
    {
        var end = function.Entry;
        foreach (var (start, stop) in function.Die.Ranges())
            if (function.Entry >= start && function.Entry < stop)
                end = stop;
        ulong second = 0;
        foreach (var line in Lines(function.Unit))
        {
            if (line.Address < function.Entry || line.Address >= end || line.IsEnd)
                continue;
            if (line.IsPrologueEnd && line.Address > function.Entry)
                return line.Address;
            if (second == 0 && line.Address > function.Entry && line.Line != 0)
                second = line.Address;
        }
        return second != 0 && !onlyMarked ? second : function.Entry;
    }
}
