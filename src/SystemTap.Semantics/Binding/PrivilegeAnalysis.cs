using SystemTap.Language.Syntax;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Probes;

namespace SystemTap.Semantics.Binding;

/// <summary>
/// What a library function needs: the union of what the built-ins it reaches need. Asked once for each call that stands in a user's file; library files call
/// what they like.
/// </summary>
internal sealed class PrivilegeAnalysis(BindingSession session)
{
    private readonly Dictionary<FunctionDefinition, IntrinsicTraits> _known = [];

    /// <summary>Reports a call that the session's rights do not cover.</summary>
    public void Check(CallExpression call, FunctionSymbol function)
    {
        if (!function.IsTapset || (session.Options.GuruMode && session.Options.Privilege != Privilege.User))
        {
            return;
        }

        var traits = Of(function);
        if ((traits & IntrinsicTraits.Guru) != 0 && !session.Options.GuruMode)
        {
            session.Report("semantic.needs-guru", call.NameSpan, $"function '{call.Name}' needs guru mode", "use stap -g");
        }
        else if ((traits & IntrinsicTraits.KernelRead) != 0 && session.Options.Privilege == Privilege.User)
        {
            session.Report("semantic.privilege", call.NameSpan,
                $"function '{call.Name}' reads kernel memory, which members of stapusr may not", "needs --privilege=stapsys or stapdev");
        }
    }

    private IntrinsicTraits Of(FunctionSymbol function)
    {
        var definition = function.Definition;
        if (_known.TryGetValue(definition, out var known))
        {
            return known;
        }

        _known[definition] = IntrinsicTraits.None;
        var traits = IntrinsicTraits.None;
        if (definition.EmbeddedCode is { } code)
        {
            if (code.Contains("/* guru */", StringComparison.Ordinal))
            {
                traits |= IntrinsicTraits.Guru;
            }

            if (!code.Contains("unprivileged */", StringComparison.Ordinal))
            {
                traits |= IntrinsicTraits.KernelRead;
            }
        }
        else
        {
            var walker = new Walker(this, function.Unit ?? new BodyUnit { Function = function, Blocks = [] });
            walker.Visit(definition.Body);
            traits = walker.Traits;
        }

        if (function.Next is { } next)
        {
            traits |= Of(next);
        }

        return _known[definition] = traits;
    }

    private sealed class Walker(PrivilegeAnalysis owner, BodyUnit unit) : SyntaxWalker
    {
        public IntrinsicTraits Traits { get; private set; }

        public override void Visit(Statement? statement)
        {
            if (statement is IfStatement i && owner.Session.Conditions.Evaluate(unit, i.Condition) is { } known)
            {
                Visit(known ? i.Then : i.Else);
                return;
            }

            base.Visit(statement);
        }

        public override void Visit(Expression? expression)
        {
            switch (expression)
            {
                case DefinedExpression:
                    return;
                case TernaryExpression t when owner.Session.Conditions.Evaluate(unit, t.Condition) is { } known:
                    Visit(known ? t.WhenTrue : t.WhenFalse);
                    return;
                case DerefExpression { IsUser: false } or TargetExpression or AtVarExpression:
                    Traits |= IntrinsicTraits.KernelRead;
                    break;
                case CallExpression call:
                    if (IntrinsicTable.Find(call.Name) is { } intrinsic)
                    {
                        Traits |= intrinsic.Traits;
                    }
                    else if (owner.Session.Symbols.FindFunction(call.Name, call.Arguments.Count, call.Span.Source) is { } callee)
                    {
                        Traits |= owner.Of(callee);
                    }

                    break;
            }

            base.Visit(expression);
        }
    }

    private BindingSession Session => session;
}
