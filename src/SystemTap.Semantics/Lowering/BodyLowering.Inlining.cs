using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Binding;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Semantics.Lowering;

// Tapset functions are mostly one line over an intrinsic. Calling them would cost a frame and hide from the engines that pid() is pid(),
// so such a line takes the place of the call when that cannot be noticed: each argument is evaluated once, in order and always,
// or it is so simple that when and how often does not matter.
internal sealed partial class BodyLowering
{
    private const int MaxInlineDepth = 12;

    private Dictionary<LocalSymbol, Expr>? _inlined;
    private int _inlineDepth;
    private SourceSpan? _callPlace;

    /// <summary>
    /// The place of a node. Inside of an inlined library line it is that of the script's call: an error raised there is the caller's affair, as
    /// with SystemTap's library functions, which have no places of their own.
    /// </summary>
    private SourceSpan At(SourceSpan span) => _callPlace ?? span;

    private Expr? TryInline(FunctionSymbol function, Expr[] arguments, SourceSpan place)
    {
        if (!function.IsTapset || function.Next is not null || _inlineDepth >= MaxInlineDepth || function.Unit is not { } callee
            || SingleExpression(callee, function.Definition.Body) is not { } body)
        {
            return null;
        }

        var isVoid = function.Return.Type == ScriptType.Void;
        if (isVoid && body is not CallExpression)
        {
            return null;
        }

        var uses = new ParameterUses(_session, callee, arguments.Length);
        uses.Visit(body);
        if (!uses.CanReplace)
        {
            return null;
        }

        var effectFree = !_session.Effects.HasEffects(function);
        var isDirect = body is CallExpression call && IntrinsicTable.Find(call.Name) is not null;
        var next = 0;
        for (var i = 0; i < arguments.Length; i++)
        {
            var argument = arguments[i];
            if (argument is LongConst or StringConst)
            {
                continue;
            }

            var count = uses.Counts[i];
            if (argument is ReadExpr { Place: LocalPlace } && effectFree)
            {
                continue;
            }

            if (count == 0 && !ExprFacts.HasEffects(argument))
            {
                continue;
            }

            if (count > 1 || (!effectFree && !isDirect))
            {
                return null;
            }

            if (ExprFacts.IsSimple(argument))
            {
                continue;
            }

            if (count != 1 || uses.IsConditional[i] || uses.Order[i] < next)
            {
                return null;
            }

            next = uses.Order[i];
        }

        var outerUnit = _unit;
        var outerMap = _inlined;
        var map = new Dictionary<LocalSymbol, Expr>(arguments.Length);
        for (var i = 0; i < arguments.Length; i++)
        {
            map[callee.Locals[i]] = arguments[i];
        }

        var outerPlace = _callPlace;
        _callPlace ??= place;
        _inlined = map;
        _unit = callee;
        _inlineDepth++;
        var result = Lower(body);
        _inlineDepth--;
        _callPlace = outerPlace;
        _unit = outerUnit;
        _inlined = outerMap;
        return result;
    }

    /// <summary>The one expression a function consists of after decided branches are gone; null when there is more.</summary>
    private Expression? SingleExpression(BodyUnit callee, Statement? s)
    {
        if (s is not null && callee.Kept is { } kept && !kept.Contains(s))
        {
            return null;
        }

        switch (s)
        {
            case ReturnStatement { Value: { } value }:
                return value;
            case ExpressionStatement { Expression: CallExpression call } when callee.Function!.Return.Type == ScriptType.Void:
                return call;
            case IfStatement i when _session.Conditions.Evaluate(callee, i.Condition) is { } known:
                return SingleExpression(callee, known ? i.Then : i.Else);
            case BlockStatement b:
                Expression? found = null;
                foreach (var inner in b.Statements)
                {
                    if (inner is EmptyStatement || (callee.Kept is { } stays && !stays.Contains(inner)))
                    {
                        continue;
                    }

                    if (inner is IfStatement i && _session.Conditions.Evaluate(callee, i.Condition) is { } taken && (taken ? i.Then : i.Else) is null)
                    {
                        continue;
                    }

                    if (found is not null)
                    {
                        return null;
                    }

                    found = SingleExpression(callee, inner);
                    if (found is null)
                    {
                        return null;
                    }

                    if (inner is ReturnStatement || (inner is IfStatement && callee.Function!.Return.Type != ScriptType.Void))
                    {
                        // What follows is never reached.
                        return found;
                    }
                }

                return found;
            default:
                return null;
        }
    }

    /// <summary>How a body uses its parameters, in order of evaluation.</summary>
    private sealed class ParameterUses(BindingSession session, BodyUnit callee, int count) : SyntaxWalker
    {
        private int _position;
        private int _conditional;

        public int[] Counts { get; } = new int[count];

        public int[] Order { get; } = new int[count];

        public bool[] IsConditional { get; } = new bool[count];

        /// <summary>No locals, no changes of parameters.</summary>
        public bool CanReplace { get; private set; } = true;

        public override void Visit(Expression? expression)
        {
            switch (expression)
            {
                case IdentifierExpression id:
                    if (session.Resolve(callee, id) is LocalSymbol local)
                    {
                        var index = callee.Locals.IndexOf(local);
                        if (index < 0 || index >= Counts.Length)
                        {
                            CanReplace = false;
                            return;
                        }

                        Counts[index]++;
                        Order[index] = ++_position;
                        IsConditional[index] |= _conditional > 0;
                    }

                    return;
                case AssignmentExpression or IncrementExpression or StatisticAddExpression or PrintExpression { ReturnsString: false } or EmbeddedCExpression:
                    CanReplace = false;
                    return;
                case DefinedExpression:
                    return;
                case IndexExpression { Array: IdentifierExpression id } when session.Resolve(callee, id) is LocalSymbol:
                case EntryExpression:
                    CanReplace = false;
                    return;
                case TernaryExpression t when session.Conditions.Evaluate(callee, t.Condition) is { } known:
                    Visit(known ? t.WhenTrue : t.WhenFalse);
                    return;
                case TernaryExpression t:
                    Visit(t.Condition);
                    _conditional++;
                    Visit(t.WhenTrue);
                    Visit(t.WhenFalse);
                    _conditional--;
                    return;
                case BinaryExpression { Operator: BinaryOperator.LogicalAnd or BinaryOperator.LogicalOr } b:
                    Visit(b.Left);
                    _conditional++;
                    Visit(b.Right);
                    _conditional--;
                    return;
            }

            base.Visit(expression);
        }
    }
}
