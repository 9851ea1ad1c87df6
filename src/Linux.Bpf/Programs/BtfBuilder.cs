using System.Buffers.Binary;
using System.Text;

namespace Linux.Bpf;

/// <summary>One member of a BTF struct.</summary>
/// <param name="Name">C identifier.</param>
/// <param name="Type">Type id.</param>
/// <param name="ByteOffset">Place in the struct.</param>
public readonly record struct BtfMember(string Name, int Type, int ByteOffset);

/// <summary>
/// Writes a BTF blob (format: <c>Documentation/bpf/btf.rst</c>, <c>linux/btf.h</c>). Only the kinds a generated program needs.
/// Each method gives the id of the new type; id 0 is void. Strings are stored once.
/// </summary>
public sealed class BtfBuilder
{
    private const int KindInt = 1, KindPtr = 2, KindArray = 3, KindStruct = 4, KindTypedef = 8, KindFunc = 12, KindFuncProto = 13,
        KindDeclTag = 17;

    private readonly List<byte> _types = new(512);
    private readonly List<byte> _strings = new(512) { 0 };
    private readonly Dictionary<string, int> _offsets = new() { [""] = 0 };
    private int _count;

    /// <summary>Number of types so far, void not counted.</summary>
    public int Count => _count;

    /// <summary>Offset of a string in the string section.</summary>
    public int String(string text)
    {
        if (_offsets.TryGetValue(text, out int offset))
            return offset;
        offset = _strings.Count;
        foreach (byte b in Encoding.UTF8.GetBytes(text))
            _strings.Add(b == 0 ? (byte)'?' : b);
        _strings.Add(0);
        return _offsets[text] = offset;
    }

    private int Head(string name, int kind, int vlen, int sizeOrType)
    {
        Word(String(name));
        Word((kind << 24) | vlen);
        Word(sizeOrType);
        return ++_count;
    }

    private void Word(int value)
    {
        Span<byte> bytes = stackalloc byte[4];
        BitConverter.TryWriteBytes(bytes, value);
        foreach (byte b in bytes)
            _types.Add(b);
    }

    /// <summary>An integer of 1, 2, 4, 8 or 16 bytes.</summary>
    public int Int(string name, int bytes, bool signed)
    {
        int id = Head(name, KindInt, 0, bytes);
        Word(((signed ? 1 : 0) << 24) | (bytes * 8));
        return id;
    }

    /// <summary>A pointer.</summary>
    public int Ptr(int type) => Head("", KindPtr, 0, type);

    /// <summary>A typedef.</summary>
    public int Typedef(string name, int type) => Head(name, KindTypedef, 0, type);

    /// <summary>An array.</summary>
    public int Array(int element, int indexType, int count)
    {
        int id = Head("", KindArray, 0, 0);
        Word(element);
        Word(indexType);
        Word(count);
        return id;
    }

    /// <summary>A struct; members by rising offset.</summary>
    public int Struct(string name, int bytes, ReadOnlySpan<BtfMember> members)
    {
        int id = Head(name, KindStruct, members.Length, bytes);
        foreach (BtfMember m in members)
        {
            Word(String(m.Name));
            Word(m.Type);
            Word(m.ByteOffset * 8);
        }
        return id;
    }

    /// <summary>A function prototype; parameters are named arg0, arg1, … (the kernel wants names).</summary>
    public int FuncProto(int result, ReadOnlySpan<int> parameterTypes)
    {
        int id = Head("", KindFuncProto, parameterTypes.Length, result);
        for (int i = 0; i < parameterTypes.Length; i++)
        {
            Word(String("arg" + i));
            Word(parameterTypes[i]);
        }
        return id;
    }

    /// <summary>A function.</summary>
    public int Func(string name, int proto, FuncLinkage linkage) => Head(name, KindFunc, (int)linkage, proto);

    /// <summary>A tag on a type, or on a parameter or member of it (component ≥ 0). Linux 5.16.</summary>
    public int DeclTag(string tag, int type, int component)
    {
        int id = Head(tag, KindDeclTag, 0, type);
        Word(component);
        return id;
    }

    /// <summary>The finished blob.</summary>
    public byte[] Build()
    {
        const int header = 24;
        byte[] blob = new byte[header + _types.Count + _strings.Count];
        Span<byte> s = blob;
        if (BitConverter.IsLittleEndian) BinaryPrimitives.WriteUInt16LittleEndian(s, 0xeb9f);
        else BinaryPrimitives.WriteUInt16BigEndian(s, 0xeb9f);
        s[2] = 1;
        BitConverter.TryWriteBytes(s[4..], header);
        BitConverter.TryWriteBytes(s[8..], 0);
        BitConverter.TryWriteBytes(s[12..], _types.Count);
        BitConverter.TryWriteBytes(s[16..], _types.Count);
        BitConverter.TryWriteBytes(s[20..], _strings.Count);
        _types.CopyTo(blob, header);
        _strings.CopyTo(blob, header + _types.Count);
        return blob;
    }

    /// <summary>Loads the blob into the kernel.</summary>
    /// <exception cref="BpfException">The kernel finds it malformed or has no BTF.</exception>
    public unsafe KernelFd Load(string subject, IBpfSys sys)
    {
        byte[] blob = Build();
        fixed (byte* p = blob)
        {
            BtfLoadAttr attr = new() { Btf = (ulong)p, BtfSize = (uint)blob.Length };
            long fd = sys.Bpf(BpfCommand.BtfLoad, &attr, sizeof(BtfLoadAttr));
            if (fd >= 0)
                return new KernelFd(sys, (int)fd);
            byte[] log = new byte[65536];
            fixed (byte* l = log)
            {
                (attr.LogBuf, attr.LogSize, attr.LogLevel) = ((ulong)l, (uint)log.Length, 1);
                long again = sys.Bpf(BpfCommand.BtfLoad, &attr, sizeof(BtfLoadAttr));
                if (again >= 0)
                    return new KernelFd(sys, (int)again);
            }
            string text = VerifierLog.Text(log).TrimEnd();
            throw new BpfException($"BTF of \"{subject}\"", "load", (int)-fd, text.Length == 0 ? null : "kernel: " + text[(text.LastIndexOf('\n') + 1)..]);
        }
    }
}
