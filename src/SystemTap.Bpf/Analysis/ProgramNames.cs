using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Analysis;

/// <summary>Whether a script asks for names in programs: then what processes map must be followed, since they may have ended when the name is made.</summary>
internal sealed class ProgramNames : LoweredWalker
{
    private bool _found, _samples;

    public static bool In(LoweredProgram program)
    {
        // In samples probefunc() is the running function, which may be a program's.
        var walker = new ProgramNames { _samples = program.Probes.Any(p => p.Spec is PerfSpec or ProfileSpec or WatchpointSpec) };
        foreach (var function in program.Functions)
        {
            walker.Visit(function.Body);
        }

        foreach (var probe in program.Probes)
        {
            walker.Visit(probe.Body);
        }

        return walker._found;
    }

    public override void Visit(Expr? expression)
    {
        _found |= expression is IntrinsicExpr
        {
            Intrinsic.Id: IntrinsicId.UserSymbolName or IntrinsicId.UserSymbolData or IntrinsicId.UserModule or IntrinsicId.UserSymbolLines or IntrinsicId.UserSymbolPlace,
        };
        _found |= _samples && expression is IntrinsicExpr { Intrinsic.Id: IntrinsicId.ProbeFunction };
        base.Visit(expression);
    }
}
