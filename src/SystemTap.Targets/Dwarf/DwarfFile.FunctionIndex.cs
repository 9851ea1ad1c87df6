using System.Runtime.InteropServices;

namespace SystemTap.Targets;

// Where functions and their inline copies are, by name. A kernel has a million of them: to walk all units takes seconds, and it would be done for each pattern of a script. So units are walked once
// and what they have is written down, 40 bytes each. Patterns with a source file look only into units whose line tables name such a file: of the kernel's thousands of units a few.

public sealed unsafe partial class DwarfFile
{
    /// <summary>The functions of a file, by unit; a unit's are made by the first that asks for any, and again when inline copies are asked for later.</summary>
    private sealed class FunctionIndex
    {
        /// <summary>One function or inline copy.</summary>
        /// <param name="Name">Address of its name: the linker keeps each once.</param>
        /// <param name="Unit">Position in <see cref="Units"/>.</param>
        /// <param name="Die">Address of its DIE.</param>
        /// <param name="Frame">That of the function around an inline copy, else its own.</param>
        /// <param name="Scope">Namespaces and classes around it.</param>
        /// <param name="IsInlined">An inline copy.</param>
        /// <param name="IsNested">Within a C function: only seen by who looks for inline copies.</param>
        public readonly record struct Entry(nint Name, int Unit, nint Die, nint Frame, string Scope, bool IsInlined, bool IsNested);

        private readonly DwarfFile _file;
        private readonly (List<Entry>? Entries, bool HasInlines)[] _units;
        private readonly Lazy<LineHeaders?> _heads;

        public FunctionIndex(DwarfFile file)
        {
            _file = file;
            _units = new (List<Entry>?, bool)[file.Units.Count];
            _heads = new(() => LineHeaders.Of(file.Path));
        }

        /// <summary>Those whose names fit, in the order of the units.</summary>
        /// <param name="mayBe">Test of names.</param>
        /// <param name="source">Only units that may have code of such source files; null: all.</param>
        /// <param name="inlines">Also inline copies.</param>
        public List<Entry> Named(NameTest? mayBe, string? source, bool inlines)
        {
            var result = new List<Entry>();
            var tested = new Dictionary<nint, bool>();
            var files = new Dictionary<string, bool>(StringComparer.Ordinal);
            for (var i = 0; i < _units.Length; i++)
            {
                if (source is not null && !MayHave(_file.Units[i], source, files))
                    continue;
                if (_units[i].Entries is null || inlines && !_units[i].HasInlines)
                {
                    var entries = new List<Entry>();
                    Walk(entries, inlines, _file.Units[i], i, _file.Units[i].Die, "", default, false, 0);
                    _units[i] = (entries, inlines);
                }
                foreach (var entry in _units[i].Entries!)
                {
                    if (!inlines && (entry.IsInlined || entry.IsNested))
                        continue;
                    if (mayBe is null)
                    {
                        result.Add(entry);
                        continue;
                    }
                    ref var fits = ref CollectionsMarshal.GetValueRefOrAddDefault(tested, entry.Name, out var known);
                    if (!known)
                        fits = mayBe(MemoryMarshal.CreateReadOnlySpanFromNullTerminated((byte*)entry.Name));
                    if (fits)
                        result.Add(entry);
                }
            }
            return result;
        }

        private bool MayHave(DwarfUnit unit, string source, Dictionary<string, bool> files)
        {
            const uint lineTable = 0x10;
            return unit.IsSplit || _heads.Value is not { } heads || unit.LineDie.Number(lineTable) is not { } offset
                || heads.MayHave(offset, unit.LineDie.WholeText(Dw.AtCompDir) ?? "", source, files);
        }

        private static void Walk(List<Entry> entries, bool inlines, DwarfUnit unit, int number, DwarfDie parent, string scope, DwarfDie frame, bool isNested, int depth)
        {
            if (depth > 200 || !parent.FirstChild(out var die))
                return;
            do
            {
                switch (die.Tag())
                {
                    case Dw.Subprogram:
                        // Abstract instances and declarations have no code, but may have nested functions with code (lambdas).
                        if (!die.Has(Dw.AtDeclaration))
                        {
                            Add(die, die, false);
                            if (inlines || !unit.IsC)
                                Walk(entries, inlines, unit, number, die, scope.Length == 0 ? die.Name() : scope + "::" + die.Name(), die, isNested || unit.IsC, depth + 1);
                        }
                        break;
                    case Dw.InlinedSubroutine when inlines:
                        Add(die, frame, true);
                        Walk(entries, inlines, unit, number, die, scope, frame, true, depth + 1);
                        break;
                    case Dw.LexicalBlock when inlines:
                        Walk(entries, inlines, unit, number, die, scope, frame, true, depth + 1);
                        break;
                    case Dw.Namespace or Dw.Module or Dw.StructureType or Dw.ClassType or Dw.UnionType:
                        var name = die.Name();
                        Walk(entries, inlines, unit, number, die, name.Length == 0 ? scope : scope.Length == 0 ? name : scope + "::" + name, frame, isNested, depth + 1);
                        break;
                }
            }
            while (DwarfDies.Next(ref die));

            void Add(DwarfDie its, DwarfDie around, bool isInlined)
            {
                var text = LibDw.dwarf_diename(&its);
                if (text is not null && *text != 0)
                    entries.Add(new Entry((nint)text, number, its.Key, around.Key, scope, isInlined, isNested));
            }
        }
    }
}
