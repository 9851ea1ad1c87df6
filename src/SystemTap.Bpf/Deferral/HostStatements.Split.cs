using SystemTap.Bpf.Analysis;
using SystemTap.Language.Text;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Deferral;

// Which statements of a handler go: the rules of HostStatements.cs.

internal sealed partial class HostStatements
{
    /// <summary>Splits one handler.</summary>
    private sealed class ProbeSplit(HostStatements owner, Func<Local, Local> fresh)
    {
        private readonly List<Stmt> _regions = [];

        public Stmt Split(Stmt body)
        {
            if (!owner.Needs(body))
            {
                return body;
            }

            var result = Statement(body, isTail: true);
            CheckLocals(result);
            return result;
        }

        private Stmt Statement(Stmt s, bool isTail)
        {
            switch (s)
            {
                case BlockStmt b:
                    var list = new List<Stmt>();
                    if (FirstOfShared(b) is >= 0 and var first)
                    {
                        // A local that gets such a text is stap's: what uses it goes along, from its first mention to the end.
                        list.AddRange(b.Statements.Take(first));
                        list.Add(Region(new BlockStmt([.. b.Statements.Skip(first)], b.Statements[first].Span), isTail));
                        return new BlockStmt(list, b.Span);
                    }

                    for (var i = 0; i < b.Statements.Count; i++)
                    {
                        var child = b.Statements[i];
                        var last = i == b.Statements.Count - 1;
                        if (!owner.Needs(child))
                        {
                            list.Add(child);
                        }
                        else if (IsSplit(child) && ((isTail && last) || !MayLeave(child)))
                        {
                            list.Add(Statement(child, isTail && last));
                        }
                        else
                        {
                            var rest = new List<Stmt>();
                            for (; i < b.Statements.Count; i++)
                            {
                                rest.Add(b.Statements[i]);
                            }

                            list.Add(Region(rest.Count == 1 ? rest[0] : new BlockStmt(rest, child.Span), isTail));
                        }
                    }

                    return new BlockStmt(list, b.Span);
                case IfStmt i when !owner.Needs(i.Condition):
                    return new IfStmt(i.Condition, owner.Needs(i.Then) ? Statement(i.Then, isTail) : i.Then,
                        i.Else is { } otherwise && owner.Needs(otherwise) ? Statement(otherwise, isTail) : i.Else, i.Span);
                case TryStmt t when !owner.TriedNeeds(t.Body):
                    return new TryStmt(t.Body, t.Message, Statement(t.Handler, isTail), t.Span);
                default:
                    return Region(s, isTail);
            }
        }

        /// <summary>A statement of which parts stay in the kernel.</summary>
        private bool IsSplit(Stmt s) => s is BlockStmt || (s is IfStmt { Condition: var c } && !owner.Needs(c)) || (s is TryStmt t && !owner.TriedNeeds(t.Body));

        /// <summary>A part that stap runs may leave the handler or end the session: what follows must not run, or its records must come with that part's.</summary>
        private bool MayLeave(Stmt s)
        {
            switch (s)
            {
                case BlockStmt b:
                    var first = FirstOfShared(b);
                    for (var i = 0; i < b.Statements.Count && first < 0; i++)
                    {
                        if (!owner.Needs(b.Statements[i]))
                        {
                            continue;
                        }

                        if (!IsSplit(b.Statements[i]))
                        {
                            first = i;
                        }
                        else if (MayLeave(b.Statements[i]))
                        {
                            return true;
                        }
                    }

                    return first >= 0 && b.Statements.Skip(first).Any(Leaves);
                case IfStmt i when !owner.Needs(i.Condition):
                    return (owner.Needs(i.Then) && MayLeave(i.Then)) || (i.Else is { } otherwise && owner.Needs(otherwise) && MayLeave(otherwise));
                case TryStmt t when !owner.TriedNeeds(t.Body):
                    return MayLeave(t.Handler);
                default:
                    return Leaves(s);
            }
        }

        private static bool Leaves(Stmt s) => LoweredSearch.SaysNext(s) || LoweredSearch.Has(s, Ends) || LoweredSearch.Calls(s, static f => LoweredSearch.Has(f.Body, Ends));

        private static bool Ends(Expr e) => e is IntrinsicExpr { Intrinsic.Id: IntrinsicId.Exit or IntrinsicId.Abort };

        /// <summary>Where the statements begin that share a local with one of them that needs stap and assigns it; -1 when none is shared.</summary>
        private int FirstOfShared(BlockStmt b)
        {
            var shared = new HashSet<Local>(ReferenceEqualityComparer.Instance);
            var needing = -1;
            for (var i = 0; i < b.Statements.Count && needing < 0; i++)
            {
                if (!owner.Needs(b.Statements[i]))
                {
                    continue;
                }

                foreach (var (local, _) in AssignmentCounter.In(b.Statements[i]))
                {
                    var isElsewhere = false;
                    for (var j = 0; j < b.Statements.Count; j++)
                    {
                        isElsewhere |= j != i && LocalFinder.In(b.Statements[j]).Contains(local);
                    }

                    if (isElsewhere)
                    {
                        shared.Add(local);
                        needing = i;
                    }
                }
            }

            if (needing < 0)
            {
                return -1;
            }

            // Later statements may assign further locals that earlier ones use.
            for (var first = needing; ;)
            {
                for (var i = first; i < b.Statements.Count; i++)
                {
                    shared.UnionWith(AssignmentCounter.In(b.Statements[i]).Select(a => a.Key));
                }

                var before = first;
                for (var j = first - 1; j >= 0; j--)
                {
                    if (LocalFinder.In(b.Statements[j]).Any(shared.Contains))
                    {
                        first = j;
                    }
                }

                if (first == before)
                {
                    return first;
                }
            }
        }

        private HostStmt Region(Stmt s, bool isTail)
        {
            s = new StapInliner(IsForBoth, fresh).Apply(s);
            new RegionCheck(owner, isTail, AssignmentCounter.In(s)).Visit(s);
            _regions.Add(s);
            return new HostStmt(s, owner._moved, s.Span);
        }

        /// <summary>Neither stap nor the kernel can call it, or the kernel cannot call it for stap.</summary>
        private bool IsForBoth(CallExpr c) =>
            owner.Facts(c.Function) is { NeedsKernel: true } facts && (facts.NeedsStap || facts.Globals.Count > 0 || !IsQuiet(c.Function) || c.Arguments.Any(owner.Needs));

        /// <summary>A local assigned in a region is stap's: nothing outside that region may use it.</summary>
        private void CheckLocals(Stmt kernel)
        {
            var outside = new HashSet<Local>(LocalFinder.In(kernel), ReferenceEqualityComparer.Instance);
            foreach (var region in _regions)
            {
                foreach (var (local, _) in AssignmentCounter.In(region))
                {
                    if (outside.Contains(local) || _regions.Exists(r => !ReferenceEquals(r, region) && LocalFinder.In(r).Contains(local)))
                    {
                        throw new NotPossible($"variable '{local.Name}' gets such a text in one place and is used in another", region.Span);
                    }
                }
            }
        }
    }
}
