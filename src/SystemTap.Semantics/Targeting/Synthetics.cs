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
    public Function Guarded(string key, string name, Func<Expr, Expr> body, Func<Expr, Expr> fallback)
    {
        if (_byKey.TryGetValue(key, out var known))
        {
            return known;
        }

        var parameter = new Local(0, "p", ScriptType.Long);
        var read = new ReadExpr(new LocalPlace(parameter), default);
        var body1 = new TryStmt(new ReturnStmt(body(read), default), null, new ReturnStmt(fallback(read), default), default);
        return Add(key, name, [parameter], ScriptType.String, body1);
    }

    /// <summary>The function of a key, whose body the callback writes.</summary>
    public Function Made(string key, string name, ScriptType result, Func<Writer, IReadOnlyList<Stmt>> body)
    {
        if (_byKey.TryGetValue(key, out var known))
        {
            return known;
        }

        var writer = new Writer();
        return Add(key, name, writer.Locals, result, new BlockStmt(body(writer), default));
    }

    /// <summary>Name of an enumerator, decimal text for other values.</summary>
    public Function EnumName(BtfType type)
    {
        var stripped = type.Stripped;
        var key = $"enum {stripped.Btf.Name} {stripped.Id}";
        if (_byKey.TryGetValue(key, out var known))
        {
            return known;
        }

        var values = new SortedDictionary<long, string>();
        foreach (var enumerator in stripped.Enumerators)
        {
            values.TryAdd(enumerator.Value, enumerator.Name); // of several names for one value, the first
        }

        var parameter = new Local(0, "v", ScriptType.Long);
        var read = new ReadExpr(new LocalPlace(parameter), default);
        var sorted = new List<KeyValuePair<long, string>>(values);
        var statements = new List<Stmt>();
        if (sorted.Count > 0)
        {
            statements.Add(Search(read, sorted, 0, sorted.Count));
        }

        statements.Add(new ReturnStmt(Format(read, FormatConversion.Signed), default));
        return Add(key, "__enumname_" + stripped.Name, [parameter], ScriptType.String, new BlockStmt(statements, default));
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

    private Function Add(string key, string name, IReadOnlyList<Local> locals, ScriptType result, Stmt body)
    {
        var function = new Function
        {
            Name = name + "_" + _functions.Count.ToString(System.Globalization.CultureInfo.InvariantCulture),
            ParameterCount = 1,
            Locals = locals,
            ReturnType = result,
            Body = body,
            IsPure = true,
            IsTapset = true,
            Span = default(SourceSpan),
        };
        _functions.Add(function);
        _byKey[key] = function;
        return function;
    }

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
        public Stmt When(Expr condition, params IReadOnlyList<Stmt> statements) => new IfStmt(condition, statements.Count == 1 ? statements[0] : new BlockStmt(statements, default), null, default);
    }
}
