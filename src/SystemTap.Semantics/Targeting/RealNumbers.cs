using SystemTap.Language.Syntax;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Semantics.Targeting;

// Floating-point numbers of programs
// ----------------------------------
// A script's number is a 64-bit integer, and no engine has floating-point instructions. A double is its 64 bits; the fp_… functions of the tapset calculate with them. A float becomes a double
// where it becomes a script's number, and a double a float where it is written, as in SystemTap. Pretty printing shows both as C's %f does.
//
// The functions here are straight lines of shifts and comparisons, so that they cost little wherever they run, and are made only for programs that need them.
//
//     float    1 sign,  8 exponent (bias 127),  23 fraction
//     double   1 sign, 11 exponent (bias 1023), 52 fraction        (IEEE 754)

/// <summary>Makes the functions that convert floating-point numbers.</summary>
internal static class RealNumbers
{
    private const int FractionBits = 52;
    private const int HighestExponent = 0x7ff;
    private const int Digits = 6;

    /// <summary>The bits of a double of the same value; of the argument the low 32 bits count. What is not a number keeps its fraction.</summary>
    public static Function Widened(Synthetics synthetics) => synthetics.Made("widen float", "__float_to_double", ScriptType.Long, p =>
    {
        var (e, f) = (p.New("e"), p.New("f"));
        var result = new List<Stmt>
        {
            p.Set(e, And(Shr(p.Read, 23), 0xff)),
            p.Set(f, And(p.Read, 0x7fffff)),
            p.When(Equal(Read(e), 0xff), p.Set(e, C(HighestExponent - 1023 + 127))),
        };

        // Numbers that are too small for an exponent get one: the first bit of the fraction becomes the one in front of the point.
        var small = new List<Stmt> { p.When(Equal(Read(f), 0), new ReturnStmt(Sign(p.Read, 31), default)), p.Set(e, C(1)) };
        foreach (var by in (int[])[16, 8, 4, 2, 1])
        {
            small.Add(p.When(Less(Read(f), C(1L << (24 - by))), p.Set(f, Shl(Read(f), C(by))), p.Set(e, Sub(Read(e), C(by)))));
        }

        result.Add(p.When(Equal(Read(e), 0), [.. small]));
        result.Add(new ReturnStmt(Or(Sign(p.Read, 31), Or(Shl(Add(Read(e), C(1023 - 127)), C(FractionBits)), Shl(And(Read(f), 0x7fffff), C(FractionBits - 23)))), default));
        return result;
    });

    /// <summary>The bits of the nearest float (of two equally near ones the even one), for writing.</summary>
    public static Function Narrowed(Synthetics synthetics) => synthetics.Made("narrow double", "__double_to_float", ScriptType.Long, p =>
    {
        var (e, f, by) = (p.New("e"), p.New("f"), p.New("by"));
        var sign = And(Shr(p.Read, 32), 1L << 31);
        return
        [
            p.Set(e, Sub(And(Shr(p.Read, FractionBits), HighestExponent), C(1023 - 127))),
            p.Set(f, And(p.Read, (1L << FractionBits) - 1)),
            p.When(Equal(Read(e), HighestExponent - 1023 + 127), new ReturnStmt(Or(sign, Or(C(0x7f800000),
                new ConditionalExpr(Equal(Read(f), 0), C(0), Or(Shr(Read(f), FractionBits - 23), C(0x400000)), default))), default)),
            p.When(Less(C(0xfe), Read(e)), new ReturnStmt(Or(sign, C(0x7f800000)), default)),
            p.When(Less(Read(e), C(-24)), new ReturnStmt(sign, default)),
            p.Set(by, C(FractionBits - 23)),

            // Below the smallest exponent the bit in front of the point moves into the fraction.
            p.When(Less(Read(e), C(1)), p.Set(f, Or(Read(f), C(1L << FractionBits))), p.Set(by, Sub(C(FractionBits - 23 + 1), Read(e))), p.Set(e, C(0))),
            p.Set(f, Add(Read(f), Add(Sub(Shl(C(1), Sub(Read(by), C(1))), C(1)), And(Shr(Read(f), Read(by)), C(1))))),
            new ReturnStmt(Or(sign, Add(Shl(Read(e), C(23)), Shr(Read(f), Read(by)))), default),
        ];
    });

    /// <summary>A double as C's <c>%f</c> shows it: six digits behind the point. From 2^63 on, its bits.</summary>
    public static Function Text(Synthetics synthetics) => synthetics.Made("double text", "__pretty_double", ScriptType.String, p =>
    {
        var (e, f, by, whole, digits) = (p.New("e"), p.New("f"), p.New("by"), p.New("whole"), p.New("digits"));
        var minus = new ConditionalExpr(Less(p.Read, C(0)), new StringConst("-", default), new StringConst("", default), default);
        var result = new List<Stmt>
        {
            p.Set(e, And(Shr(p.Read, FractionBits), HighestExponent)),
            p.Set(f, And(p.Read, (1L << FractionBits) - 1)),
            p.When(Equal(Read(e), HighestExponent), new ReturnStmt(new ConditionalExpr(Equal(Read(f), 0), new ConcatExpr([minus, new StringConst("inf", default)], default),
                new StringConst("nan", default), default), default)),
            new IfStmt(Equal(Read(e), 0), p.Set(e, C(1)), p.Set(f, Or(Read(f), C(1L << FractionBits))), default),

            // The value is f / 2^by.
            p.Set(by, Sub(C(1023 + FractionBits), Read(e))),
            p.When(Less(Read(by), C(FractionBits + 1 - 63)), new ReturnStmt(Synthetics.Format(p.Read, FormatConversion.Pointer), default)),
            p.When(Less(Read(by), C(0)), p.Set(f, Shl(Read(f), Sub(C(0), Read(by)))), p.Set(by, C(0))),

            // Ten times what is behind the point must fit into 63 bits.
            p.When(Less(C(59), Read(by)), p.Set(f, new ConditionalExpr(Less(Read(by), C(59 + 63)), Shr(Read(f), Sub(Read(by), C(59))), C(0), default)), p.Set(by, C(59))),
            p.Set(whole, Shr(Read(f), Read(by))),
            p.Set(digits, C(0)),
        };
        var mask = Sub(Shl(C(1), Read(by)), C(1));
        for (var i = 0; i < Digits; i++)
        {
            result.Add(p.Set(f, new BinaryExpr(BinaryOperator.Multiply, And(Read(f), mask), C(10), default)));
            result.Add(p.Set(digits, Add(new BinaryExpr(BinaryOperator.Multiply, Read(digits), C(10), default), Shr(Read(f), Read(by)))));
        }

        // Up from more than a half, and from a half where the last digit is odd.
        result.Add(p.When(Less(Shl(C(1), Read(by)), Add(Shl(And(Read(f), mask), C(1)), And(Read(digits), 1))), p.Set(digits, Add(Read(digits), C(1)))));
        result.Add(p.When(Equal(Read(digits), 1_000_000), p.Set(digits, C(0)), p.Set(whole, Add(Read(whole), C(1)))));
        result.Add(new ReturnStmt(new FormatExpr(
            [
                new FormatSegment(FormatConversion.String, ""), new FormatSegment(FormatConversion.Signed, ""), new FormatSegment(FormatConversion.Literal, "."),
                new FormatSegment(FormatConversion.Signed, "") { Flag = FormatFlag.Zero, WidthKind = FormatSize.Fixed, Width = Digits },
            ],
            [minus, Read(whole), Read(digits)], default), default));
        return result;
    });

    private static LongConst C(long value) => new(value, default);

    private static ReadExpr Read(Local local) => new(new LocalPlace(local), default);

    private static BinaryExpr And(Expr a, Expr b) => new(BinaryOperator.BitAnd, a, b, default);

    private static BinaryExpr And(Expr a, long b) => And(a, C(b));

    private static BinaryExpr Or(Expr a, Expr b) => new(BinaryOperator.BitOr, a, b, default);

    private static BinaryExpr Add(Expr a, Expr b) => new(BinaryOperator.Add, a, b, default);

    private static BinaryExpr Sub(Expr a, Expr b) => new(BinaryOperator.Subtract, a, b, default);

    private static BinaryExpr Shl(Expr a, Expr b) => new(BinaryOperator.ShiftLeft, a, b, default);

    private static BinaryExpr Shr(Expr a, Expr b) => new(BinaryOperator.ShiftRightLogical, a, b, default);

    private static BinaryExpr Shr(Expr a, int b) => Shr(a, C(b));

    private static BinaryExpr Less(Expr a, Expr b) => new(BinaryOperator.Less, a, b, default);

    private static BinaryExpr Equal(Expr a, long b) => new(BinaryOperator.Equal, a, C(b), default);

    /// <summary>The sign, from this bit, as the sign of a double.</summary>
    private static BinaryExpr Sign(Expr value, int bit) => Shl(And(Shr(value, bit), 1), C(63));
}
