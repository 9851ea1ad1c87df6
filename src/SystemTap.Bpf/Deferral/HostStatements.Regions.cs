using SystemTap.Bpf.Analysis;
using SystemTap.Language.Text;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Deferral;

// Whether stap can run a region, and which globals move with it.

internal sealed partial class HostStatements
{
    /// <summary>Everything in a region can be run by stap; its globals move.</summary>
    private sealed class RegionCheck(HostStatements owner, bool isTail, Dictionary<Local, int> owned) : LoweredWalker
    {
        private int _conditional;

        /// <summary>Inside something the kernel computes: nothing of stap's can be used there.</summary>
        private int _leaf;

        /// <summary>The kernel can say what it is before the statement runs.</summary>
        private bool KernelKnows(Expr? e) => e switch
        {
            null or LongConst or StringConst or ContextExpr => true,
            ReadExpr { Place: LocalPlace p } => !owned.ContainsKey(p.Local),
            ReadExpr { Place: GlobalPlace p } => !owner._moved.Contains(p.Global),
            ReadExpr { Place: ElementPlace p } => !owner._moved.Contains(p.Array) && p.Keys.All(KernelKnows),
            IntrinsicExpr i => i.Intrinsic.Has(IntrinsicTraits.Pure) && !IsStapsOnly(i.Intrinsic.Id) && i.Arguments.All(KernelKnows),
            DerefExpr d => KernelKnows(d.Address),
            BinaryExpr b => KernelKnows(b.Left) && KernelKnows(b.Right),
            UnaryExpr u => KernelKnows(u.Operand),
            ConcatExpr c => c.Parts.All(KernelKnows),
            _ => false,
        };

        /// <summary>A look at a global that stays in the kernel.</summary>
        private bool IsKernelRead(Expr e) => e switch
        {
            ReadExpr { Place: not LocalPlace } => KernelKnows(e),
            InExpr i => !owner._moved.Contains(i.Array) && i.Keys.All(KernelKnows),
            StatExpr s => !owner._moved.Contains(s.Aggregate) && s.Keys.All(KernelKnows),
            _ => false,
        };

        private void VisitLeaf(Expr e)
        {
            _leaf++;
            base.Visit(e);
            _leaf--;
        }

        public override void Visit(Stmt? statement)
        {
            switch (statement)
            {
                case NextStmt when !isTail:
                case ReturnStmt:
                    throw new NotPossible("'next' behind it would have to skip statements of the kernel", statement.Span);
                case DeleteStmt d:
                    Move(d.Global);
                    break;
                case StatAddStmt a:
                    Move(a.Aggregate);
                    break;
                case ForeachStmt f:
                    Move(f.Array);
                    break;
                case IfStmt i:
                    Visit(i.Condition);
                    _conditional++;
                    Visit(i.Then);
                    Visit(i.Else);
                    _conditional--;
                    return;
                case LoopStmt or TryStmt:
                    _conditional++;
                    base.Visit(statement);
                    _conditional--;
                    return;
            }

            var isLoop = statement is ForeachStmt;
            _conditional += isLoop ? 1 : 0;
            base.Visit(statement);
            _conditional -= isLoop ? 1 : 0;
        }

        public override void Visit(Expr? expression)
        {
            if (expression is HistogramTextExpr histogram)
            {
                if (_leaf == 0 && _conditional == 0 && !owner._moved.Contains(histogram.Aggregate) && histogram.Keys.All(KernelKnows))
                {
                    return;
                }

                // Also one that nothing is ever added to.
                owner._moved.Add(histogram.Aggregate);
            }

            if (GlobalOf(expression) is { IsReadOnly: false } g)
            {
                if (_leaf > 0)
                {
                    if (expression is AssignExpr or UpdateExpr)
                    {
                        throw new NotPossible($"'{g.Name}' is changed while memory is read", expression.Span);
                    }

                    owner._readInKernel.Add(g);
                }
                else if (IsKernelRead(expression!))
                {
                    return;
                }
                else
                {
                    Move(g);
                }
            }

            if (_leaf > 0 && expression is IntrinsicExpr { Intrinsic.Id: var id } && IsStapsOnly(id))
            {
                throw new NotPossible("the kernel would need such a text, or what is made of it, to go on", expression.Span);
            }

            if (_leaf > 0 && expression is ReadExpr { Place: LocalPlace p } && owned.ContainsKey(p.Local))
            {
                throw new NotPossible($"the kernel would need variable '{p.Local.Name}' to go on, which depends on such a text or changes beside it", expression.Span);
            }

            switch (expression)
            {
                case LogicalExpr l:
                    Visit(l.Left);
                    _conditional++;
                    Visit(l.Right);
                    _conditional--;
                    return;
                case ConditionalExpr c:
                    Visit(c.Condition);
                    _conditional++;
                    Visit(c.WhenTrue);
                    Visit(c.WhenFalse);
                    _conditional--;
                    return;
                case CallExpr c when owner.Facts(c.Function) is var facts && facts.NeedsKernel:
                    // The kernel calls it for a leaf, whether it is asked for or not.
                    if (facts.NeedsStap || facts.Globals.Count > 0 || !IsQuiet(c.Function))
                    {
                        throw new NotPossible($"function '{c.Function.Name}' needs the kernel and cannot be taken apart", c.Span);
                    }

                    VisitLeaf(c);
                    return;
                case CallExpr c:
                    foreach (var global in owner.Facts(c.Function).Globals)
                    {
                        Move(global);
                    }

                    break;
                case IntrinsicExpr i when !StapCan(i.Intrinsic) && !IsStapsOnly(i.Intrinsic.Id):
                    if (i.Type == ScriptType.Void || (_conditional > 0 && i.Intrinsic.Has(IntrinsicTraits.Fallible) && !i.Intrinsic.Has(IntrinsicTraits.Pure)))
                    {
                        throw new NotPossible($"'{i.Intrinsic.Name}' acts in the kernel", i.Span);
                    }

                    VisitLeaf(i);
                    return;
                case DerefExpr d:
                    VisitLeaf(d);
                    return;
                case EmbeddedCExpr:
                    throw new NotPossible("C code cannot be left to stap", expression.Span);
                case FormatExpr f when !Purity.IsPlainFormat(f.Segments):
                    throw new NotPossible("%m and %M read memory while a text is made", f.Span);
            }

            base.Visit(expression);
        }

        private void Move(Global g)
        {
            if (!g.IsReadOnly)
            {
                owner._moved.Add(g);
            }
        }
    }
}
