using SystemTap.Bpf.Plan;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;
using SystemTap.Targets;

namespace SystemTap.Bpf.Analysis;

/// <summary>What one program needs, found before it is emitted: frame, functions, loops, error texts, typed loads.</summary>
internal sealed class HandlerNeeds(Func<Function, Stmt> bodyOf, GlobalStorage[] storage, Target target) : LoweredWalker
{
    private readonly HashSet<Function> _seen = new(ReferenceEqualityComparer.Instance);

    /// <summary>Functions reached, in order of discovery.</summary>
    public List<Function> Functions { get; } = [];

    public bool Frame { get; set; }

    public bool Loops { get; private set; }

    public bool ErrorText { get; private set; }

    /// <summary>Some value is asked for that only a register set has.</summary>
    public bool Registers { get; private set; }

    /// <summary>Some load can go through typed pointers.</summary>
    public bool DirectLoads { get; private set; }

    /// <summary>What is read behind the event's arguments themselves: argument, offset and size.</summary>
    public HashSet<(int Argument, int Offset, int Size)> ArgumentLoads { get; } = [];

    public override void Visit(Stmt? statement)
    {
        switch (statement)
        {
            case LoopStmt or ForeachStmt:
                Loops = Frame = true;
                break;
            case TryStmt t:
                Frame = true;
                ErrorText |= t.Message is not null;
                break;
            case StatAddStmt s:
                Frame |= s.Aggregate.Wraps;
                Keys(s.Aggregate, s.Keys);
                Visit(s.Value);
                return;
            case DeleteStmt { Keys: { } keys } s:
                Keys(s.Global, keys);
                return;
        }

        base.Visit(statement);
    }

    public override void Visit(Expr? expression)
    {
        switch (expression)
        {
            case null:
                return;
            case CallExpr c:
                Frame = true;
                for (var f = c.Function; f is not null && _seen.Add(f); f = f.NextOverload)
                {
                    Functions.Add(f);
                    Visit(bodyOf(f));
                }

                break;
            case RegexExpr:
            case IntrinsicExpr { Intrinsic.Id: IntrinsicId.GroupCount or IntrinsicId.TaskFromPid }:
                Frame = true;
                break;
            case IntrinsicExpr { Intrinsic.Id: IntrinsicId.Error or IntrinsicId.MatchedGroup }:
                ErrorText = Frame = true;
                break;
            case IntrinsicExpr { Intrinsic.Id: IntrinsicId.RegisterByName or IntrinsicId.RegistersValid or IntrinsicId.KernelStack or IntrinsicId.KernelStackRaw }:
            case ContextExpr { Value: ContextValue.Register }:
                Registers = true;
                Frame |= expression.Type == ScriptType.String;
                break;
            case IntrinsicExpr { Intrinsic.Id: IntrinsicId.KernelFrame }:
                Registers = Frame = true;
                break;
            case IntrinsicExpr { Intrinsic.Id: IntrinsicId.UserSnapshot or IntrinsicId.UserSnapshotFrom or IntrinsicId.StackPointer }:
                Frame = true;
                break;
            case InExpr e:
                Keys(e.Array, e.Keys);
                return;
            case BucketExpr e:
                Keys(e.Aggregate, e.Keys);
                Visit(e.Index);
                return;
            case StatExpr e:
                Keys(e.Aggregate, e.Keys);
                return;
            case DerefExpr d when Emit.DirectLoads.Find(d, target) is { } load:
                Frame = DirectLoads = true;
                if (load.Inner is null)
                {
                    ArgumentLoads.Add((load.Argument, load.Offset, d.Size));
                }

                break;
            case { Type: ScriptType.String }:
                Frame = true;
                break;
        }

        base.Visit(expression);
    }

    public override void Visit(Place place)
    {
        if (place is ElementPlace e)
        {
            // Dropping the oldest element needs room to remember it.
            Frame |= e.Array.Wraps;
            Keys(e.Array, e.Keys);
        }
    }

    private void Keys(Global array, IReadOnlyList<Expr?> keys)
    {
        foreach (var key in keys)
        {
            // Wanted keys of a search stand in the frame.
            Frame |= key is null;
        }

        var layout = storage[array.Index] switch
        {
            GlobalStorage.Array a => a.Key,
            GlobalStorage.StatisticsArray s => s.Key,
            _ => null,
        };
        Frame |= layout is { Size: > 64 };
        if (storage[array.Index] is GlobalStorage.Array { ValueCapacity: > 48 })
        {
            Frame = true;
        }

        foreach (var key in keys)
        {
            // Literals, execname() and table columns are written straight into the key.
            if (key is StringConst { Value.Length: <= 64 } or ColumnExpr or IntrinsicExpr { Intrinsic.Id: IntrinsicId.ExecName or IntrinsicId.ProbePointText or IntrinsicId.ProbeName or IntrinsicId.ProbeType or IntrinsicId.ProbeFunction or IntrinsicId.PointFunction or IntrinsicId.ProbeModule })
            {
                continue;
            }

            Visit(key);
        }
    }
}
