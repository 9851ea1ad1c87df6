using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Targeting;
using SystemTap.Targets;

namespace SystemTap.Semantics.Probes.User;

// Where functions find their parameters and leave their results
// --------------------------------------------------------------
// Debug information says nothing about results, and what it says about parameters often begins behind the instructions that fetch them from the stack, or covers only
// what the function uses. At the first instruction of a function others may call, the C calling convention knows better.
//
// x86-64: each eight bytes of a parameter of at most 16 bytes go into the next general register, or the next vector register when they hold floating-point members
// only; all of them or none. What is larger, is not aligned, or has no registers left lies on the stack, in order. C++ objects that must not be copied
// as bytes are passed and returned by address.
// 32-bit x86: all parameters on the stack, where the debug information finds them at the first instruction too; structures are returned in memory, long long in two registers.
// arm64: results of at most 16 bytes are all in vector registers when all members are floating-point, else all in general registers.

/// <summary>The C calling conventions.</summary>
internal static class CallingConvention
{
    /// <summary>What the members of an object ask for, for each eight bytes.</summary>
    private ref struct Classes(Span<bool> integer, Span<bool> real)
    {
        public readonly Span<bool> Integer = integer, Real = real;

        public readonly bool InGeneral(int i) => Integer[i] || !Real[i];
    }

    /// <summary>Where the parts of a returned structure are; null when it is in the caller's memory and its address is returned.</summary>
    public static ObjectParts? Returned(Architecture architecture, BtfType type, bool isUser, bool readsVectors, SourceSpan span)
    {
        var classes = new Classes([false, false], [false, false]);
        if (architecture.PointerSize < 8 || type.Size is > 16 or <= 0 || !Classify(type, 0, classes, 0) && architecture.ReturnsMixedStructures)
        {
            return null;
        }

        if (!architecture.ReturnsMixedStructures)
        {
            classes.Integer.Fill(classes.Integer[0] || classes.Integer[1]);
        }

        return InRegisters(type.Size, classes, [architecture.ReturnValue, architecture.SecondReturnValue], readsVectors ? 0 : null, isUser, span);
    }

    /// <summary>A number that is wider than a register, as it is returned; null when it fits.</summary>
    public static ObjectParts? InTwoRegisters(Architecture architecture, BtfType type, bool isUser, SourceSpan span) => type.Size > architecture.PointerSize && architecture.PointerSize < 8
        ? new ObjectParts([Part(architecture.ReturnValue, 0, span), Part(architecture.SecondReturnValue, 32, span)], 0, isUser) : null;

    private static ObjectPart Part(Register register, int offset, SourceSpan span) =>
        new(offset, 8 * register.Size, new ContextExpr(ContextValue.Register, register.Offset, span) { Size = register.Size, IsSigned = false }, false, null);

    /// <summary>
    /// A parameter at a function's first instruction; null when the convention does not tell. Functions that the compiler knows all callers of
    /// need not keep to it.
    /// </summary>
    public static TypedValue? Passed(Architecture architecture, DwarfFile dwarf, DwarfFunction function, DwarfVariable wanted, bool isUser, bool readsVectors, SourceSpan span, out Unreadable? problem)
    {
        problem = null;
        if (!architecture.ReturnsMixedStructures || !function.IsExternal || function.IsInlined || function.Unit.Language is DwarfLanguage.Rust or DwarfLanguage.Go
            || dwarf.Parameters(function) is not { } parameters)
        {
            return null;
        }

        var general = dwarf.ReturnType(function)?.Stripped is { IsStructOrUnion: true } result && (dwarf.ReturnsByReference(function) || Returned(architecture, result, isUser, readsVectors, span) is null) ? 1 : 0;
        var vector = 0;
        long stack = architecture.StackArgumentsOffset;
        foreach (var parameter in parameters)
        {
            if (parameter.Type is not { } type)
            {
                return null;
            }

            var isWanted = parameter.Name == wanted.Name;
            var classes = new Classes([false, false], [false, false]);
            var size = parameter.ByReference || type.IsPointer ? 8 : type.Size;
            var inRegisters = size is > 0 and <= 16;
            if (parameter.ByReference)
            {
                classes.Integer[0] = true;
            }
            else
            {
                inRegisters = inRegisters && Classify(type, 0, classes, 0);
            }

            if (type.Stripped is { IsFloat: true, Size: > 8 })
            {
                inRegisters = false; // long double is on the stack
            }

            int wantsGeneral = 0, wantsVector = 0;
            for (var i = 0; i * 8 < Math.Min(size, 16); i++)
            {
                (wantsGeneral, wantsVector) = classes.InGeneral(i) ? (wantsGeneral + 1, wantsVector) : (wantsGeneral, wantsVector + 1);
            }

            if (inRegisters && general + wantsGeneral <= architecture.CallArguments.Length && vector + wantsVector <= 8)
            {
                if (isWanted)
                {
                    var place = InRegisters(size, classes, architecture.CallArguments[general..], readsVectors ? vector : null, isUser, span);
                    return parameter.ByReference
                        ? new TypedValue(place.Read(0, 64, false, span, out _)!, new CType(type, isUser, true))
                        : UserContext.Typed(new LocationLowering.Result(new LongConst(0, span), false) { Parts = place }, type, isUser, span, out problem);
                }

                general += wantsGeneral;
                vector += wantsVector;
                continue;
            }

            if (type.Stripped.IsFloat && size == 16)
            {
                stack = ((stack - architecture.StackArgumentsOffset + 15) & ~15) + architecture.StackArgumentsOffset;
            }
            else if (dwarf.IsOveraligned(parameter))
            {
                return null;
            }

            if (isWanted)
            {
                var address = TargetBinder.Offset(new ContextExpr(ContextValue.Register, architecture.StackPointer.Offset, span), stack, span);
                return UserContext.Typed(new LocationLowering.Result(address, true), type, isUser, span, out problem);
            }

            stack += (size + 7) & ~7;
        }

        return null;
    }

    /// <param name="size">Bytes.</param>
    /// <param name="classes">What goes where.</param>
    /// <param name="registers">The general registers that are next.</param>
    /// <param name="vector">The vector register that is next; null when the runtime cannot read them.</param>
    /// <param name="isUser">Pointers in it are user pointers.</param>
    /// <param name="span">Place for messages.</param>
    private static ObjectParts InRegisters(long size, Classes classes, ReadOnlySpan<Register> registers, int? vector, bool isUser, SourceSpan span)
    {
        var parts = new List<ObjectPart>();
        var next = 0;
        for (var i = 0; i * 8 < size; i++)
        {
            parts.Add(classes.InGeneral(i) ? new ObjectPart(i * 64, 64, new ContextExpr(ContextValue.Register, registers[next++].Offset, span), false, null)
                : vector is { } first ? new ObjectPart(i * 64, 64, new ContextExpr(ContextValue.VectorRegister, 2 * (first + i - next), span), false, null)
                : new ObjectPart(i * 64, 64, null, false, Unreadable.InVector));
        }

        return new ObjectParts(parts, 0, isUser);
    }

    /// <summary>False: some member is not aligned, or too large for a register.</summary>
    private static bool Classify(BtfType type, long offset, Classes classes, int depth)
    {
        var stripped = type.Stripped;
        switch (stripped.Kind)
        {
            case var _ when depth > 16:
                return false;
            case BtfKind.Struct or BtfKind.Union:
                var fits = true;
                foreach (var member in stripped.Members)
                {
                    if (member.IsBitField)
                    {
                        classes.Integer[(int)Math.Clamp(((offset * 8) + member.BitOffset) / 64, 0, 1)] = true;
                        classes.Integer[(int)Math.Clamp(((offset * 8) + member.BitOffset + member.BitFieldSize - 1) / 64, 0, 1)] = true;
                    }
                    else
                    {
                        fits &= Classify(member.Type, offset + member.ByteOffset, classes, depth + 1);
                    }
                }

                return fits;
            case BtfKind.Array:
                var all = true;
                var element = stripped.Target;
                for (var i = 0; i < Math.Min(stripped.Length, 16); i++)
                {
                    all &= Classify(element, offset + (i * element.Size), classes, depth + 1);
                }

                return all;
            default:
                var size = stripped.Kind == BtfKind.Pointer ? 8 : stripped.Size;
                if (size is > 8 and <= 16 && stripped.Kind is BtfKind.Int or BtfKind.Float)
                {
                    (stripped.Kind == BtfKind.Int ? classes.Integer : classes.Real).Fill(true); // __int128; long double, which is in neither kind of register
                    return offset == 0;
                }

                if (size is <= 0 or > 8 || offset % size != 0 || offset is < 0 or > 15)
                {
                    return false;
                }

                (stripped.Kind == BtfKind.Float ? classes.Real : classes.Integer)[(int)(offset / 8)] = true;
                return true;
        }
    }
}
