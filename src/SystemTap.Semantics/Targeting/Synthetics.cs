using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;
using SystemTap.Targets;

namespace SystemTap.Semantics.Targeting;

/// <summary>
/// Script functions made by the compiler: each takes one number, usually an address, and returns a text (catching what goes wrong while it reads) or a
/// number. One for each question asked, however often the script asks it.
/// </summary>
internal sealed class Synthetics
{
    private readonly Dictionary<string, Function> _byKey = new(StringComparer.Ordinal);
    private readonly List<Function> _functions = [];

    public IReadOnlyList<Function> Functions => _functions;

    /// <summary>
    /// The function of a key: <c>try { return body(p) } catch { return fallback(p) }</c>.
    /// </summary>
    public Function Guarded(string key, string name, Func<Expr, Expr> body, Func<Expr, Expr> fallback) =>
        Made(key, name, ScriptType.String, p => [new TryStmt(new ReturnStmt(body(p.Read), default), null, new ReturnStmt(fallback(p.Read), default), default)]);

    /// <summary>The function of a key, whose body the callback writes.</summary>
    public Function Made(string key, string name, ScriptType result, Func<Writer, IReadOnlyList<Stmt>> body)
    {
        if (_byKey.TryGetValue(key, out var known))
        {
            return known;
        }

        var writer = new Writer();
        var statements = body(writer);
        var function = new Function
        {
            Name = name + "_" + _functions.Count.ToString(System.Globalization.CultureInfo.InvariantCulture),
            ParameterCount = 1,
            Locals = writer.Locals,
            ReturnType = result,
            Body = Writer.Block(statements),
            IsPure = true,
            IsTapset = true,
            Span = default(SourceSpan),
        };
        _functions.Add(function);
        _byKey[key] = function;
        return function;
    }

    /// <summary>Name of an enumerator, decimal text for other values.</summary>
    public Function EnumName(BtfType type)
    {
        var stripped = type.Stripped;
        return Made($"enum {stripped.Btf.Name} {stripped.Id}", "__enumname_" + stripped.Name, ScriptType.String, v =>
        {
            var values = new SortedDictionary<long, string>();
            foreach (var enumerator in stripped.Enumerators)
            {
                values.TryAdd(enumerator.Value, enumerator.Name); // of several names for one value, the first
            }

            var sorted = new List<KeyValuePair<long, string>>(values);
            var other = new ReturnStmt(Format(v.Read, FormatConversion.Signed), default);
            return sorted.Count > 0 ? [Search(v.Read, sorted, 0, sorted.Count), other] : [other];
        });
    }

    /// <summary>A balanced tree of comparisons: enums of hundreds of values cost a handful of steps, and no pass has to recurse deeply.</summary>
    private static Stmt Search(Expr value, List<KeyValuePair<long, string>> sorted, int from, int to)
    {
        if (to - from == 1)
        {
            return new IfStmt(new BinaryExpr(BinaryOperator.Equal, value, new LongConst(sorted[from].Key, default), default),
                new ReturnStmt(new StringConst(sorted[from].Value, default), default), null, default);
        }

        var middle = from + ((to - from) / 2);
        return new IfStmt(new BinaryExpr(BinaryOperator.Less, value, new LongConst(sorted[middle].Key, default), default),
            Search(value, sorted, from, middle), Search(value, sorted, middle, to), default);
    }

    /// <summary>Text of a string in memory, quoted and escaped; the address when it cannot be read.</summary>
    public Function QuotedString(bool isUser, int length, int limit) => Guarded(
        $"string {isUser} {length}",
        (isUser ? "__pretty_user_string_" : "__pretty_string_") + length,
        p => new IntrinsicExpr(IntrinsicTable.Get(IntrinsicId.EscapeText),
            [new IntrinsicExpr(IntrinsicTable.Get(isUser ? IntrinsicId.UserString : IntrinsicId.KernelString), [p, new LongConst(length, default)], default),
                new LongConst(limit, default), new LongConst(1, default)], default),
        p => Format(p, FormatConversion.Pointer));

    internal static Expr Format(Expr value, FormatConversion conversion) => new FormatExpr([new FormatSegment(conversion, "")], [value], value.Span);

    /// <summary>The variables of a function that is being written; the first is its parameter.</summary>
    public sealed class Writer
    {
        private readonly List<Local> _locals = [new Local(0, "p", ScriptType.Long)];

        /// <summary>The parameter and what <see cref="New"/> made.</summary>
        public IReadOnlyList<Local> Locals => _locals;

        /// <summary>The parameter's value.</summary>
        public ReadExpr Read => new(new LocalPlace(_locals[0]), default);

        /// <summary>A new variable for a number.</summary>
        public Local New(string name)
        {
            _locals.Add(new Local(_locals.Count, name, ScriptType.Long));
            return _locals[^1];
        }

        /// <summary><c>local = value</c></summary>
        public Stmt Set(Local local, Expr value) => new ExprStmt(new AssignExpr(new LocalPlace(local), value, default), default);

        /// <summary><c>if (condition) { statements }</c></summary>
        public Stmt When(Expr condition, params IReadOnlyList<Stmt> statements) => new IfStmt(condition, Block(statements), null, default);

        /// <summary>One statement as it is, several as a block.</summary>
        internal static Stmt Block(IReadOnlyList<Stmt> statements) => statements.Count == 1 ? statements[0] : new BlockStmt(statements, default);
    }
}
