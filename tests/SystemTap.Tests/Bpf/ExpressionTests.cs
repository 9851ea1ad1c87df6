using CsCheck;
using SystemTap.Bpf;
using SystemTap.Bpf.Plan;
using SystemTap.Language.Syntax;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;
using Xunit;
using static SystemTap.Tests.Bpf.L;

namespace SystemTap.Tests.Bpf;

public class ExpressionTests
{
    private static readonly long[] Interesting = [0, 1, -1, 2, -2, 7, 63, 64, 65, 255, int.MaxValue, int.MinValue, 1L << 31, 1L << 32, long.MaxValue, long.MinValue, long.MinValue + 1, 1000000007];

    private static readonly BinaryOperator[] Operators =
    [
        BinaryOperator.Add, BinaryOperator.Subtract, BinaryOperator.Multiply, BinaryOperator.Divide, BinaryOperator.Modulo, BinaryOperator.ShiftLeft,
        BinaryOperator.ShiftRight, BinaryOperator.ShiftRightLogical, BinaryOperator.BitAnd, BinaryOperator.BitOr, BinaryOperator.BitXor, BinaryOperator.Less,
        BinaryOperator.LessOrEqual, BinaryOperator.Greater, BinaryOperator.GreaterOrEqual, BinaryOperator.Equal, BinaryOperator.NotEqual,
    ];

    /// <summary>The language's arithmetic, written down once more; null when dividing by 0.</summary>
    private static long? Apply(BinaryOperator op, long a, long b) => op switch
    {
        BinaryOperator.Add => unchecked(a + b),
        BinaryOperator.Subtract => unchecked(a - b),
        BinaryOperator.Multiply => unchecked(a * b),
        BinaryOperator.Divide => b == 0 ? null : b == -1 ? unchecked(-a) : a / b,
        BinaryOperator.Modulo => b == 0 ? null : b == -1 ? 0 : a % b,
        BinaryOperator.ShiftLeft => a << (int)(b & 63),
        BinaryOperator.ShiftRight => a >> (int)(b & 63),
        BinaryOperator.ShiftRightLogical => a >>> (int)(b & 63),
        BinaryOperator.BitAnd => a & b,
        BinaryOperator.BitOr => a | b,
        BinaryOperator.BitXor => a ^ b,
        BinaryOperator.Less => a < b ? 1 : 0,
        BinaryOperator.LessOrEqual => a <= b ? 1 : 0,
        BinaryOperator.Greater => a > b ? 1 : 0,
        BinaryOperator.GreaterOrEqual => a >= b ? 1 : 0,
        BinaryOperator.Equal => a == b ? 1 : 0,
        _ => a != b ? 1 : 0,
    };

    private static long? Evaluate(Expr e, long[] arguments)
    {
        switch (e)
        {
            case LongConst c:
                return c.Value;
            case ContextExpr c:
                return arguments[c.Index];
            case UnaryExpr u:
                return Evaluate(u.Operand, arguments) is { } v
                    ? u.Operator switch { UnaryOperator.Minus => unchecked(-v), UnaryOperator.Not => v == 0 ? 1 : 0, UnaryOperator.Complement => ~v, _ => v } : null;
            case LogicalExpr l:
                return Evaluate(l.Left, arguments) is not { } left ? null
                    : l.IsAnd == (left == 0) ? (l.IsAnd ? 0 : 1)
                    : Evaluate(l.Right, arguments) is { } right ? (right != 0 ? 1 : 0) : null;
            case ConditionalExpr c:
                return Evaluate(c.Condition, arguments) is { } t ? Evaluate(t != 0 ? c.WhenTrue : c.WhenFalse, arguments) : null;
            case BinaryExpr b:
                return Evaluate(b.Left, arguments) is { } x && Evaluate(b.Right, arguments) is { } y ? Apply(b.Operator, x, y) : null;
            default:
                throw new InvalidOperationException();
        }
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void EveryOperatorOnEveryPair(bool v4)
    {
        var p = new ProgramUnderTest { Limits = new Limits { MaxErrors = 1 << 30 } };
        var results = Operators.Select(o => p.Long("r" + o)).ToArray();
        for (var i = 0; i < Operators.Length; i++)
        {
            p.Tracepoint(Do(Set(Place(results[i]), Bin(Operators[i], Arg(0), Arg(1)))));
        }

        using var r = new PlanRunner(p.Build(), new BpfOptions { RingBytes = 1 << 16, Features = new BpfFeatures { InstructionSetV4 = v4 } });
        foreach (var a in Interesting)
        {
            foreach (var b in Interesting)
            {
                for (var i = 0; i < Operators.Length; i++)
                {
                    var before = r.Word(ControlBlock.Errors);
                    r.Run(i, a, b);
                    if (Apply(Operators[i], a, b) is { } expected)
                    {
                        Assert.True(expected == r.Long(results[i]), $"{a} {Operators[i]} {b}: {r.Long(results[i])}, not {expected}");
                    }
                    else
                    {
                        Assert.Equal(before + 1, r.Word(ControlBlock.Errors));
                        r.Records();
                    }
                }
            }
        }
    }

    private static Gen<T> OneOf<T>(params T[] values) => Gen.Int[0, values.Length - 1].Select(i => values[i]);

    private static Gen<Expr> Random(int depth)
    {
        var leaf = Gen.OneOf(
            OneOf(Interesting).Select(Num),
            Gen.Int[0, 2].Select(i => Arg(i)));
        if (depth == 0)
        {
            return leaf;
        }

        var less = Random(depth - 1);
        return Gen.OneOf(
            leaf,
            Gen.Select(OneOf(Operators), less, less, (o, a, b) => Bin(o, a, b)),
            Gen.Select(Gen.Bool, less, less, (and, a, b) => (Expr)new LogicalExpr(and, a, b, At)),
            Gen.Select(less, less, less, (a, b, c) => (Expr)new ConditionalExpr(a, b, c, At)),
            Gen.Select(OneOf(UnaryOperator.Minus, UnaryOperator.Not, UnaryOperator.Complement), less, (o, a) => (Expr)new UnaryExpr(o, a, At)));
    }

    [Fact]
    public void RandomExpressionsAgreeWithTheReference() =>
        Gen.Select(Random(5), OneOf(Interesting).Array[3].Array[4]).Sample((e, inputs) =>
        {
            var p = new ProgramUnderTest { Limits = new Limits { MaxErrors = 1 << 30 } };
            var x = p.Long("x");
            p.Tracepoint(Do(Set(Place(x), e)));
            using var r = new PlanRunner(p.Build());
            foreach (var input in inputs)
            {
                r.Word(ControlBlock.Size) = 4242;
                var before = r.Word(ControlBlock.Errors);
                r.Run(0, input);
                var expected = Evaluate(e, input);
                if (expected is { } value ? r.Long(x) != value : r.Word(ControlBlock.Errors) != before + 1)
                {
                    return false;
                }
            }

            return true;
        }, iter: 150, threads: 1);

    [Fact]
    public void UpdatesYieldOldAndNew()
    {
        var p = new ProgramUnderTest();
        var g = p.Long("g", 10);
        var a = p.Array("a", ScriptType.Long, 10, ScriptType.Long);
        var l = new Local(0, "l", ScriptType.Long);
        var outs = Enumerable.Range(0, 12).Select(i => p.Long("o" + i)).ToArray();
        var places = new[] { new LocalPlace(l), Place(g), Place(a, Arg(0)) };
        var body = new List<Stmt> { Do(Set(l, Num(10))) };
        for (var i = 0; i < 3; i++)
        {
            body.Add(Do(Set(Place(outs[4 * i]), Inc(places[i], 3, old: true))));
            body.Add(Do(Set(Place(outs[4 * i + 1]), Inc(places[i], 3, old: false))));
            body.Add(Do(Set(Place(outs[4 * i + 2]), new UpdateExpr(places[i], BinaryOperator.Multiply, Num(5), false, At))));
            body.Add(Do(Set(Place(outs[4 * i + 3]), new UpdateExpr(places[i], BinaryOperator.BitXor, Arg(1), true, At))));
        }

        p.Tracepoint(Block([.. body]), l);
        using var r = new PlanRunner(p.Build());
        r.Run(0, 1, 6);
        Assert.Equal([10L, 16, 80, 80, 10, 16, 80, 80, 0, 6, 30, 30], outs.Select(r.Long));
        Assert.Equal(80 ^ 6, r.Long(g));
        Assert.Equal(30 ^ 6, r.Element(a, 1L));
    }

    [Fact]
    public void NarrowArgumentsAreExtended()
    {
        var p = new ProgramUnderTest();
        var outs = Enumerable.Range(0, 6).Select(i => p.Long("o" + i)).ToArray();
        (int, bool)[] forms = [(4, true), (4, false), (2, true), (2, false), (1, true), (1, false)];
        for (var i = 0; i < 6; i++)
        {
            p.Tracepoint(Do(Set(Place(outs[i]), Arg(0, forms[i].Item1, forms[i].Item2))));
        }

        foreach (var v4 in new[] { true, false })
        {
            using var r = new PlanRunner(p.Build(), new BpfOptions { RingBytes = 1 << 16, Features = new BpfFeatures { InstructionSetV4 = v4 } });
            for (var i = 0; i < 6; i++)
            {
                r.Run(i, 0x11223344_fedcbaf8);
            }

            Assert.Equal([unchecked((int)0xfedcbaf8), 0xfedcbaf8L, (short)-17672, 0xbaf8L, -8L, 0xf8L], outs.Select(r.Long));
        }
    }

    private static readonly string[] Texts = ["", "a", "ab", "abcdefg", "abcdefgh", "abcdefghi", "abcdefgz", "Zebra", "abcdefghijklmnopqrstuvwxyz0123456789", "\xff"];

    [Fact]
    public void ComparesStrings()
    {
        BinaryOperator[] ops = [BinaryOperator.Less, BinaryOperator.LessOrEqual, BinaryOperator.Greater, BinaryOperator.GreaterOrEqual, BinaryOperator.Equal, BinaryOperator.NotEqual];
        foreach (var right in Texts)
        {
            var p = new ProgramUnderTest();
            var (a, b) = (p.Text("a", new string('x', 40)), p.Text("b", new string('y', right.Length)));
            var outs = ops.Select(o => p.Long("r" + o)).ToArray();
            var literal = ops.Select(o => p.Long("l" + o)).ToArray();
            p.Tracepoint(Block([.. ops.Select((o, i) => Do(Set(Place(outs[i]), Eq(Get(a), Get(b), o)))), .. ops.Select((o, i) => Do(Set(Place(literal[i]), Eq(Get(a), Str(right), o))))]));
            using var r = new PlanRunner(p.Build());
            r.SetText(b, right);
            foreach (var left in Texts)
            {
                r.SetText(a, left);
                r.Run();
                var c = string.CompareOrdinal(left, right);
                long[] expected = [c < 0 ? 1 : 0, c <= 0 ? 1 : 0, c > 0 ? 1 : 0, c >= 0 ? 1 : 0, c == 0 ? 1 : 0, c != 0 ? 1 : 0];
                Assert.Equal(expected, outs.Select(r.Long));
                Assert.Equal(expected, literal.Select(r.Long));
            }
        }
    }

    [Fact]
    public void StringFunctions()
    {
        var p = new ProgramUnderTest { Limits = new Limits { MaxStringLength = 64 } };
        var s = p.Text("s", new string('x', 60));
        var cases = new (Expr E, Func<string, object> Expected)[]
        {
            (Call(IntrinsicId.StringLength, Get(s)), t => (long)t.Length),
            (Call(IntrinsicId.Substring, Get(s), Num(2), Num(5)), t => t.Length > 2 ? t.Substring(2, Math.Min(5, t.Length - 2)) : ""),
            (Call(IntrinsicId.Substring, Get(s), Arg(0), Arg(1)), t => t.Length > 1 ? t.Substring(1, Math.Min(3, t.Length - 1)) : ""),
            (Call(IntrinsicId.ByteAt, Get(s), Num(3)), t => t.Length > 3 ? (long)t[3] : -1L),
            (Call(IntrinsicId.ToUpper, Get(s)), t => t.ToUpperInvariant()),
            (Call(IntrinsicId.ToLower, Get(s)), t => t.ToLowerInvariant()),
            (Call(IntrinsicId.Contains, Get(s), Str("def")), t => t.Contains("def", StringComparison.Ordinal) ? 1L : 0L),
            (Call(IntrinsicId.Position, Get(s), Str("i")), t => (long)t.IndexOf('i')),
            (Call(IntrinsicId.Position, Str("xxabcxx"), Get(s)), t => (long)"xxabcxx".IndexOf(t, StringComparison.Ordinal)),
            (Cat(Get(s), Str("-"), Get(s)), t => (t + "-" + t) is { Length: > 63 } l ? l[..63] : t + "-" + t),
            (Call(IntrinsicId.CharString, Arg(1)), _ => "\x3"),
            (new FormatExpr([Seg(FormatConversion.Literal, "<"), new(FormatConversion.Signed, ""), Seg(FormatConversion.Literal, "|"), new(FormatConversion.HexLower, "") { Flag = FormatFlag.Alternate },
                Seg(FormatConversion.Literal, "|"), new(FormatConversion.String, "") { WidthKind = FormatSize.Fixed, Width = 6 }, Seg(FormatConversion.Literal, ">")],
                [Num(-5), Num(255), Call(IntrinsicId.Substring, Get(s), Num(0), Num(3))], At), t => $"<-5|0xff|{t[..Math.Min(3, t.Length)],6}>"),
            (new ConditionalExpr(Eq(Get(s), Str("")), Str("empty"), Get(s), At), t => t == "" ? "empty" : t),
            (Call(IntrinsicId.ParseLong, Str("0x1f"), Num(16)), _ => 31L),
            (Call(IntrinsicId.ParseLong, Str("-12abc"), Num(10)), _ => -12L),
            (Call(IntrinsicId.EscapeText, Get(s), Num(63), Num(1)), t => "\"" + t + "\""),
            (Call(IntrinsicId.EscapeText, Cat(Str("a\n\x01\""), Get(s)), Num(16), Num(1)), t => t.Length > 4 ? "\"a\\n\\001\\\"" + t[..2] + "\"..." : "\"a\\n\\001\\\"" + t + "\""),
            (Call(IntrinsicId.EscapeText, Cat(Str("\t"), Get(s)), Num(0), Num(0)), t => "\\t" + t),
            (Call(IntrinsicId.SyscallName, Num(0)), _ => "read"),
            (Call(IntrinsicId.SyscallName, Num(99999)), _ => "99999"),
        };
        var outs = cases.Select((c, i) => c.E.Type == ScriptType.Long ? p.Long("o" + i) : p.Text("o" + i)).ToArray();
        for (var i = 0; i < cases.Length; i++)
        {
            p.Tracepoint(Do(Set(Place(outs[i]), cases[i].E)));
        }

        using var r = new PlanRunner(p.Build());
        foreach (var text in (string[])["", "a", "abcdefghijk", "ABCdefGHI!", new string('q', 59)])
        {
            r.SetText(s, text);
            for (var i = 0; i < cases.Length; i++)
            {
                r.Run(i, 1, 3);
                var expected = cases[i].Expected(text);
                object actual = expected is long ? r.Long(outs[i]) : r.Text(outs[i]);
                Assert.True(expected.Equals(actual), $"case {i} of \"{text}\": \"{actual}\", not \"{expected}\"");
            }
        }
    }

    [Fact]
    public void StringElements()
    {
        var p = new ProgramUnderTest();
        var a = p.Array("a", ScriptType.String, 10, ScriptType.String);
        var got = p.Text("got", new string('x', 30));
        var has = p.Long("has");
        p.Tracepoint(Block(
            Do(Set(Place(got), Get(a, Str("key")))),
            Do(Set(Place(has), new InExpr(a, [Str("key")], At))),
            Do(Set(Place(a, Str("key")), Cat(Get(a, Str("key")), Str("+")))),
            If(Bin(BinaryOperator.Equal, Arg(0), Num(1)), new DeleteStmt(a, [Str("key")], At))));
        using var r = new PlanRunner(p.Build());
        r.Run();
        Assert.Equal(0, r.Long(has));
        r.Run();
        Assert.Equal("+", r.Text(got));
        Assert.Equal("++", r.TextElement(a, "key"));
        r.Run(0, 1);
        Assert.Null(r.TextElement(a, "key"));
        Assert.Equal(1, r.Long(has));
    }

    [Fact]
    public void Statistics()
    {
        var p = new ProgramUnderTest();
        var shape = new StatisticShape { Count = true, Sum = true, Min = true, Max = true, Variance = true, VarianceShift = 4, Histogram = HistogramKind.Log };
        var x = p.Stat("x", shape);
        var y = p.Stat("y", new StatisticShape { Count = true, Min = true, Max = true, Sum = true, Histogram = HistogramKind.Linear, Low = -10, High = 100, Step = 7 }, ScriptType.Long);
        var outs = Enumerable.Range(0, 5).Select(i => p.Long("o" + i)).ToArray();
        p.Tracepoint(Block(new StatAddStmt(x, [], Arg(0), At), new StatAddStmt(y, [Arg(1)], Arg(0), At)));
        StatisticKind[] kinds = [StatisticKind.Count, StatisticKind.Sum, StatisticKind.Min, StatisticKind.Max, StatisticKind.Average];
        p.Tracepoint(Block([.. kinds.Select((k, i) => Do(Set(Place(outs[i]), new StatExpr(k, y, [Num(1)], At))))]));
        p.Tracepoint(new DeleteStmt(x, null, At));
        using var r = new PlanRunner(p.Build());
        long[] samples = [0, 1, -1, 2, 3, 4, 7, 8, -8, 99, 100, 101, 106, 1000, -11, long.MaxValue, long.MinValue, 1L << 40];
        foreach (var s in samples)
        {
            r.Run(0, s, s == 0 ? 2 : 1);
        }

        var layout = r.Layout(x);
        Assert.Equal(samples.Length, r.StatSum(x, layout.Count));
        Assert.Equal(samples.Aggregate(0L, (a, b) => unchecked(a + b)), r.StatSum(x, layout.Sum));
        Assert.Equal(long.MinValue, r.Blocks(x).Min(b => BitConverter.ToInt64(b, layout.Min)));
        Assert.Equal(long.MaxValue, r.Blocks(x).Max(b => BitConverter.ToInt64(b, layout.Max)));
        static int Log(long v) => v == 0 ? 64 : v > 0 ? 65 + System.Numerics.BitOperations.Log2((ulong)v) : 63 - System.Numerics.BitOperations.Log2((ulong)-v);
        for (var i = 0; i < 128; i++)
        {
            Assert.Equal(samples.Count(s => Log(s) == i), r.StatSum(x, layout.Buckets + 8 * i));
        }

        var linear = r.Layout(y);
        var last = y.Shape!.BucketCount - 1;
        int Linear(long v) => v < -10 ? 0 : (int)UInt128.Min((UInt128)(ulong)(v - -10) / 7 + 1, (UInt128)last);
        for (var i = 0; i <= last; i++)
        {
            Assert.Equal(samples.Count(s => s != 0 && Linear(s) == i), r.StatSum(y, linear.Buckets + 8 * i, 1L));
        }

        r.Run(1);
        var rest = samples.Where(s => s != 0).ToArray();
        var sum = rest.Aggregate(0L, (a, b) => unchecked(a + b));
        Assert.Equal([rest.Length, sum, long.MinValue, long.MaxValue, sum / rest.Length], outs.Select(r.Long));
        r.Run(2);
        Assert.Equal(0, r.StatSum(x, layout.Count));
    }

    [Fact]
    public void VarianceOfSmallNumbers()
    {
        var p = new ProgramUnderTest();
        var x = p.Stat("x", new StatisticShape { Count = true, Variance = true, VarianceShift = 8 });
        p.Tracepoint(new StatAddStmt(x, [], Arg(0), At));
        using var r = new PlanRunner(p.Build());
        long[] samples = [2, 4, 4, 4, 5, 5, 7, 9];
        r.RunOnOneCpu(samples);
        var layout = r.Layout(x);
        var block = Assert.Single(r.Blocks(x), b => BitConverter.ToInt64(b, layout.Count) > 0);
        var squares = BitConverter.ToInt64(block, layout.Variance + 8) / (double)(1 << 16);
        Assert.InRange(squares, 31.5, 32.5);
    }
}
