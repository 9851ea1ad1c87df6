using System.Buffers.Binary;
using System.Text;
using SystemTap.Targets;

namespace SystemTap.Tests.Targets;

/// <summary>Writes BTF for tests, from the format's definition and not from the reader's code.</summary>
internal sealed class BtfBuilder(int firstId = 1, int firstString = 0)
{
    private readonly List<byte> _types = [];
    private readonly List<byte> _strings = firstString == 0 ? [0] : [];
    private int _next = firstId;

    private uint Name(string name)
    {
        if (name.Length == 0)
            return 0;
        var at = (uint)(firstString + _strings.Count);
        _strings.AddRange(Encoding.UTF8.GetBytes(name));
        _strings.Add(0);
        return at;
    }

    private void Word(uint value)
    {
        var bytes = new byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, value);
        _types.AddRange(bytes);
    }

    private int Add(BtfKind kind, string name, int count, bool flag, uint sizeOrType, params ReadOnlySpan<uint> rest)
    {
        Word(Name(name));
        Word((uint)kind << 24 | (uint)count | (flag ? 1u << 31 : 0));
        Word(sizeOrType);
        foreach (var word in rest)
            Word(word);
        return _next++;
    }

    public int Int(string name, int size, int encoding = 0, int? bits = null) =>
        Add(BtfKind.Int, name, 0, false, (uint)size, (uint)(encoding << 24 | (bits ?? size * 8)));

    public int Refer(BtfKind kind, int type, string name = "") => Add(kind, name, 0, false, (uint)type);
    public int Pointer(int type) => Refer(BtfKind.Pointer, type);
    public int Array(int element, int count, int index) => Add(BtfKind.Array, "", 0, false, 0, (uint)element, (uint)index, (uint)count);
    public int Function(string name, int prototype) => Add(BtfKind.Function, name, 1, false, (uint)prototype);

    public int Composite(BtfKind kind, string name, int size, params (string Name, int Type, int Bit, int Width)[] members)
    {
        var packed = members.Any(m => m.Width != 0);
        var words = members.SelectMany(m => new[] { Name(m.Name), (uint)m.Type, packed ? (uint)(m.Width << 24 | m.Bit) : (uint)m.Bit }).ToArray();
        return Add(kind, name, members.Length, packed, (uint)size, words);
    }

    public int Enum(string name, bool signed, params (string Name, int Value)[] values) =>
        Add(BtfKind.Enum, name, values.Length, signed, 4, values.SelectMany(v => new[] { Name(v.Name), (uint)v.Value }).ToArray());

    public int Enum64(string name, bool signed, params (string Name, ulong Value)[] values) =>
        Add(BtfKind.Enum64, name, values.Length, signed, 8, values.SelectMany(v => new[] { Name(v.Name), (uint)v.Value, (uint)(v.Value >> 32) }).ToArray());

    public int Prototype(int result, params (string Name, int Type)[] parameters) =>
        Add(BtfKind.FunctionPrototype, "", parameters.Length, false, (uint)result, parameters.SelectMany(p => new[] { Name(p.Name), (uint)p.Type }).ToArray());

    public int Raw(uint kind, params ReadOnlySpan<uint> rest) => Add((BtfKind)kind, "", 0, false, 0, rest);

    public int NextId => _next;
    public int StringsEnd => firstString + _strings.Count;

    public byte[] Bytes()
    {
        var bytes = new byte[24 + _types.Count + _strings.Count];
        BinaryPrimitives.WriteUInt16LittleEndian(bytes, 0xEB9F);
        bytes[2] = 1;
        uint[] header = [24, 0, (uint)_types.Count, (uint)_types.Count, (uint)_strings.Count];
        for (var i = 0; i < header.Length; i++)
            BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(4 + 4 * i), header[i]);
        _types.CopyTo(bytes, 24);
        _strings.CopyTo(bytes, 24 + _types.Count);
        return bytes;
    }

    /// <summary>A file with every kind and every nesting a test wants to break.</summary>
    public static byte[] Sample()
    {
        var b = new BtfBuilder();
        var @int = b.Int("int", 4, 1);
        var @uint = b.Int("unsigned int", 4);
        var @char = b.Int("char", 1, 1);
        var boolean = b.Int("_Bool", 1, 4);
        var @long = b.Int("long int", 8, 1);
        var name = b.Array(@char, 16, @int);
        var matrix = b.Array(name, 3, @int);
        var color = b.Enum("color", true, ("RED", -1), ("GREEN", 5));
        var big = b.Enum64("big", false, ("HUGE", 0x8000_0000_0000_0001), ("SMALL", 2));
        var inner = b.Composite(BtfKind.Union, "", 8, ("as_long", @long, 0, 0), ("as_int", @int, 0, 0));
        var middle = b.Composite(BtfKind.Struct, "", 16, ("before", @int, 0, 0), ("", inner, 64, 0));
        var outer = b.Composite(BtfKind.Struct, "outer", 72,
            ("first", @int, 0, 0), ("flag_a", @uint, 32, 1), ("flag_b", @int, 33, 5), ("", middle, 64, 0), ("comm", name, 192, 0), ("next", b.NextId + 1, 320, 0));
        b.Pointer(outer);
        var pid = b.Refer(BtfKind.Typedef, @int, "pid_t");
        var constPid = b.Refer(BtfKind.Const, pid);
        var text = b.Pointer(b.Refer(BtfKind.Const, @char));
        var constText = b.Refer(BtfKind.Const, text);
        var proto = b.Prototype(@int, ("self", outer + 1), ("text", constText), ("", 0));
        b.Function("describe", proto);
        var callback = b.Pointer(b.Prototype(0, ("", b.Pointer(0))));
        b.Refer(BtfKind.Typedef, callback, "callback_t");
        b.Function("__traceiter_demo", b.Prototype(@int, ("__data", b.Pointer(0)), ("who", constPid), ("on", boolean)));
        b.Refer(BtfKind.Typedef, b.Pointer(b.Prototype(0, ("", b.Pointer(0)), ("", @long))), "btf_trace_other");
        b.Refer(BtfKind.Forward, 0, "unknown");
        b.Refer(BtfKind.TypeTag, @int, "user");
        b.Refer(BtfKind.Volatile, matrix);
        b.Refer(BtfKind.Restrict, text);
        b.Refer(BtfKind.Float, 8, "double");
        b.Composite(BtfKind.Struct, "colored", 16, ("color", color, 0, 0), ("big", big, 64, 0));
        b.Pointer(matrix);
        return b.Bytes();
    }
}
