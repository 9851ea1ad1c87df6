using System.Buffers.Binary;
using SystemTap.Language.Diagnostics;
using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Probes;
using SystemTap.Semantics.Targeting;
using SystemTap.Targets;
using SystemTap.Tests.Targets;
using Xunit;

namespace SystemTap.Tests.Probes;

/// <summary>
/// Over made-up types and memory at 0x1000:
/// <code>
/// struct inner { int x; short y; };
/// struct outer { u8 c /*0*/; signed short s /*2*/; int a:3 /*32*/, b:5; unsigned u:10; struct inner in /*8*/; struct inner *next /*16*/;
///   char comm[8] /*24*/; char *text /*32*/; int list[7] /*40*/; union { int ua; unsigned long ub; } /*72*/; enum color col /*80*/; int grid[2][3] /*84*/;
///   void *any /*112*/; _Bool flag /*120*/; unsigned long big /*128*/; int (*fn)(void) /*136*/; struct inner tail[] /*144*/ };
/// </code>
/// </summary>
public class TargetBinderTests
{
    private const long Origin = 0x1000;
    private readonly DiagnosticBag _bag = new();
    private readonly byte[] _memory = new byte[512];
    private readonly TargetBinder _binder;
    private readonly MiniEvaluator _run;
    private readonly TypedValue _outer;

    public TargetBinderTests()
    {
        var b = new BtfBuilder();
        var i32 = b.Int("int", 4, 1);
        var u32 = b.Int("unsigned int", 4);
        var i16 = b.Int("short int", 2, 1);
        var chr = b.Int("char", 1, 1);
        var u64 = b.Int("long unsigned int", 8);
        var boolean = b.Int("_Bool", 1, 4);
        var inner = b.Composite(BtfKind.Struct, "inner", 8, ("x", i32, 0, 0), ("y", i16, 32, 0));
        var innerPtr = b.Pointer(inner);
        var comm = b.Array(chr, 8, i32);
        var text = b.Pointer(b.Refer(BtfKind.Const, chr));
        var list = b.Array(i32, 7, i32);
        var union = b.Composite(BtfKind.Union, "", 8, ("ua", i32, 0, 0), ("ub", u64, 0, 0));
        var color = b.Enum("color", true, ("RED", -1), ("GREEN", 0), ("BLUE", 7));
        var row = b.Array(i32, 3, i32);
        var grid = b.Array(row, 2, i32);
        var any = b.Pointer(0);
        var tail = b.Array(inner, 0, i32);
        var u8 = b.Refer(BtfKind.Typedef, b.Int("unsigned char", 1), "u8");
        var outer = b.Composite(BtfKind.Struct, "outer", 144,
            ("c", u8, 0, 0), ("s", i16, 16, 0), ("a", i32, 32, 3), ("b", i32, 35, 5), ("u", u32, 40, 10), ("in", inner, 64, 0), ("next", innerPtr, 128, 0),
            ("comm", comm, 192, 0), ("text", text, 256, 0), ("list", list, 320, 0), ("", union, 576, 0), ("col", color, 640, 0), ("grid", grid, 672, 0),
            ("any", any, 896, 0), ("flag", boolean, 960, 0), ("big", u64, 1024, 0), ("fn", any, 1088, 0), ("tail", tail, 1152, 0));
        b.Refer(BtfKind.Typedef, outer, "outer_t");
        var target = Target.FromFiles(new TargetFiles { Release = "6.12.0", Architecture = Architecture.Find("x86_64")!, BtfBytes = b.Bytes() });

        var m = _memory.AsSpan();
        m[0] = (byte)'q';
        BinaryPrimitives.WriteInt16LittleEndian(m[2..], -2);
        BinaryPrimitives.WriteUInt32LittleEndian(m[4..], 0b1_01_1111111 << 8 | 0b01101_110); // a=-2, b=13, u=0b101111111 … below
        BinaryPrimitives.WriteInt32LittleEndian(m[8..], 11);
        BinaryPrimitives.WriteInt16LittleEndian(m[12..], -12);
        BinaryPrimitives.WriteInt64LittleEndian(m[16..], Origin + 300);
        "bash\0zzz"u8.CopyTo(m[24..]);
        BinaryPrimitives.WriteInt64LittleEndian(m[32..], Origin + 320);
        for (var i = 0; i < 7; i++)
        {
            BinaryPrimitives.WriteInt32LittleEndian(m[(40 + (4 * i))..], i * 10);
        }

        BinaryPrimitives.WriteInt64LittleEndian(m[72..], 5);
        BinaryPrimitives.WriteInt32LittleEndian(m[80..], -1);
        for (var i = 0; i < 6; i++)
        {
            BinaryPrimitives.WriteInt32LittleEndian(m[(84 + (4 * i))..], 100 + i);
        }

        m[120] = 1;
        BinaryPrimitives.WriteUInt64LittleEndian(m[128..], ulong.MaxValue);
        BinaryPrimitives.WriteInt32LittleEndian(m[152..], 77);
        BinaryPrimitives.WriteInt32LittleEndian(m[300..], 33);
        "hello\0"u8.CopyTo(m[320..]);
        _binder = new TargetBinder(target, _bag);
        _run = new MiniEvaluator(_memory, Origin);
        _outer = _binder.Cast(new LongConst(Origin, default), "outer", null, default, false)!;
    }

    private TypedValue Path(string path)
    {
        var value = _outer;
        foreach (var part in path.Split('.'))
        {
            value = int.TryParse(part, out var index) ? _binder.Index(value, new LongConst(index, default), default, false)! : _binder.Member(value, part, default, false)!;
            Assert.True(value is not null, string.Join("\n", _bag.All.Select(d => d.Message)));
        }

        return value;
    }

    [Theory]
    [InlineData("c", 'q')]
    [InlineData("s", -2)]
    [InlineData("a", -2)]
    [InlineData("b", 13)]
    [InlineData("u", 0x2FF & 0b1_01_1111111)]
    [InlineData("in.x", 11)]
    [InlineData("in.y", -12)]
    [InlineData("next.x", 33)]
    [InlineData("comm.1", 'a')]
    [InlineData("text.4", 'o')]
    [InlineData("list.6", 60)]
    [InlineData("ua", 5)]
    [InlineData("ub", 5)]
    [InlineData("col", -1)]
    [InlineData("grid.1.2", 105)]
    [InlineData("flag", 1)]
    [InlineData("big", -1)]
    [InlineData("tail.1.x", 77)]
    [InlineData("next.0.x", 33)]
    [InlineData("0.s", -2)]
    public void MembersAreRead(string path, long expected) => Assert.Equal(expected, _run.Long(Path(path).Value));

    [Fact]
    public void IndexesAreAddressArithmetic()
    {
        var index = new ReadExpr(new LocalPlace(new Local(0, "i", ScriptType.Long)), default);
        var element = _binder.Index(Path("list"), index, default, false)!;
        Assert.Equal(30, _run.Long(element.Value, new() { [((LocalPlace)index.Place).Local] = 3L }));
    }

    [Theory]
    [InlineData("s", Origin + 2)]
    [InlineData("in", Origin + 8)]
    [InlineData("grid.1", Origin + 96)]
    [InlineData("next.y", Origin + 304)]
    public void AddressesAreTaken(string path, long expected)
    {
        var address = _binder.AddressOf(Path(path), default, false)!;
        Assert.Equal(expected, _run.Long(address.Value));
        Assert.Equal(1, address.CType!.PointerDepth);
    }

    [Fact]
    public void AddressThenIndexGoesBack() =>
        Assert.Equal(-2, _run.Long(_binder.Index(_binder.AddressOf(Path("s"), default, false)!, new LongConst(0, default), default, false)!.Value));

    [Fact]
    public void MemberNamesAreForMessages() => Assert.Equal("inner.x", Assert.IsType<DerefExpr>(Path("next.x").Value).MemberName);

    [Theory]
    [InlineData("nxt", "did you mean 'next'")]
    [InlineData("comm2", "did you mean 'comm'")]
    [InlineData("uaa", "ua")]
    public void UnknownMembersGetSuggestions(string name, string hint)
    {
        Assert.Null(_binder.Member(_outer, name, default, false));
        Assert.Contains(hint, Assert.Single(_bag.All).Hint);
        Assert.Null(_binder.Member(_outer, name + "x", default, true));
        Assert.Single(_bag.All);
    }

    [Fact]
    public void WhatCannotBeDoneIsSaid()
    {
        Assert.Null(_binder.Index(Path("any"), new LongConst(0, default), default, false));
        Assert.Null(_binder.Member(Path("any"), "x", default, false));
        Assert.Null(_binder.Member(Path("s"), "x", default, false));
        Assert.Null(_binder.Index(Path("s"), new LongConst(0, default), default, false));
        Assert.Null(_binder.AddressOf(Path("a"), default, false));
        Assert.Null(_binder.Member(new TypedValue(new LongConst(1, default), null), "x", default, false));
        Assert.Null(_binder.Cast(new LongConst(1, default), "struct nonesuch", null, default, false));
        Assert.Null(_binder.Cast(new LongConst(1, default), "no_such_thing", "<no_such_header.h>", default, false));
        Assert.Null(_binder.Variable("jiffies", null, default, false));
        Assert.Equal(
            ["target.void-pointer", "target.void-pointer", "target.not-a-struct", "target.not-an-array", "target.no-address", "target.untyped", "target.no-type", "target.needs-debuginfo", "target.no-variable"],
            _bag.All.Select(d => d.Code));
    }

    [Theory]
    [InlineData("outer_t", 0)]
    [InlineData("struct outer", 0)]
    [InlineData("const struct outer", 0)]
    [InlineData("struct outer *", 1)]
    [InlineData("outer**", 2)]
    public void TypeNamesAreUnderstood(string name, int stars)
    {
        var value = _binder.Cast(new LongConst(Origin, default), name, null, default, false);
        Assert.Equal("outer", value!.CType!.Type.Stripped.Name);
        Assert.Equal(stars + 1, value.CType.PointerDepth);
    }

    [Theory]
    [InlineData("unsigned", "unsigned int")]
    [InlineData("unsigned long", "long unsigned int")]
    [InlineData("unsigned long int", "long unsigned int")]
    [InlineData("short", "short int")]
    [InlineData("bool", "_Bool")]
    public void IntegersHaveManySpellings(string written, string btf) =>
        Assert.Equal(btf, _binder.Cast(new LongConst(Origin, default), written, "kernel", default, false)!.CType!.Type.Name);

    [Fact]
    public void CastToANumberIsAPointerToIt()
    {
        var list = _binder.Cast(new LongConst(Origin + 40, default), "int", null, default, false)!;
        Assert.Equal(20, _run.Long(_binder.Index(list, new LongConst(2, default), default, false)!.Value));
    }

    [Fact]
    public void UserHintsReadUserMemory()
    {
        var value = _binder.Cast(new LongConst(Origin, default), "outer", "<outer.h>", default, false)!;
        var next = _binder.Member(value, "next", default, false)!;
        Assert.True(Assert.IsType<DerefExpr>(next.Value).IsUser);
        Assert.True(Assert.IsType<DerefExpr>(_binder.Member(next, "x", default, false)!.Value).IsUser);
        Assert.False(Assert.IsType<DerefExpr>(_binder.Member(_binder.Cast(new LongConst(Origin, default), "outer", "kernel<linux/outer.h>", default, false)!, "s", default, false)!.Value).IsUser);
    }

    [Theory]
    [InlineData(1, "{.c='q', .s=-2, .a=-2, .b=13, .u=767, .in={...}, .next=0x112c, .comm=\"bash\", .text=\"hello\", .list=[...], .ua=5, .ub=5, .col=-1, .grid=[...], .any=0x0, .flag=1, .big=18446744073709551615, .fn=0x0, .tail=[...]}")]
    [InlineData(2, "{.c='q', .s=-2, .a=-2, .b=13, .u=767, .in={.x=11, .y=-12}, .next=0x112c, .comm=\"bash\", .text=\"hello\", .list=[0, 10, 20, 30, 40, ...], .ua=5, .ub=5, .col=-1, .grid=[[...], [...]], .any=0x0, .flag=1, .big=18446744073709551615, .fn=0x0, .tail=[]}")]
    public void StructsArePrinted(int depth, string expected) =>
        Assert.Equal(expected, _run.Text(_binder.Pretty(_outer, depth, default, false)!));

    [Theory]
    [InlineData("next", "{.x=33, .y=0}")]
    [InlineData("in", "{.x=11, .y=-12}")]
    [InlineData("comm", "\"bash\"")]
    [InlineData("text", "\"hello\"")]
    [InlineData("list", "[0, 10, 20, 30, 40, ...]")]
    [InlineData("s", "-2")]
    [InlineData("a", "-2")]
    [InlineData("c", "'q'")]
    [InlineData("any", "0x0")]
    public void PartsArePrinted(string path, string expected) => Assert.Equal(expected, _run.Text(_binder.Pretty(Path(path), 1, default, false)!));

    [Fact]
    public void UnreadableMemoryPrintsAQuestionMark()
    {
        var far = _binder.Cast(new LongConst(0x10, default), "outer", null, default, false)!;
        Assert.Equal("?", _run.Text(_binder.Pretty(far, 2, default, false)!));
        Assert.Equal("?", _run.Text(_binder.Pretty(_binder.Member(far, "s", default, false)!, 1, default, false)!));
        BinaryPrimitives.WriteInt64LittleEndian(_memory.AsSpan(32), 0x20);
        Assert.Contains(".text=0x20,", _run.Text(_binder.Pretty(_outer, 1, default, false)!));
    }

    [Fact]
    public void TheSameQuestionMakesOneFunction()
    {
        _binder.Pretty(_outer, 1, default, false);
        var count = _binder.SyntheticFunctions.Count;
        _binder.Pretty(_outer, 1, default, false);
        Assert.Equal(count, _binder.SyntheticFunctions.Count);
        Assert.Equal(count, _binder.SyntheticFunctions.Select(f => f.Name).Distinct().Count());
    }

    [Theory]
    [InlineData(-1, "RED")]
    [InlineData(0, "GREEN")]
    [InlineData(7, "BLUE")]
    [InlineData(6, "6")]
    [InlineData(-99, "-99")]
    public void EnumeratorsHaveNames(long value, string expected)
    {
        Assert.Equal(expected, _run.Text(_binder.EnumName(new TypedValue(new LongConst(value, default), null), "enum color", null, default, false)!));
        if (value == -1)
        {
            Assert.Equal(expected, _run.Text(_binder.EnumName(Path("col"), null, null, default, false)!));
        }
    }

    [Fact]
    public void EnumeratorsHaveValues()
    {
        Assert.Equal(7, _run.Long(_binder.EnumValue("BLUE", default, false)!));
        Assert.Null(_binder.EnumValue("PINK", default, false));
        Assert.Null(_binder.EnumName(Path("s"), null, null, default, false));
        Assert.Equal(["target.no-enumerator", "target.not-an-enum"], _bag.All.Select(d => d.Code));
    }
}
