using System.Runtime.InteropServices;

namespace SystemTap.Targets;

// Where functions and their inline copies are, by name. A kernel has a million of them: to walk all units takes seconds, and it would be done for each pattern of a script. So the
// first walk writes down all of them, 32 bytes each, and further patterns look at names only: as the linker keeps each name once, some 60,000 of them.

public sealed unsafe partial class DwarfFile
{
    /// <summary>The functions of a file; made by the first that asks for any, and again when inline copies are asked for later.</summary>
    private sealed class FunctionIndex
    {
        /// <summary>One function or inline copy.</summary>
        /// <param name="Order">Position in the walk.</param>
        /// <param name="Unit">Position in <see cref="Units"/>.</param>
        /// <param name="Die">Address of its DIE.</param>
        /// <param name="Frame">That of the function around an inline copy, else its own.</param>
        /// <param name="Scope">Namespaces and classes around it.</param>
        /// <param name="IsInlined">An inline copy.</param>
        /// <param name="IsNested">Within a C function: only seen by who looks for inline copies.</param>
        public readonly record struct Entry(int Order, int Unit, nint Die, nint Frame, string Scope, bool IsInlined, bool IsNested);

        private readonly Dictionary<nint, List<Entry>> _byName = [];
        private readonly bool _inlines;
        private int _count;

        private FunctionIndex(DwarfFile file, bool inlines)
        {
            _inlines = inlines;
            for (var i = 0; i < file.Units.Count; i++)
                Walk(file.Units[i], i, file.Units[i].Die, "", default, false, 0);
        }

        public static FunctionIndex Of(DwarfFile file, bool inlines) =>
            file._functionIndex is { } known && (known._inlines || !inlines) ? known : file._functionIndex = new FunctionIndex(file, inlines);

        /// <summary>Those whose names fit, in the order of the units.</summary>
        public List<Entry> Named(NameTest? mayBe, bool inlines)
        {
            var result = new List<Entry>();
            foreach (var (name, entries) in _byName)
            {
                if (mayBe is not null && !mayBe(MemoryMarshal.CreateReadOnlySpanFromNullTerminated((byte*)name)))
                    continue;
                foreach (var entry in entries)
                    if (inlines || !(entry.IsInlined || entry.IsNested))
                        result.Add(entry);
            }
            result.Sort(static (x, y) => x.Order.CompareTo(y.Order));
            return result;
        }

        private void Walk(DwarfUnit unit, int number, DwarfDie parent, string scope, DwarfDie frame, bool isNested, int depth)
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
                            Add(number, die, scope, die, false, isNested);
                            if (_inlines || !unit.IsC)
                                Walk(unit, number, die, scope.Length == 0 ? die.Name() : scope + "::" + die.Name(), die, isNested || unit.IsC, depth + 1);
                        }
                        break;
                    case Dw.InlinedSubroutine when _inlines:
                        Add(number, die, scope, frame, true, isNested);
                        Walk(unit, number, die, scope, frame, true, depth + 1);
                        break;
                    case Dw.LexicalBlock when _inlines:
                        Walk(unit, number, die, scope, frame, true, depth + 1);
                        break;
                    case Dw.Namespace or Dw.StructureType or Dw.ClassType or Dw.UnionType:
                        var name = die.Name();
                        Walk(unit, number, die, name.Length == 0 ? scope : scope.Length == 0 ? name : scope + "::" + name, frame, isNested, depth + 1);
                        break;
                }
            }
            while (DwarfDies.Next(ref die));
        }

        private void Add(int unit, DwarfDie die, string scope, DwarfDie frame, bool isInlined, bool isNested)
        {
            var name = LibDw.dwarf_diename(&die);
            if (name is null || *name == 0)
                return;
            ref var list = ref CollectionsMarshal.GetValueRefOrAddDefault(_byName, (nint)name, out _);
            (list ??= []).Add(new Entry(_count++, unit, die.Key, frame.Key, scope, isInlined, isNested));
        }
    }
}
