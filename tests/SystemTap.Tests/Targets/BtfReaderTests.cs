using System.Runtime.InteropServices;
using Xunit;
using SystemTap.Targets;

namespace SystemTap.Tests.Targets;

public class BtfReaderTests
{
    private readonly Btf _btf = Btf.Parse(BtfBuilder.Sample());
    private BtfType Struct(string name) => _btf.Find(BtfKind.Struct, name)!.Value;

    [Theory]
    [InlineData("first", 0, 0)]
    [InlineData("flag_a", 32, 1)]
    [InlineData("flag_b", 33, 5)]
    [InlineData("before", 64, 0)]
    [InlineData("as_long", 128, 0)]
    [InlineData("as_int", 128, 0)]
    [InlineData("comm", 192, 0)]
    public void Member_offsets_count_from_the_outermost_struct(string name, int bits, int width)
    {
        var member = Struct("outer").FindMember(name)!.Value;
        Assert.Equal((bits, width, name), ((int)member.BitOffset, member.BitFieldSize, member.Name));
    }

    [Fact]
    public void A_missing_member_is_null()
    {
        Assert.Null(Struct("outer").FindMember("nothing"));
        Assert.Null(Struct("outer").FindMember(""));
        Assert.Null(_btf.Find(BtfKind.Int, "int")!.Value.FindMember("first"));
    }

    [Theory]
    [InlineData(0x00000001, "flag_a", 1)]
    [InlineData(0x00000000, "flag_a", 0)]
    [InlineData(0x0000003E, "flag_b", -1)]
    [InlineData(0x0000001C, "flag_b", 14)]
    public void Bit_field_loads_give_the_field(uint word, string name, long expected)
    {
        byte[] memory = new byte[72];
        MemoryMarshal.Write(memory.AsSpan(4), word);
        var member = Struct("outer").FindMember(name)!.Value;
        var (offset, size, left, right) = member.BitFieldLoad!.Value;
        ulong value = 0;
        for (var i = size - 1; i >= 0; i--)
            value = value << 8 | memory[offset + i];
        value <<= left;
        Assert.Equal(expected, member.Type.IsSigned ? (long)value >> right : (long)(value >> right));
    }

    [Fact]
    public void Types_answer_their_nature()
    {
        Assert.True(_btf.Find(BtfKind.Int, "char")!.Value.IsChar);
        Assert.False(_btf.Find(BtfKind.Int, "_Bool")!.Value.IsChar);
        Assert.True(_btf.Find(BtfKind.Int, "_Bool")!.Value.IsBool);
        Assert.True(_btf.Find(BtfKind.Typedef, "pid_t")!.Value is { IsSigned: true, IsInteger: true, Size: 4 });
        Assert.False(_btf.Find(BtfKind.Int, "unsigned int")!.Value.IsSigned);
        var comm = Struct("outer").FindMember("comm")!.Value.Type;
        Assert.Equal((16, 16, true), ((int)comm.Size, (int)comm.Length, comm.Target.IsChar));
        Assert.Equal(8, Struct("outer").FindMember("next")!.Value.Type.Size);
        Assert.Equal(Struct("outer"), Struct("outer").FindMember("next")!.Value.Type.Target);
    }

    [Fact]
    public void Declarations_read_as_C()
    {
        var all = new HashSet<string>();
        for (var id = 0; id < _btf.EndId; id++)
            all.Add(_btf.Type(id).Declaration);
        string[] expected =
        [
            "void", "int", "char [16]", "char [3][16]", "struct outer *", "const pid_t", "const char *", "const char *const",
            "int describe(struct outer *self, const char *const text, ...)", "void (*)(void *)", "callback_t", "struct unknown",
            "enum color", "char (*)[3][16]", "const char *restrict", "volatile char [3][16]", "union {...}", "double",
        ];
        foreach (var text in expected)
            Assert.Contains(text, all);
        Assert.Equal("struct outer*", Struct("outer").FindMember("next")!.Value.Type.CompactDeclaration);
        Assert.Equal("char[16]", Struct("outer").FindMember("comm")!.Value.Type.CompactDeclaration);
    }

    [Fact]
    public void Functions_have_named_parameters()
    {
        var function = _btf.FindFunction("describe")!.Value;
        Assert.Equal(_btf.FindFunctionId("describe"), function.Id);
        Assert.Equal(2, function.Parameters.Count);
        Assert.Equal(("self", "text"), (function.Parameters[0].Name, function.Parameters[1].Name));
        Assert.True(function.IsVariadic);
        Assert.Equal("int", function.ReturnType.Declaration);
        Assert.Equal(0, _btf.FindFunctionId("absent"));
        Assert.Null(_btf.FindFunction("outer")); // of another kind
    }

    [Theory]
    [InlineData("*", "describe __traceiter_demo")]
    [InlineData("desc*", "describe")]
    [InlineData("describe", "describe")]
    [InlineData("*_demo", "__traceiter_demo")]
    [InlineData("outer", "")]
    public void Functions_by_pattern(string pattern, string expected) =>
        Assert.Equal(expected, string.Join(' ', _btf.MatchFunctions(pattern).Select(f => f.Name)));

    [Fact]
    public void Enumerators_keep_sign_and_width()
    {
        Assert.Equal(-1, _btf.FindEnumerator("RED")!.Value.Value);
        Assert.Equal(5, _btf.FindEnumerator("GREEN")!.Value.Value);
        Assert.Equal(0x8000_0000_0000_0001, (ulong)_btf.FindEnumerator("HUGE")!.Value.Value);
        Assert.Equal("enum big", _btf.FindEnumerator("SMALL")!.Value.Type.Declaration);
        Assert.Null(_btf.FindEnumerator("BLUE"));
    }

    [Fact]
    public void Tracepoints_come_from_functions_or_typedefs()
    {
        Assert.Equal(["demo", "other"], Traceiter.Names(_btf));
        var named = Traceiter.Parameters(Traceiter.Find(_btf, "demo")!.Value);
        Assert.Equal("who:const pid_t on:_Bool", string.Join(' ', named.Select(p => $"{p.Name}:{p.Type}")));
        var numbered = Traceiter.Parameters(Traceiter.Find(_btf, "other")!.Value);
        Assert.Equal("arg1:long int", string.Join(' ', numbered.Select(p => $"{p.Name}:{p.Type}")));
    }

    [Fact]
    public void Module_types_build_on_the_kernels()
    {
        var module = new BtfBuilder(_btf.EndId, BaseStrings());
        var pointer = module.Pointer(Struct("outer").Id);
        var own = module.Composite(BtfKind.Struct, "own", 8, ("link", pointer, 0, 0));
        module.Function("__traceiter_mine", module.Prototype(0, ("__data", 0), ("x", own)));
        var split = Btf.Parse(module.Bytes(), "mod", _btf);

        var found = split.Find(BtfKind.Struct, "own")!.Value;
        Assert.Equal("struct outer *", found.FindMember("link")!.Value.Type.Declaration);
        Assert.Same(_btf, split.Find(BtfKind.Struct, "outer")!.Value.Btf);
        Assert.Same(_btf, found.FindMember("link")!.Value.Type.Target.Btf);
        Assert.Null(_btf.Find(BtfKind.Struct, "own"));
        Assert.Equal(["mine"], Traceiter.Names(split));
        Assert.Equal(5, split.FindEnumerator("GREEN")!.Value.Value);

        int BaseStrings()
        {
            var bytes = BtfBuilder.Sample();
            return BitConverter.ToInt32(bytes, 20);
        }
    }

    [Fact]
    public void A_typedef_of_itself_is_reported()
    {
        var b = new BtfBuilder();
        b.Refer(BtfKind.Typedef, 1, "self");
        b.Array(2, 1, 2);
        b.Composite(BtfKind.Struct, "loop", 8, ("", 3, 0, 0), ("", 3, 0, 0));
        b.Pointer(4);
        var btf = Btf.Parse(b.Bytes());
        Assert.Contains("refers to itself", Assert.Throws<TargetException>(() => btf.Type(1).Stripped).Message);
        Assert.Throws<TargetException>(() => btf.Type(2).Size);
        Assert.Throws<TargetException>(() => btf.Type(2).Declaration);
        Assert.Contains("contains itself", Assert.Throws<TargetException>(() => btf.Type(3).FindMember("x")).Message);
        Assert.Throws<TargetException>(() => btf.Type(4).Declaration);
    }

    [Fact]
    public void Damage_is_named()
    {
        var good = BtfBuilder.Sample();
        Assert.Contains("shorter than its header", Assert.Throws<TargetException>(() => Btf.Parse(good[..20])).Message);
        Assert.Contains("reaches beyond", Assert.Throws<TargetException>(() => Btf.Parse(good[..^1])).Message);
        var other = (byte[])good.Clone();
        (other[0], other[1]) = (other[1], other[0]);
        Assert.Contains("big-endian", Assert.Throws<TargetException>(() => Btf.Parse(other)).Message);
        var b = new BtfBuilder();
        b.Raw(25);
        Assert.Contains("kind 25", Assert.Throws<TargetException>(() => Btf.Parse(b.Bytes())).Message);
        Assert.Throws<TargetException>(() => _btf.Type(_btf.EndId));
        Assert.Contains("does not exist", Assert.Throws<TargetException>(() => Btf.Open("/nonexistent/btf")).Message);
    }
}
