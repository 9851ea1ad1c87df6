using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;

namespace SystemTap.KernelModule.Translation;

/// <summary>
/// Whether a script only prints its stacks or also looks into their texts (array keys, comparisons, string functions). What is only printed is made by
/// staprun, which unwinds without frame pointers and knows the names of programs (runtime/core/stacks.c); what is looked into must be made in the kernel.
/// Values are followed through variables, functions and array elements, without regard to order: at worst a text is made in the kernel needlessly.
/// </summary>
internal sealed class StackUse : LoweredWalker
{
    private readonly HashSet<object> _carriers = new(ReferenceEqualityComparer.Instance);
    private Function? _function;
    private bool _changed;

    /// <param name="program">What is translated.</param>
    public StackUse(LoweredProgram program)
    {
        do
        {
            _changed = false;
            foreach (var function in program.Functions)
            {
                _function = function;
                Visit(function.Body);
            }

            _function = null;
            foreach (var probe in program.Probes)
            {
                Visit(probe.Body);
            }
        }
        while (_changed);
    }

    /// <summary>Some handler looks into the text of a stack.</summary>
    public bool IsKept { get; private set; }

    /// <summary>Something asks for user stacks or names in programs.</summary>
    public bool AsksForPrograms { get; private set; }

    /// <inheritdoc/>
    public override void Visit(Stmt? statement)
    {
        base.Visit(statement);
        switch (statement)
        {
            case ReturnStmt { Value: { } value } when _function is not null && Carries(value):
                Add(_function);
                break;
            case DeleteStmt { Keys: { } keys }:
                Keys(keys);
                break;
            case StatAddStmt s:
                Keys(s.Keys);
                break;
        }
    }

    /// <inheritdoc/>
    public override void Visit(Expr? expression)
    {
        base.Visit(expression);
        switch (expression)
        {
            case ReadExpr { Place: ElementPlace p }:
                Keys(p.Keys);
                break;
            case AssignExpr e:
                Store(e.Place, e.Value);
                break;
            case UpdateExpr e:
                Store(e.Place, e.Operand);
                break;
            case InExpr e:
                Keys(e.Keys);
                break;
            case StatExpr e:
                Keys(e.Keys);
                break;
            case BucketExpr e:
                Keys(e.Keys);
                break;
            case StringCompareExpr e:
                IsKept |= Carries(e.Left) || Carries(e.Right);
                break;
            case RegexExpr e:
                IsKept |= Carries(e.Subject);
                break;
            case CallExpr e:
                for (var f = e.Function; f is not null; f = f.NextOverload)
                {
                    for (var i = 0; i < e.Arguments.Count; i++)
                    {
                        if (Carries(e.Arguments[i]))
                        {
                            Add(f.Locals[i]);
                        }
                    }
                }

                break;
            case IntrinsicExpr e:
                AsksForPrograms |= IsOfPrograms(e.Intrinsic.Id);
                IsKept |= !IsTransparent(e.Intrinsic.Id) && e.Arguments.Any(Carries);
                break;
        }
    }

    private static bool IsOfPrograms(IntrinsicId id) => id is IntrinsicId.UserStack or IntrinsicId.UserStackFrom or IntrinsicId.UserSymbolName or IntrinsicId.UserSymbolData or IntrinsicId.UserModule
        or IntrinsicId.UserSymbolLines or IntrinsicId.UserSymbolPlace or IntrinsicId.ProbeFunction;

    /// <summary>Takes such a text without looking into it, or knows what it is.</summary>
    private static bool IsTransparent(IntrinsicId id) => id is IntrinsicId.StackHead or IntrinsicId.StackEntry or IntrinsicId.SymbolLines or IntrinsicId.UserSymbolLines
        or IntrinsicId.Log or IntrinsicId.Warn or IntrinsicId.Error;

    private bool Carries(Expr? expression) => expression switch
    {
        IntrinsicExpr { Intrinsic.Id: IntrinsicId.UserStack or IntrinsicId.UserStackFrom or IntrinsicId.SymbolLines or IntrinsicId.UserSymbolLines } => true,
        IntrinsicExpr { Intrinsic.Id: IntrinsicId.StackHead } e => Carries(e.Arguments[0]),
        ReadExpr { Place: LocalPlace p } => _carriers.Contains(p.Local),
        ReadExpr { Place: GlobalPlace p } => _carriers.Contains(p.Global),
        ReadExpr { Place: ElementPlace p } => _carriers.Contains(p.Array),
        CallExpr e => Overloads(e.Function).Any(_carriers.Contains),
        ConditionalExpr e => Carries(e.WhenTrue) || Carries(e.WhenFalse),
        ConcatExpr e => e.Parts.Any(Carries),
        FormatExpr e => e.Arguments.Any(Carries),
        AssignExpr e => Carries(e.Value),
        UpdateExpr e => Carries(e.Operand),
        SequenceExpr e => Carries(e.Value),
        _ => false,
    };

    private static IEnumerable<Function> Overloads(Function function)
    {
        for (Function? f = function; f is not null; f = f.NextOverload)
        {
            yield return f;
        }
    }

    private void Store(Place place, Expr? value)
    {
        if (place is ElementPlace { Keys: { } keys })
        {
            Keys(keys);
        }

        if (place.Type == ScriptType.String && Carries(value))
        {
            Add(place switch { LocalPlace p => p.Local, GlobalPlace p => p.Global, _ => (object)((ElementPlace)place).Array });
        }
    }

    private void Keys(IEnumerable<Expr?> keys) => IsKept |= keys.Any(Carries);

    private void Add(object carrier) => _changed |= _carriers.Add(carrier);
}
