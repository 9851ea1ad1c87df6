using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Binding;
using SystemTap.Semantics.Elaboration;
using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Probes;

namespace SystemTap.Semantics.Lowering;

/// <summary>
/// Makes the probes of the program: condition, then what <c>@entry</c> saved, then the blocks. <c>next</c> in any block leaves the
/// handler, so blocks are simply joined: SystemTap's epilogues are skipped by <c>next</c> too.
/// </summary>
internal sealed class HandlerAssembly(ProgramBuilder program)
{
    private readonly EntrySaving _saving = new(program);

    public void Add(BodyUnit unit)
    {
        var session = program.Session;
        var probe = unit.Probe!;
        var lowering = unit.Lowering ??= new BodyLowering(program, unit);
        var statements = lowering.LowerBlocks();
        if (statements.Count == 0 && session.IsOptimizing && probe.Point.Spec is not PerfSpec { CounterName: not null } && unit.UserBlock is { } block && block.Span.Source is not { IsTapset: true })
        {
            session.Diagnostics.Warn("semantic.elided-probe", unit.Definition?.Span ?? block.Span, $"side-effect-free probe '{probe.Name}'", "its handler does nothing");
        }

        var condition = Condition(unit, lowering);
        var span = unit.UserBlock?.Span ?? default;
        if (unit.Entries is { } entries && statements.Count > 0 && _saving.Save(unit, entries, statements) is (var entryLowering, var store))
        {
            var entryPoint = probe.Point.Context.EntryPoint!;
            Add(new Probe
            {
                Index = program.Probes.Count,
                Spec = entryPoint.Spec,
                PointText = entryPoint.PointText,
                Name = probe.Name,
                Locals = entryLowering.Locals,
                Body = If(condition, store),
                Condition = condition,
                Span = unit.Definition?.Span ?? span,
            }, probe, isSynthetic: true);
        }

        Stmt body = statements.Count == 1 ? statements[0] : new BlockStmt(statements, span);
        if (statements.Count > 0)
        {
            body = If(condition, body);
        }

        var spec = probe.Point.Spec;
        if (spec is ProcfsSpec { IsWrite: false } procfs && unit.Scope.GetValueOrDefault("$value") is LocalSymbol value)
        {
            spec = procfs with { Value = lowering.LocalOf(value) };
        }

        Add(new Probe
        {
            Index = program.Probes.Count,
            Spec = spec,
            PointText = probe.Point.PointText,
            Name = probe.Name,
            Locals = lowering.Locals,
            Body = body,
            Condition = condition,
            Span = unit.Definition?.Span ?? span,
        }, probe, isSynthetic: false);
    }

    private void Add(Probe probe, ExpandedProbe source, bool isSynthetic)
    {
        program.Probes.Add(probe);
        var aliases = new string[source.Aliases.Count];
        for (var i = 0; i < aliases.Length; i++)
        {
            aliases[i] = source.Aliases[i].Alias.Names.Count > 0 ? source.Aliases[i].Alias.Names[0].ToString() : "";
        }

        program.Origins.Add(new ProbeOrigin(probe, aliases, isSynthetic));
    }

    private Expr? Condition(BodyUnit unit, BodyLowering lowering)
    {
        Expr? all = null;
        foreach (var condition in unit.Conditions)
        {
            var one = lowering.Lower(condition);
            all = all is null ? one : Fold.Logical(isAnd: true, all, one, condition.Span, program.Session.IsOptimizing);
        }

        return all is LongConst { Value: not 0 } ? null : all;
    }

    private static Stmt If(Expr? condition, Stmt body) => condition is null ? body : new IfStmt(condition, body, null, condition.Span);
}
