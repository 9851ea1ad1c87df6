namespace SystemTap.Targets;

/// <summary>Why a variable has no location, or that it has one.</summary>
public enum DwarfLocationState
{
    /// <summary><see cref="DwarfLocation.Operations"/> say where it is.</summary>
    Found,

    /// <summary>The compiler kept no value at this place.</summary>
    OptimizedOut,

    /// <summary><see cref="DwarfLocation.Constant"/> is its value.</summary>
    Constant,

    /// <summary>The debug information says nothing (a declaration).</summary>
    Absent,
}

/// <summary>Where a variable is at one address.</summary>
public sealed record DwarfLocation(DwarfLocationState State)
{
    public IReadOnlyList<DwarfOp> Operations { get; init; } = [];

    /// <summary>Bytes of <c>DW_OP_implicit_value</c>.</summary>
    public byte[]? ImplicitValue { get; init; }

    public long Constant { get; init; }

    /// <summary>Objects that <c>DW_OP_implicit_pointer</c> points to; the operation's first number is an index of this list, its second an offset in the object.</summary>
    public IReadOnlyList<DwarfVariable> Pointees { get; init; } = [];
}

/// <summary>Reads location attributes.</summary>
internal static unsafe class DwarfLocations
{
    private const byte OpImplicitValue = 0x9e;

    public static DwarfLocation Of(DwarfDie die, ulong address)
    {
        DwarfAttributeData attribute;
        if (LibDw.dwarf_attr_integrate(&die, Dw.AtLocation, &attribute) == 0)
        {
            if (die.SignedNumber(Dw.AtConstValue) is { } constant)
                return new DwarfLocation(DwarfLocationState.Constant) { Constant = constant };
            DwarfBlockData bytes;
            if (LibDw.dwarf_attr_integrate(&die, Dw.AtConstValue, &attribute) != 0 && LibDw.dwarf_formblock(&attribute, &bytes) == 0)
                return new DwarfLocation(DwarfLocationState.Found)
                {
                    Operations = [new DwarfOp(OpImplicitValue, bytes.Length)],
                    ImplicitValue = new ReadOnlySpan<byte>(bytes.Data, (int)Math.Min(bytes.Length, 64)).ToArray(),
                };
            return new DwarfLocation(die.Flag(Dw.AtDeclaration) ? DwarfLocationState.Absent : DwarfLocationState.OptimizedOut);
        }

        DwarfOp* operations;
        nuint count;
        var found = LibDw.dwarf_getlocation_addr(&attribute, address, &operations, &count, 1);
        if (found <= 0 || count == 0)
            return new DwarfLocation(DwarfLocationState.OptimizedOut);
        var list = new DwarfOp[(int)count];
        byte[]? implicitValue = null;
        List<DwarfVariable>? pointees = null;
        for (var i = 0; i < list.Length; i++)
        {
            list[i] = operations[i];
            DwarfBlockData block;
            if (list[i].Code == OpImplicitValue && LibDw.dwarf_getlocation_implicit_value(&attribute, &operations[i], &block) == 0)
                implicitValue = new ReadOnlySpan<byte>(block.Data, (int)Math.Min(block.Length, 64)).ToArray();
            // The entry value of a register is one operation in a block.
            if (list[i].Code is 0xa3 or 0xf3)
            {
                var inner = list[i].Number == 1 && list[i].Number2 != 0 ? *(byte*)list[i].Number2 : (byte)0;
                list[i] = new DwarfOp(0xa3, inner is >= 0x50 and <= 0x6f ? inner - 0x50ul : ulong.MaxValue);
            }
            // A pointer that exists in the source only names the object it would point to.
            if (list[i].Code is 0xa0 or 0xf2)
            {
                DwarfDie pointee;
                if (LibDw.dwarf_getlocation_die(&attribute, &operations[i], &pointee) == 0)
                {
                    list[i] = new DwarfOp(0xa0, (ulong)(pointees ??= []).Count, list[i].Number2);
                    pointees.Add(new DwarfVariable(pointee.Name(), false) { Die = pointee });
                }
                else
                    list[i] = new DwarfOp(0xa0, ulong.MaxValue);
            }
            // Operations with a base type carry its size and encoding in their second number.
            if (list[i].Code is 0xa5 or 0xa6 or 0xa8 or 0xa9 or 0xf5 or 0xf6 or 0xf7 or 0xf9)
            {
                DwarfDie type;
                var bits = LibDw.dwarf_getlocation_die(&attribute, &operations[i], &type) == 0
                    ? (type.Number(Dw.AtByteSize) ?? 8) | (type.Number(Dw.AtEncoding) ?? 0) << 8
                    : 8 | Dw.EncodingUnsigned << 8;
                var modern = list[i].Code switch { 0xf5 => (byte)0xa5, 0xf6 => (byte)0xa6, 0xf7 => (byte)0xa8, 0xf9 => (byte)0xa9, var code => code };
                list[i] = new DwarfOp(modern, list[i].Number, bits);
            }
            // DW_OP_addrx and constx name a row of an address table.
            if (list[i].Code is 0xa1 or 0xa2 or 0xfb or 0xfc)
            {
                DwarfAttributeData row;
                ulong value;
                if (LibDw.dwarf_getlocation_attr(&attribute, &operations[i], &row) == 0 && (LibDw.dwarf_formaddr(&row, &value) == 0 || LibDw.dwarf_formudata(&row, &value) == 0))
                    list[i] = new DwarfOp(list[i].Code is 0xa1 or 0xfb ? (byte)0x03 : (byte)0x0e, value);
            }
        }
        return new DwarfLocation(DwarfLocationState.Found) { Operations = list, ImplicitValue = implicitValue, Pointees = pointees ?? [] };
    }

    /// <summary>The location is one expression for the whole life of the variable and counts from the frame: how unoptimised code keeps parameters.</summary>
    public static bool IsPlainFrameSlot(DwarfDie die)
    {
        const byte opFrameBase = 0x91;
        DwarfAttributeData attribute;
        DwarfOp* operations;
        nuint count;
        return LibDw.dwarf_attr_integrate(&die, Dw.AtLocation, &attribute) != 0
            && LibDw.dwarf_getlocation(&attribute, &operations, &count) == 0 && count > 0 && operations[0].Code == opFrameBase;
    }

    public static IReadOnlyList<DwarfOp> FrameBase(DwarfDie function, ulong address)
    {
        DwarfAttributeData attribute;
        DwarfOp* operations;
        nuint count;
        if (LibDw.dwarf_attr_integrate(&function, Dw.AtFrameBase, &attribute) == 0
            || LibDw.dwarf_getlocation_addr(&attribute, address, &operations, &count, 1) <= 0)
            return [];
        return new ReadOnlySpan<DwarfOp>(operations, (int)count).ToArray();
    }

    /// <summary>Offset of a member within its struct; null when it is computed (virtual bases).</summary>
    public static long? MemberOffset(DwarfDie member)
    {
        if (!member.Has(Dw.AtMemberLocation))
            return 0;
        if (member.Number(Dw.AtMemberLocation) is { } constant)
            return (long)constant;
        DwarfAttributeData attribute;
        DwarfOp* operations;
        nuint count;
        const byte plusConstant = 0x23;
        return LibDw.dwarf_attr(&member, Dw.AtMemberLocation, &attribute) != 0 && LibDw.dwarf_getlocation(&attribute, &operations, &count) == 0
            && count == 1 && operations[0].Code == plusConstant ? (long)operations[0].Number : null;
    }
}
