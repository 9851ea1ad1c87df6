using CsCheck;
using SystemTap.Language.Parsing;
using SystemTap.Language.Syntax;
using SystemTap.Language.Text;

namespace SystemTap.Tests.Language;

/// <summary>CsCheck generators of trees over the whole grammar: only shapes that the parser can make.</summary>
internal static class SyntaxGen
{
    private static readonly SourceSpan At = new(new SourceText("gen", ""), 0, 0);

    private static Gen<T> OneOf<T>(params T[] values) => Gen.Int[0, values.Length - 1].Select(i => values[i]);

    private static readonly Gen<string> Name = OneOf("a", "b", "count", "x1", "_y", "printf_", "name$x", "exit");
    private static readonly Gen<string> Bytes = Gen.Char['\u0001', '\u00ff'].Array[0, 8].Select(c => new string(c));
    private static readonly Gen<long> Long = Gen.OneOf(Gen.Long, Gen.Long[-10, 10], OneOf(long.MinValue, long.MaxValue));

    private static readonly Gen<StringLiteral> Str = Bytes.Select(s => new StringLiteral(At, s));
    private static readonly Gen<LiteralExpression> Literal = Gen.OneOf(
        Long.Select(LiteralExpression (v) => new NumberLiteral(At, v)), Str.Select(LiteralExpression (s) => s));

    private static readonly Gen<IdentifierExpression> Variable = Name.Select(n => new IdentifierExpression(At, n));

    private static Gen<T?> Maybe<T>(Gen<T> gen)
        where T : class => Gen.OneOf(Gen.Const((T?)null), gen.Select(T? (v) => v));

    private static Gen<IReadOnlyList<T>> Some<T>(Gen<T> gen, int from, int to) => gen.Array[from, to].Select(IReadOnlyList<T> (a) => a);

    private static Gen<T> Or<T>(params Gen<T>[] gens) => Gen.OneOf(gens);

    public static readonly Gen<string> Format = OneOf("%d", "%-5s", "%.*x", "a%%b", "%*.*d", "\n", "%#m", "%4b", "%p%c").Array[0, 4].Select(string.Concat);

    private static Gen<Expression> Leaf => Or<Expression>(
        Literal.Select(Expression (l) => l),
        Variable.Select(Expression (v) => v),
        OneOf("$x", "$$vars", "$$parms", "$arg1", "$a$b").Select(Expression (n) => new TargetVariable(At, n)),
        Gen.Select(Str, Maybe(Str), Expression (n, m) => new AtVarExpression(At, n, m)),
        Str.Select(Expression (s) => new PerfExpression(At, s)),
        Name.Select(Expression (n) => new ProbeWriteExpression(At, n)),
        Str.Select(Expression (s) => new ConstExpression(At, s)),
        Str.Select(Expression (s) => new EnumExpression(At, s)),
        Gen.Select(Gen.Bool, Long, Expression (u, n) => new RegisterExpression(At, u, n)),
        OneOf(" 1 ", " /* pure */ x % y ").Select(Expression (c) => new EmbeddedCExpression(At, c)));

    private static Gen<Expression> Element(Gen<Expression> e) =>
        Gen.Select(Variable, Some(e, 1, 3), Expression (a, i) => new IndexExpression(At, a, i));

    private static Gen<Expression> Aggregate(Gen<Expression> e) => Or(Variable.Select(Expression (v) => v), Element(e));

    private static Gen<HistogramExpression> Histogram(Gen<Expression> e) => Or(
        Aggregate(e).Select(a => new HistogramExpression(At, a, false, 0, 0, 0)),
        Gen.Select(Aggregate(e), Gen.Long[-50, 0], Gen.Long[1, 50], Gen.Long[1, 9], (a, l, h, s) => new HistogramExpression(At, a, true, l, h, s)));

    private static Gen<Expression> TargetOf(Gen<Expression> e, bool plain) => Gen.Select(
        e, Gen.OneOf(OneOf("f", "next", "function", "a$b").Select(Accessor (n) => new MemberAccessor(At, n)), e.Select(Accessor (i) => new IndexAccessor(At, i))).Array[0, 3],
        Gen.Bool, Gen.Int[0, 2], Expression (v, accessors, address, pretty) =>
        {
            // Literals and prints take no index and no pretty suffix; something must be there.
            if (v is LiteralExpression or PrintExpression)
            {
                v = new TargetVariable(At, "$v");
            }

            address &= !plain;
            pretty = plain || address ? 0 : pretty;
            if (accessors.Length == 0 && !address && pretty == 0)
            {
                accessors = [new MemberAccessor(At, "m")];
            }

            return new TargetExpression(At, v, accessors, address, pretty);
        });

    private static Gen<Expression> Assignable(Gen<Expression> e) => Or(
        Variable.Select(Expression (v) => v), Element(e), Gen.Const<Expression>(new TargetVariable(At, "$w")), TargetOf(e, plain: true));

    private static Gen<Expression> Print(Gen<Expression> e) => Or(
        Gen.Select(OneOf(PrintKind.Print, PrintKind.PrintLine), Gen.Bool, Some(e, 1, 3), Expression (k, s, a) => new PrintExpression(At, k, s, null, [], a)),
        Gen.Select(OneOf(PrintKind.Print, PrintKind.PrintLine), Gen.Bool, Histogram(e), Expression (k, s, h) => new PrintExpression(At, k, s, null, [], [h])),
        Gen.Select(OneOf(PrintKind.Delimited, PrintKind.DelimitedLine), Gen.Bool, Bytes, Some(e, 2, 3), Expression (k, s, d, a) => new PrintExpression(At, k, s, d, [], a)),
        e.Select(Expression (a) => new PrintExpression(At, PrintKind.Char, false, null, [], [a])),
        Gen.Select(Gen.Bool, Format, e, Expression (s, text, a) =>
        {
            var segments = FormatParser.Parse(text, out _);
            var arguments = Enumerable.Repeat(a, FormatParser.ArgumentCount(segments)).ToArray();
            return new PrintExpression(At, PrintKind.Format, s, null, segments, arguments) { FormatLiteral = new StringLiteral(At, text) };
        }));

    public static Gen<Expression> ExpressionOf(int depth)
    {
        if (depth <= 0)
        {
            return Leaf;
        }

        var e = ExpressionOf(depth - 1);
        var keys = Some(Maybe(e), 1, 3);
        return Or(
            Leaf,
            Element(e),
            TargetOf(e, plain: false),
            Print(e),
            Gen.Select(OneOf(Enum.GetValues<UnaryOperator>()), e, Expression (o, x) => new UnaryExpression(At, o, x)),
            Gen.Select(Assignable(e), Gen.Bool, Gen.Bool, Expression (x, p, d) => new IncrementExpression(At, x, p, d)),
            Gen.Select(OneOf(Enum.GetValues<BinaryOperator>()), e, e, Expression (o, x, y) => new BinaryExpression(At, o, x, y)),
            Gen.Select(e, Str, Gen.Bool, Expression (x, s, n) => new RegexExpression(At, x, s, n)),
            Gen.Select(keys, Variable, Expression (k, a) => new InExpression(At, k, a)),
            Gen.Select(e, e, e, Expression (c, x, y) => new TernaryExpression(At, c, x, y)),
            Gen.Select(OneOf<BinaryOperator?>(null, BinaryOperator.Add, BinaryOperator.Subtract, BinaryOperator.Multiply, BinaryOperator.Divide,
                BinaryOperator.Modulo, BinaryOperator.BitAnd, BinaryOperator.BitOr, BinaryOperator.BitXor, BinaryOperator.ShiftLeft, BinaryOperator.ShiftRight,
                BinaryOperator.Concat), Assignable(e), e, Expression (o, t, v) => new AssignmentExpression(At, o, t, v)),
            Gen.Select(Aggregate(e), e, Expression (t, v) => new StatisticAddExpression(At, t, v)),
            Gen.Select(Name, Some(e, 0, 3), Expression (n, a) => new CallExpression(At, n, a)),
            Gen.Select(OneOf(Enum.GetValues<StatisticKind>()), Aggregate(e), Gen.Long[-1, 62], Expression (k, a, s) =>
                new StatisticExpression(At, k, a, k == StatisticKind.Variance && s >= 0 ? s : null)),
            Gen.Select(Histogram(e), e, Expression (h, i) => new IndexExpression(At, h, [i])),
            Gen.Select(e, Str, Maybe(Str), Expression (x, t, m) => new CastExpression(At, x, t, m)),
            e.Select(Expression (x) => new DefinedExpression(At, x)),
            e.Select(Expression (x) => new EntryExpression(At, x)),
            Gen.Select(e, Maybe(Str), Maybe(Str), Expression (x, t, m) => new EnumNameExpression(At, x, t, t is null ? null : m)),
            Gen.Select(Gen.Bool, OneOf(1L, 2, 4, 8), e, Expression (u, s, a) => new DerefExpression(At, u, s, a)));
    }

    private static readonly Gen<Expression> E = ExpressionOf(3);

    private static Gen<BlockStatement> BlockOf(int depth, bool inLoop, bool inFunction) =>
        Some(StatementOf(depth, inLoop, inFunction), 0, 3).Select(s => new BlockStatement(At, s));

    private static Gen<Statement> StatementOf(int depth, bool inLoop, bool inFunction)
    {
        var simple = new List<Gen<Statement>>
        {
            Gen.Const<Statement>(new EmptyStatement(At)),
            E.Select(Statement (e) => new ExpressionStatement(At, e)),
            Gen.Const<Statement>(new NextStatement(At)),
            Variable.Select(Statement (v) => new DeleteStatement(At, v)),
            Gen.Select(Variable, Some(Maybe(ExpressionOf(1)), 1, 3), Statement (v, i) => new DeleteStatement(At, new IndexExpression(At, v, i))),
        };
        if (inLoop)
        {
            simple.Add(Gen.Const<Statement>(new BreakStatement(At)));
            simple.Add(Gen.Const<Statement>(new ContinueStatement(At)));
        }

        if (inFunction)
        {
            simple.Add(Maybe(E).Select(Statement (e) => new ReturnStatement(At, e)));
        }

        if (depth <= 0)
        {
            return Or([.. simple]);
        }

        var s = StatementOf(depth - 1, inLoop, inFunction);
        var body = StatementOf(depth - 1, true, inFunction);
        var block = BlockOf(depth - 1, inLoop, inFunction);
        simple.Add(block.Select(Statement (b) => b));
        simple.Add(Gen.Select(E, s, Statement (c, t) => new IfStatement(At, c, t, null)));
        simple.Add(Gen.Select(E, block, s, Statement (c, t, f) => new IfStatement(At, c, t, f)));
        simple.Add(Gen.Select(E, body, Statement (c, b) => new WhileStatement(At, c, b)));
        simple.Add(Gen.Select(Maybe(E), Maybe(E), Maybe(E), body, Statement (i, c, n, b) => new ForStatement(At, i, c, n, b)));
        simple.Add(Gen.Select(block, Maybe(Variable), block, Statement (b, v, h) => new TryStatement(At, b, v, h)));
        simple.Add(Foreach(body));
        return Or([.. simple]);
    }

    private static Gen<Statement> Foreach(Gen<Statement> body) => Gen.Select(
        Gen.Select(Some(Variable, 1, 3), Maybe(Variable), Gen.OneOf(Variable.Select(Expression (v) => v), Histogram(ExpressionOf(1)).Select(Expression (h) => h))),
        Gen.Select(OneOf(Enum.GetValues<SortDirection>()), Gen.Int[0, 3], OneOf<StatisticKind?>(null, StatisticKind.Sum, StatisticKind.Variance)),
        Gen.Select(Maybe(ExpressionOf(1)), Gen.Bool, Maybe(ExpressionOf(1))),
        body, Statement (what, sort, rest, b) =>
        {
            var (keys, value, array) = what;
            var (direction, key, statistic) = sort;
            var (sliceMember, sliced, limit) = rest;
            key = Math.Min(key, keys.Count);
            if (direction == SortDirection.None || key > 0)
            {
                statistic = null;
            }

            IReadOnlyList<Expression?>? slice = sliced && array is IdentifierExpression ? Enumerable.Repeat(sliceMember, keys.Count).ToArray() : null;
            return new ForeachStatement(At, keys, value, array, slice, direction, key, statistic, limit, b);
        });

    private static readonly Gen<ProbeComponent> Component = Gen.Select(
        OneOf("begin", "kernel", "function", "return", "*", "sys*", "a*b*c", "**", "limit", "*_x"), Maybe(Literal), (n, l) => new ProbeComponent(At, n, l));

    private static readonly Gen<ProbePoint> Point = Gen.Select(Some(Component, 1, 4), Gen.Int[0, 2], Maybe(ExpressionOf(1)),
        (c, m, e) => new ProbePoint(At, c, m > 0, m > 1, e));

    private static readonly Gen<ProbePoint> AliasName = Some(Component, 1, 3).Select(c => new ProbePoint(At, c, false, false, null));

    private static Gen<TopLevelNode> Definition(int i)
    {
        var types = OneOf(Enum.GetValues<TypeAnnotation>());
        return Or<TopLevelNode>(
            Gen.Select(Some(Point, 1, 3), BlockOf(2, false, false), TopLevelNode (p, b) => new ProbeDefinition(At, p, b)),
            Gen.Select(Some(AliasName, 1, 2), Some(Point, 1, 2), Gen.Bool, BlockOf(1, false, false), Maybe(BlockOf(1, false, false)),
                TopLevelNode (n, p, s, b, e) => new AliasDefinition(At, n, p, s, b, s ? null : e)),
            Gen.Select(Gen.Bool, Gen.Int[0, 5], Literal, TopLevelNode (p, k, l) => new GlobalDefinition(At, "g" + i, p, k switch { 1 => 1, 2 => int.MaxValue, _ => null }, k is 2 or 3, k >= 4 ? l : null)),
            Gen.Select(Gen.Bool, types, types, Gen.Int[0, 3], Gen.Int[0, 3], BlockOf(2, false, true),
                TopLevelNode (p, r, t, count, priority, b) => new FunctionDefinition(At, "f" + i, p, r,
                    [.. Enumerable.Range(0, count).Select(k => new Parameter(At, "p" + k, t))], priority > 0 ? priority : null, b, null)),
            Gen.Const<TopLevelNode>(new FunctionDefinition(At, "c" + i, false, TypeAnnotation.Long, [], null, null, " STAP_RETURN(1); ")),
            Gen.Const<TopLevelNode>(new EmbeddedCDefinition(At, "\n#include <x.h>\n")));
    }

    public static readonly Gen<ScriptFile> File = Gen.Select(Definition(0), Definition(1), Definition(2),
        (a, b, c) => new ScriptFile(At, At.Source, [a, b, c]));
}
