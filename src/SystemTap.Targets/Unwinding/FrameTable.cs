using System.Buffers.Binary;

namespace SystemTap.Targets;

// Call frame information: how to find the caller without frame pointers
// ----------------------------------------------------------------------
// Compilers describe, for every instruction, where the caller's registers are: a table in .eh_frame (always loaded, used by C++ exceptions, present in
// stripped files too) or .debug_frame. A CIE holds what many functions share, an FDE the code range of one function and a little program; running it up
// to an address gives a row: the canonical frame address (CFA, the stack pointer before the call) as register + offset or as an expression, and for each
// register that must be restored a rule. DWARF 5, section 6.4, and the LSB's description of .eh_frame, which differs in details (ids relative to the
// field, pointer encodings, augmentation "zPLRSB").
//
// Read: both sections, all pointer encodings but textrel and funcrel, 64-bit lengths, expressions. Not done: .gnu_debugdata.

/// <summary>How one register of the caller is found.</summary>
public enum FrameRuleKind : byte
{
    /// <summary>It keeps its value (callee-saved registers that were not touched).</summary>
    Same,

    /// <summary>It cannot be known; for the return address: the stack ends here.</summary>
    Undefined,

    /// <summary>In memory at CFA + <see cref="FrameRule.Value"/>.</summary>
    Offset,

    /// <summary>It is CFA + <see cref="FrameRule.Value"/>.</summary>
    ValueOffset,

    /// <summary>It is in register <see cref="FrameRule.Value"/>.</summary>
    Register,

    /// <summary>In memory at the result of an expression.</summary>
    Expression,

    /// <summary>It is the result of an expression.</summary>
    ValueExpression,
}

/// <summary>A rule; for expressions <see cref="Value"/> is where their bytes begin in the section and <see cref="Length"/> how many they are.</summary>
public readonly record struct FrameRule(FrameRuleKind Kind, long Value = 0, int Length = 0);

/// <summary>The rules at one address.</summary>
public sealed class FrameRow
{
    /// <summary>Registers followed: DWARF numbers 0…32 cover x86-64 (16 and the return address) and arm64 (x0…x30, sp).</summary>
    public const int RegisterCount = 33;

    /// <summary>Register the CFA is computed from; −1: by <see cref="CfaExpression"/>.</summary>
    public int CfaRegister { get; internal set; } = -1;

    public long CfaOffset { get; internal set; }

    public FrameRule CfaExpression { get; internal set; }

    public FrameRule[] Rules { get; } = new FrameRule[RegisterCount];

    /// <summary>DWARF number under which the return address is found.</summary>
    public int ReturnRegister { get; internal set; }

    /// <summary>The frame of a signal handler's return: the interrupted address is exact, not behind a call.</summary>
    public bool IsSignalFrame { get; internal set; }

    internal FrameRow Copy()
    {
        var copy = new FrameRow { CfaRegister = CfaRegister, CfaOffset = CfaOffset, CfaExpression = CfaExpression, ReturnRegister = ReturnRegister, IsSignalFrame = IsSignalFrame };
        Rules.CopyTo(copy.Rules, 0);
        return copy;
    }
}

/// <summary>Frame information of one file. Made once, then rows are asked for by address; thread-safe.</summary>
public sealed class FrameTable
{
    private readonly record struct Range(ulong Start, ulong End, int Fde, bool IsDebug);

    private readonly struct Section(Memory32 data, ulong address, bool isDebug)
    {
        public Memory32 Data { get; } = data;
        public ulong Address { get; } = address;
        public bool IsDebug { get; } = isDebug;
    }

    /// <summary>Bytes of a section, kept by the mapped file.</summary>
    internal delegate ReadOnlySpan<byte> Memory32();

    private sealed class Cie
    {
        public ulong CodeFactor;
        public long DataFactor;
        public int ReturnRegister;
        public byte PointerEncoding;
        public bool HasAugmentation, IsSignal;
        public int Start, End;
    }

    private readonly Section _eh, _debug;
    private readonly Range[] _ranges;
    private readonly Dictionary<(int, bool), Cie?> _cies = [];
    private readonly Dictionary<ulong, FrameRow?> _rows = [];
    private readonly Lock _lock = new();

    private readonly int _addressSize;

    private FrameTable(Section eh, Section debug, int addressSize = 8)
    {
        (_eh, _debug, _addressSize) = (eh, debug, addressSize);
        var ranges = new List<Range>();
        Scan(eh, ranges);
        Scan(debug, ranges);
        ranges.Sort(static (a, b) => a.Start.CompareTo(b.Start));
        _ranges = [.. ranges];
    }

    /// <summary>Functions described.</summary>
    public int Count => _ranges.Length;

    /// <summary>Frame information of a file; empty when it has none.</summary>
    public static FrameTable Of(ElfFile file)
    {
        Section Find(string name, bool isDebug)
        {
            if (file.FindSection(name) is not { } section)
                return new Section(static () => default, 0, isDebug);
            if (!CompressedSections.IsCompressed(section))
                return new Section(() => file.Contents(section), section.Address, isDebug);
            var plain = CompressedSections.Expand(file, section) ?? [];
            return new Section(() => plain, section.Address, isDebug);
        }
        return new FrameTable(Find(".eh_frame", false), Find(".debug_frame", true), file.Is64 ? 8 : 4);
    }

    /// <summary>For tests: one section given as bytes.</summary>
    internal static FrameTable Parse(byte[] section, ulong address, bool isDebug) =>
        isDebug ? new FrameTable(new Section(static () => default, 0, false), new Section(() => section, address, true))
            : new FrameTable(new Section(() => section, address, false), new Section(static () => default, 0, true));

    /// <summary>Where expressions of a row's rules live.</summary>
    internal ReadOnlySpan<byte> Expression(FrameRule rule, bool isDebug) => (isDebug ? _debug : _eh).Data().Slice((int)rule.Value, rule.Length);

    /// <summary>The rules at an address of the file (not of a process); null when no function is described there.</summary>
    public (FrameRow Row, bool IsDebug)? Find(ulong address)
    {
        var low = Sorted.CountUpTo<Range>(_ranges, address, static range => range.Start);
        // Of nested ranges the last that begins before and still spans it.
        for (var i = low - 1; i >= 0 && i >= low - 4; i--)
        {
            var range = _ranges[i];
            if (address >= range.End)
                continue;
            lock (_lock)
            {
                if (!_rows.TryGetValue(address, out var row))
                    _rows[address] = row = Run(range, address);
                return row is null ? null : (row, range.IsDebug);
            }
        }
        return null;
    }

    // ------------------------------------------------------------------------------------------------------------ index

    private void Scan(Section section, List<Range> ranges)
    {
        var data = section.Data();
        var at = 0;
        while (at + 4 <= data.Length)
        {
            var start = at;
            ulong length = BinaryPrimitives.ReadUInt32LittleEndian(data[at..]);
            at += 4;
            var wide = length == 0xffffffff;
            if (wide)
            {
                if (at + 8 > data.Length)
                    return;
                length = BinaryPrimitives.ReadUInt64LittleEndian(data[at..]);
                at += 8;
            }
            if (length == 0)
            {
                if (!section.IsDebug)
                    continue; // a terminator in the middle: crtend's, or a linker's padding
                return;
            }
            if (length > (ulong)(data.Length - at) || length < 4)
                return;
            var end = at + (int)length;
            if (IdOf(section, data, at, wide) is { } cieAt && CieAt(section, cieAt) is { } cie)
            {
                var reader = new Reader(data, at + (wide && section.IsDebug ? 8 : 4), end, section.Address, _addressSize);
                var begin = reader.Pointer(section.IsDebug ? (byte)0 : cie.PointerEncoding);
                var size = reader.Pointer(section.IsDebug ? (byte)0 : (byte)(cie.PointerEncoding & 0x0f));
                if (!reader.Failed && size > 0 && begin + size > begin && begin != 0)
                    ranges.Add(new Range(begin, begin + size, start, section.IsDebug));
            }
            at = end;
        }
    }

    /// <summary>Position of the CIE an FDE belongs to; null when the entry is a CIE itself.</summary>
    private static int? IdOf(Section section, ReadOnlySpan<byte> data, int at, bool wide)
    {
        if (section.IsDebug)
        {
            var id = wide ? BinaryPrimitives.ReadUInt64LittleEndian(data[at..]) : BinaryPrimitives.ReadUInt32LittleEndian(data[at..]);
            return id == (wide ? ulong.MaxValue : 0xffffffff) || id >= (ulong)data.Length ? null : (int)id;
        }
        var back = BinaryPrimitives.ReadUInt32LittleEndian(data[at..]);
        return back == 0 || back > (uint)at ? null : at - (int)back;
    }

    private Cie? CieAt(Section section, int start)
    {
        if (_cies.TryGetValue((start, section.IsDebug), out var known))
            return known;
        return _cies[(start, section.IsDebug)] = ReadCie(section, start);
    }

    private Cie? ReadCie(Section section, int start)
    {
        var data = section.Data();
        if (start < 0 || start + 12 > data.Length)
            return null;
        var at = start;
        ulong length = BinaryPrimitives.ReadUInt32LittleEndian(data[at..]);
        at += 4;
        var wide = length == 0xffffffff;
        if (wide)
        {
            length = BinaryPrimitives.ReadUInt64LittleEndian(data[at..]);
            at += 8;
        }
        if (length < 8 || length > (ulong)(data.Length - at))
            return null;
        var end = at + (int)length;
        var reader = new Reader(data, at + (wide && section.IsDebug ? 8 : 4), end, section.Address, _addressSize);
        var version = reader.Byte();
        var augmentation = reader.Text();
        if (version is not (1 or 3 or 4) || augmentation.StartsWith("eh", StringComparison.Ordinal))
            return null;
        if (version == 4)
            reader.Skip(2);
        var cie = new Cie { CodeFactor = reader.Unsigned(), DataFactor = reader.Signed() };
        cie.ReturnRegister = version == 1 ? reader.Byte() : (int)reader.Unsigned();
        if (augmentation.StartsWith('z'))
        {
            cie.HasAugmentation = true;
            var size = reader.Unsigned();
            var after = reader.At + (int)Math.Min(size, (ulong)(end - reader.At));
            foreach (var letter in augmentation.AsSpan(1))
            {
                switch (letter)
                {
                    case 'R':
                        cie.PointerEncoding = reader.Byte();
                        break;
                    case 'P':
                        var encoding = reader.Byte();
                        reader.Pointer(encoding);
                        break;
                    case 'L':
                        reader.Byte();
                        break;
                    case 'S':
                        cie.IsSignal = true;
                        break;
                }
            }
            reader.At = after;
        }
        else if (augmentation.Length > 0)
        {
            return null;
        }
        (cie.Start, cie.End) = (reader.At, end);
        return reader.Failed || cie.ReturnRegister >= FrameRow.RegisterCount ? null : cie;
    }

    // --------------------------------------------------------------------------------------------------------- programs

    private FrameRow? Run(Range range, ulong address)
    {
        var section = range.IsDebug ? _debug : _eh;
        var data = section.Data();
        var at = range.Fde;
        ulong length = BinaryPrimitives.ReadUInt32LittleEndian(data[at..]);
        at += 4;
        var wide = length == 0xffffffff;
        if (wide)
        {
            length = BinaryPrimitives.ReadUInt64LittleEndian(data[at..]);
            at += 8;
        }
        var end = at + (int)length;
        if (IdOf(section, data, at, wide) is not { } cieAt || CieAt(section, cieAt) is not { } cie)
            return null;
        var reader = new Reader(data, at + (wide && section.IsDebug ? 8 : 4), end, section.Address, _addressSize);
        var pointers = section.IsDebug ? (byte)0 : cie.PointerEncoding;
        var location = reader.Pointer(pointers);
        reader.Pointer((byte)(pointers & 0x0f));
        if (cie.HasAugmentation)
        {
            var size = (int)reader.Unsigned();
            reader.Skip(size);
        }

        var row = new FrameRow { ReturnRegister = cie.ReturnRegister, IsSignalFrame = cie.IsSignal };
        var first = new Reader(data, cie.Start, cie.End, section.Address, _addressSize);
        if (!Execute(ref first, row, null, cie, location, ulong.MaxValue, pointers))
            return null;
        var initial = row.Copy();
        return Execute(ref reader, row, initial, cie, location, address, pointers) ? row : null;
    }

    /// <summary>Runs instructions until the location passes the address.</summary>
    private static bool Execute(ref Reader r, FrameRow row, FrameRow? initial, Cie cie, ulong location, ulong address, byte pointers)
    {
        Stack<FrameRow>? saved = null;
        while (r.At < r.End && !r.Failed)
        {
            var op = r.Byte();
            var low = op & 0x3f;
            switch (op >> 6)
            {
                case 1:
                    location += (ulong)low * cie.CodeFactor;
                    break;
                case 2:
                    Set(row, low, new FrameRule(FrameRuleKind.Offset, (long)r.Unsigned() * cie.DataFactor));
                    continue;
                case 3:
                    Restore(row, initial, low);
                    continue;
                default:
                    switch (low)
                    {
                        case 0x00: // nop
                            continue;
                        case 0x01: // set_loc
                            location = r.Pointer(pointers);
                            break;
                        case 0x02:
                            location += r.Byte() * cie.CodeFactor;
                            break;
                        case 0x03:
                            location += r.Half() * cie.CodeFactor;
                            break;
                        case 0x04:
                            location += r.Word() * cie.CodeFactor;
                            break;
                        case 0x05: // offset_extended
                        {
                            var register = (int)r.Unsigned();
                            Set(row, register, new FrameRule(FrameRuleKind.Offset, (long)r.Unsigned() * cie.DataFactor));
                            continue;
                        }
                        case 0x06: // restore_extended
                            Restore(row, initial, (int)r.Unsigned());
                            continue;
                        case 0x07: // undefined
                            Set(row, (int)r.Unsigned(), new FrameRule(FrameRuleKind.Undefined));
                            continue;
                        case 0x08: // same_value
                            Set(row, (int)r.Unsigned(), default);
                            continue;
                        case 0x09: // register
                        {
                            var register = (int)r.Unsigned();
                            Set(row, register, new FrameRule(FrameRuleKind.Register, (long)r.Unsigned()));
                            continue;
                        }
                        case 0x0a: // remember_state
                            (saved ??= new Stack<FrameRow>()).Push(row.Copy());
                            continue;
                        case 0x0b: // restore_state
                            if (saved is not { Count: > 0 })
                                return false;
                            var old = saved.Pop();
                            old.Rules.CopyTo(row.Rules, 0);
                            (row.CfaRegister, row.CfaOffset, row.CfaExpression) = (old.CfaRegister, old.CfaOffset, old.CfaExpression);
                            continue;
                        case 0x0c: // def_cfa
                            row.CfaRegister = (int)r.Unsigned();
                            row.CfaOffset = (long)r.Unsigned();
                            continue;
                        case 0x0d: // def_cfa_register
                            row.CfaRegister = (int)r.Unsigned();
                            continue;
                        case 0x0e: // def_cfa_offset
                            row.CfaOffset = (long)r.Unsigned();
                            continue;
                        case 0x0f: // def_cfa_expression
                            row.CfaRegister = -1;
                            row.CfaExpression = Block(ref r, FrameRuleKind.ValueExpression);
                            continue;
                        case 0x10: // expression
                        {
                            var register = (int)r.Unsigned();
                            Set(row, register, Block(ref r, FrameRuleKind.Expression));
                            continue;
                        }
                        case 0x11: // offset_extended_sf
                        {
                            var register = (int)r.Unsigned();
                            Set(row, register, new FrameRule(FrameRuleKind.Offset, r.Signed() * cie.DataFactor));
                            continue;
                        }
                        case 0x12: // def_cfa_sf
                            row.CfaRegister = (int)r.Unsigned();
                            row.CfaOffset = r.Signed() * cie.DataFactor;
                            continue;
                        case 0x13: // def_cfa_offset_sf
                            row.CfaOffset = r.Signed() * cie.DataFactor;
                            continue;
                        case 0x14: // val_offset
                        {
                            var register = (int)r.Unsigned();
                            Set(row, register, new FrameRule(FrameRuleKind.ValueOffset, (long)r.Unsigned() * cie.DataFactor));
                            continue;
                        }
                        case 0x15: // val_offset_sf
                        {
                            var register = (int)r.Unsigned();
                            Set(row, register, new FrameRule(FrameRuleKind.ValueOffset, r.Signed() * cie.DataFactor));
                            continue;
                        }
                        case 0x16: // val_expression
                        {
                            var register = (int)r.Unsigned();
                            Set(row, register, Block(ref r, FrameRuleKind.ValueExpression));
                            continue;
                        }
                        case 0x2d: // arm64: the return address changes between signed and not; kernels show it unsigned
                            continue;
                        case 0x2e: // GNU_args_size
                            r.Unsigned();
                            continue;
                        case 0x2f: // GNU_negative_offset_extended
                        {
                            var register = (int)r.Unsigned();
                            Set(row, register, new FrameRule(FrameRuleKind.Offset, -(long)r.Unsigned() * cie.DataFactor));
                            continue;
                        }
                        default:
                            return false;
                    }
                    break;
            }
            if (location > address)
                return true;
        }
        return !r.Failed;
    }

    private static FrameRule Block(ref Reader r, FrameRuleKind kind)
    {
        var length = (int)Math.Min(r.Unsigned(), int.MaxValue);
        var rule = new FrameRule(kind, r.At, length);
        r.Skip(length);
        return rule;
    }

    private static void Set(FrameRow row, int register, FrameRule rule)
    {
        if ((uint)register < FrameRow.RegisterCount)
            row.Rules[register] = rule;
    }

    private static void Restore(FrameRow row, FrameRow? initial, int register)
    {
        if ((uint)register < FrameRow.RegisterCount && initial is not null)
            row.Rules[register] = initial.Rules[register];
    }

    /// <summary>Reads numbers of a section; past the end it fails once and gives zeros.</summary>
    internal ref struct Reader(ReadOnlySpan<byte> data, int at, int end, ulong sectionAddress, int addressSize = 8)
    {
        private readonly ReadOnlySpan<byte> _data = data;

        public int At { get; set; } = at;

        public int End { get; } = end;

        public bool Failed { get; private set; }

        private ReadOnlySpan<byte> Take(int count)
        {
            if (Failed || count < 0 || At > End - count)
            {
                Failed = true;
                return Zeros[..Math.Clamp(count, 0, 8)];
            }
            var span = _data.Slice(At, count);
            At += count;
            return span;
        }

        private static ReadOnlySpan<byte> Zeros => [0, 0, 0, 0, 0, 0, 0, 0];

        public void Skip(int count)
        {
            if (count < 0 || At > End - count)
                Failed = true;
            else
                At += count;
        }

        public byte Byte() => Take(1)[0];

        public ushort Half() => BinaryPrimitives.ReadUInt16LittleEndian(Take(2));

        public uint Word() => BinaryPrimitives.ReadUInt32LittleEndian(Take(4));

        public ulong Long() => BinaryPrimitives.ReadUInt64LittleEndian(Take(8));

        public ulong Unsigned()
        {
            ulong value = 0;
            for (var shift = 0; shift < 70; shift += 7)
            {
                var b = Byte();
                if (shift < 64)
                    value |= (ulong)(b & 0x7f) << shift;
                if ((b & 0x80) == 0)
                    return value;
            }
            Failed = true;
            return 0;
        }

        public long Signed()
        {
            long value = 0;
            for (var shift = 0; shift < 70;)
            {
                var b = Byte();
                if (shift < 64)
                    value |= (long)(b & 0x7f) << shift;
                shift += 7;
                if ((b & 0x80) == 0)
                    return shift < 64 && (b & 0x40) != 0 ? value | -1L << shift : value;
            }
            Failed = true;
            return 0;
        }

        public string Text()
        {
            var start = At;
            while (At < End && _data[At] != 0)
                At++;
            if (At >= End)
            {
                Failed = true;
                return "";
            }
            return System.Text.Encoding.Latin1.GetString(_data[start..At++]);
        }

        /// <summary>A pointer in one of the DW_EH_PE encodings.</summary>
        public ulong Pointer(byte encoding)
        {
            if (encoding == 0xff)
                return 0;
            var here = sectionAddress + (ulong)At;
            var value = (encoding & 0x0f) switch
            {
                0x00 when addressSize == 4 => Word(),
                0x00 or 0x04 or 0x0c => Long(),
                0x01 => Unsigned(),
                0x02 => Half(),
                0x03 => Word(),
                0x09 => (ulong)Signed(),
                0x0a => (ulong)(short)Half(),
                0x0b => (ulong)(int)Word(),
                _ => Bad(),
            };
            if (value == 0)
                return 0;
            return (encoding & 0x70) switch
            {
                0x00 => value,
                0x10 => value + here, // relative to the place
                _ => Bad(),
            };
        }

        private ulong Bad()
        {
            Failed = true;
            return 0;
        }
    }
}
