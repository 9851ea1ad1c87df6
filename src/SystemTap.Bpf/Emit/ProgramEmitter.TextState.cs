using Linux.Bpf;
using SystemTap.Bpf.Analysis;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Emit;

// What tokenize() and =~ leave behind for later statements of the same handler run. It stands in parts of the frame that are taken when first needed and never
// given back; each handler run starts without.

internal sealed partial class ProgramEmitter
{
    /// <summary>Makes a handler start without a text to cut and without a match.</summary>
    private void ResetTextState(Stmt body)
    {
        if (!_hasFrame)
        {
            return;
        }

        var state = new TextStateFinder(f => _c.FunctionBodies.GetValueOrDefault(f) ?? f.Body);
        state.Visit(body);
        if (state.Tokenizes)
        {
            Store(TokenText.Memory, 0);
            Store(_tokenAt, 0);
        }

        if (state.AsksForGroups)
        {
            _ = MatchSubject;
            Store(_matchCount, 0);
        }
    }
}

/// <summary>Finds uses of what one statement of a handler leaves for another.</summary>
internal sealed class TextStateFinder(Func<Function, Stmt> bodyOf) : LoweredWalker
{
    private readonly HashSet<Function> _seen = new(ReferenceEqualityComparer.Instance);

    public bool Tokenizes { get; private set; }

    public bool AsksForGroups { get; private set; }

    public override void Visit(Expr? expression)
    {
        switch (expression)
        {
            case IntrinsicExpr { Intrinsic.Id: IntrinsicId.Tokenize }:
                Tokenizes = true;
                break;
            case IntrinsicExpr { Intrinsic.Id: IntrinsicId.MatchedGroup or IntrinsicId.GroupCount }:
                AsksForGroups = true;
                break;
            case CallExpr c:
                for (var f = c.Function; f is not null && _seen.Add(f); f = f.NextOverload)
                {
                    Visit(bodyOf(f));
                }

                break;
        }

        base.Visit(expression);
    }
}
