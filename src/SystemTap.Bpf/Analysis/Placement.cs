using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Analysis;

/// <summary>How kernel handlers use a global.</summary>
[Flags]
internal enum GlobalUse
{
    None = 0,
    Read = 1,
    Written = 2,

    /// <summary>Deleted elements or reset.</summary>
    Deleted = 4,
}

/// <summary>Which handlers run where, what the kernel's ones reach, and which globals they touch.</summary>
internal sealed class Placement
{
    private Placement(LoweredProgram program)
    {
        KernelUse = new GlobalUse[program.Globals.Count];
        HostUse = new GlobalUse[program.Globals.Count];
    }

    public List<Probe> KernelProbes { get; } = [];

    public List<Probe> HostProbes { get; } = [];

    /// <summary>
    /// Those of <see cref="HostProbes"/> that run while kernel handlers are at work: not begin, end and error. Handlers of procfs reads are not among
    /// them: their text is made in stap, so they cannot be run inside the kernel, and a lock held by the others would gain nothing.
    /// </summary>
    public List<Probe> ConcurrentHostProbes { get; } = [];

    /// <summary>Functions kernel handlers can reach.</summary>
    public HashSet<Function> KernelFunctions { get; } = new(ReferenceEqualityComparer.Instance);

    /// <summary>By global index.</summary>
    public GlobalUse[] KernelUse { get; }

    public GlobalUse[] HostUse { get; }

    /// <summary>
    /// Adds what a handler of stap needs when it is run inside the kernel by request: its globals must lie where BPF reaches them.
    /// </summary>
    public HashSet<Function> AddOnDemand(Probe probe)
    {
        var functions = new HashSet<Function>(ReferenceEqualityComparer.Instance);
        new UseWalker(KernelUse, functions).Visit(probe.Body);
        return functions;
    }

    /// <summary>Whether a handler, or what it calls, touches one of the globals.</summary>
    public static bool Touches(LoweredProgram program, Probe probe, IEnumerable<Global> globals)
    {
        var uses = new GlobalUse[program.Globals.Count];
        new UseWalker(uses, new HashSet<Function>(ReferenceEqualityComparer.Instance)).Visit(probe.Body);
        return globals.Any(g => uses[g.Index] != GlobalUse.None);
    }

    public static Placement Of(LoweredProgram program)
    {
        var placement = new Placement(program);
        foreach (var probe in program.Probes)
        {
            (probe.Spec.RunsInKernel ? placement.KernelProbes : placement.HostProbes).Add(probe);
            if (probe.Spec is TimerSpec or ProcfsSpec { IsWrite: true })
            {
                placement.ConcurrentHostProbes.Add(probe);
            }
        }

        var kernel = new UseWalker(placement.KernelUse, placement.KernelFunctions);
        foreach (var probe in placement.KernelProbes)
        {
            kernel.Visit(probe.Body);
        }

        var host = new UseWalker(placement.HostUse, new HashSet<Function>(ReferenceEqualityComparer.Instance));
        foreach (var probe in placement.HostProbes)
        {
            host.Visit(probe.Body);
        }

        return placement;
    }
}

/// <summary>Collects uses of globals, following calls.</summary>
internal sealed class UseWalker(GlobalUse[] uses, HashSet<Function> functions) : LoweredWalker
{
    public override void Visit(Expr? expression)
    {
        switch (expression)
        {
            case ReadExpr e:
                Add(e.Place, GlobalUse.Read);
                break;
            case AssignExpr e:
                Add(e.Place, GlobalUse.Written);
                break;
            case UpdateExpr e:
                Add(e.Place, GlobalUse.Read | GlobalUse.Written);
                break;
            case InExpr e:
                uses[e.Array.Index] |= GlobalUse.Read;
                break;
            case StatExpr e:
                uses[e.Aggregate.Index] |= GlobalUse.Read;
                break;
            case BucketExpr e:
                uses[e.Aggregate.Index] |= GlobalUse.Read;
                break;
            case HistogramTextExpr e:
                uses[e.Aggregate.Index] |= GlobalUse.Read;
                break;
            case CallExpr e:
                for (var f = e.Function; f is not null && functions.Add(f); f = f.NextOverload)
                {
                    Visit(f.Body);
                }

                break;
        }

        base.Visit(expression);
    }

    public override void Visit(Stmt? statement)
    {
        switch (statement)
        {
            case ForeachStmt s:
                uses[s.Array.Index] |= GlobalUse.Read;
                break;
            case DeleteStmt s:
                uses[s.Global.Index] |= GlobalUse.Written | GlobalUse.Deleted;
                break;
            case StatAddStmt s:
                uses[s.Aggregate.Index] |= GlobalUse.Written;
                break;
        }

        base.Visit(statement);
    }

    private void Add(Place place, GlobalUse use)
    {
        switch (place)
        {
            case GlobalPlace g:
                uses[g.Global.Index] |= use;
                break;
            case ElementPlace e:
                uses[e.Array.Index] |= use;
                break;
        }
    }
}
