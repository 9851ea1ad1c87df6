using Linux.Bpf;
using SystemTap.Bpf.Analysis;
using SystemTap.Bpf.Deferral;
using SystemTap.Bpf.Plan;
using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Emit;

internal sealed partial class ProgramEmitter
{
    private void Statement(Stmt s)
    {
        At(s.Span);
        var mark = Marked();
        switch (s)
        {
            case BlockStmt b:
                foreach (var child in b.Statements)
                {
                    Statement(child);
                }

                break;
            case ExprStmt { Expression: AssignExpr { Type: ScriptType.String } a }:
                AssignText(a);
                break;
            case ExprStmt e:
                Discard(e.Expression);
                break;
            case IfStmt i:
                If(i);
                break;
            case LoopStmt l:
                Loop(l);
                break;
            case BreakStmt:
                _a.Jump(_f.Break);
                break;
            case ContinueStmt:
                _a.Jump(_f.Continue);
                break;
            case NextStmt:
                _a.Jump(_f.Next);
                break;
            case ReturnStmt r:
                Return(r);
                break;
            case DeleteStmt d:
                Delete(d);
                break;
            case StatAddStmt a:
                AddSample(a);
                break;
            case TryStmt t:
                Try(t);
                break;
            case RegionStmt r:
                var after = _a.NewLabel();
                _regions[r] = after;
                Statement(r.Body);
                _a.Bind(after);
                break;
            case LeaveStmt l:
                _a.Jump(_regions[l.Region]);
                break;
            case SendStmt p:
                SendPrint(p);
                break;
            case TakeStmt t:
                TakeElements(t.Loop, t.Captured, t.Token);
                break;
            case VisitStmt v:
                VisitElements(v.Take.Loop, v.Take.Captured, v.Take.Token);
                break;
            case UnlockStmt:
                UnlockEarly();
                break;
            case ForeachStmt { OverBuckets: true } f:
                ForeachBucket(f);
                break;
            case ForeachStmt f:
                Foreach(f);
                break;
            default:
                throw new InvalidOperationException($"statement {s.GetType().Name} has no code");
        }

        Release(mark);
    }

    private readonly Dictionary<RegionStmt, Label> _regions = new(ReferenceEqualityComparer.Instance);

    private void If(IfStmt i)
    {
        if (TryConstant(i.Condition, out var known))
        {
            if (known != 0)
            {
                Statement(i.Then);
            }
            else if (i.Else is { } never)
            {
                Statement(never);
            }

            return;
        }

        var otherwise = _a.NewLabel();
        Branch(i.Condition, false, otherwise);
        Statement(i.Then);
        if (i.Else is { } e)
        {
            var end = _a.NewLabel();
            _a.Jump(end);
            _a.Bind(otherwise);
            Statement(e);
            _a.Bind(end);
        }
        else
        {
            _a.Bind(otherwise);
        }
    }

    private void Return(ReturnStmt r)
    {
        if (_f.Function is { } function && _functions[function].Result is { } result)
        {
            switch (r.Value)
            {
                case null:
                    ClearLocal(result);
                    break;
                case { Type: ScriptType.String } value:
                    TextToSlot(value, result);
                    break;
                default:
                    Long(r.Value, Reg.R0);
                    Save(result.Memory, Reg.R0);
                    break;
            }
        }
        else if (r.Value is { } value)
        {
            Discard(value);
        }

        _a.Jump(_f.End);
    }

    private void Try(TryStmt t)
    {
        var outer = _f.ErrorTarget;
        var caught = _a.NewLabel();
        var end = _a.NewLabel();
        var (r8, r9) = (_f.R8InUse, _f.R9InUse);
        _f.ErrorTarget = caught;
        Statement(t.Body);
        _f.ErrorTarget = outer;
        (_f.R8InUse, _f.R9InUse) = (r8, r9);
        _a.Jump(end);
        _a.Bind(caught);
        if (t.Message is { } message)
        {
            CaughtMessage(t, _f.Locals[message]);
        }

        Statement(t.Handler);
        _a.Bind(end);
    }

    private void ClearLocal(LocalSlot slot)
    {
        Store(slot.Memory, 0);
        if (slot.Capacity > 0)
        {
            Clear(slot.Memory.At(8), slot.Capacity);
        }
    }
}
