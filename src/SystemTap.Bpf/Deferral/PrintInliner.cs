using SystemTap.Bpf.Analysis;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Deferral;

/// <summary>
/// Puts library functions that only print something (<c>print_backtrace()</c>, <c>print_syms(list)</c>) in place of their calls: then the print is deferred like any other, and
/// what surrounds it can be left to stap.
/// </summary>
internal static class PrintInliner
{
    public static LoweredProgram Apply(LoweredProgram program)
    {
        Probe[]? probes = null;
        for (var i = 0; i < program.Probes.Count; i++)
        {
            var p = program.Probes[i];
            if (!p.Spec.RunsInKernel)
            {
                continue;
            }

            var changed = false;
            Stmt Map(Stmt s)
            {
                if (s is ExprStmt { Expression: CallExpr call } && Inline(call) is { } print)
                {
                    changed = true;
                    return print;
                }

                return Mapper.Children(s, static e => e, Map);
            }

            var body = Map(p.Body);
            if (changed)
            {
                probes ??= [.. program.Probes];
                probes[i] = new Probe { Index = p.Index, Spec = p.Spec, PointText = p.PointText, Name = p.Name, Locals = p.Locals, Body = body, Condition = p.Condition, Span = p.Span };
            }
        }

        return probes is null ? program : program.WithProbes(probes);
    }

    private static PrintStmt? Inline(CallExpr call)
    {
        var f = call.Function;
        if (!f.IsTapset || f.ReturnType != ScriptType.Void || f.NextOverload is not null || f.Locals.Count != f.ParameterCount)
        {
            return null;
        }

        var body = f.Body;
        while (body is BlockStmt { Statements: [var only] })
        {
            body = only;
        }

        if (body is not PrintStmt print)
        {
            return null;
        }

        var uses = new int[f.ParameterCount];
        Expr Map(Expr e)
        {
            if (e is ReadExpr { Place: LocalPlace place } && place.Local.Index < uses.Length && ReferenceEquals(f.Locals[place.Local.Index], place.Local))
            {
                uses[place.Local.Index]++;
                return call.Arguments[place.Local.Index];
            }

            return Mapper.Children(e, Map);
        }

        var result = new PrintStmt(print.Segments, Mapper.List(print.Arguments, Map), call.Span);
        foreach (var count in uses)
        {
            if (count != 1)
            {
                return null;
            }
        }

        return result;
    }
}
