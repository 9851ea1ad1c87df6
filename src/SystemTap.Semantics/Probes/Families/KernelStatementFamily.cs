using SystemTap.Language.Syntax;
using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Probes.User;
using SystemTap.Targets;

namespace SystemTap.Semantics.Probes.Families;

/// <summary>
/// <c>kernel.statement(0xADDR).absolute</c> (guru), <c>kernel.statement(0xADDR)</c>, <c>module("M").statement(0xADDR)</c>: one instruction by address. A statement by
/// function name is that function's entry; by source line it is looked up in debug information.
/// </summary>
public sealed class KernelStatementFamily : ProbeFamily
{
    /// <inheritdoc/>
    public override IReadOnlyList<IReadOnlyList<ComponentPattern>> Forms { get; } = ProbeForms.Of(
        "kernel.statement(S)", "kernel.statement(S).nearest", "module(S).statement(S)", "module(S).statement(S).nearest",
        "kernel.statement(N)", "module(S).statement(N)", "kernel.statement(N).absolute", "kprobe.statement(N).absolute");

    /// <inheritdoc/>
    public override Privilege Privilege => Privilege.System;

    /// <inheritdoc/>
    public override string ArgumentNoun => "function";

    /// <inheritdoc/>
    public override void Resolve(ProbeMatch match, ResolveScope scope, List<ResolvedPoint> results)
    {
        var isModule = match.Point.Components[0].Name == "module";
        foreach (var (point, module) in KernelPlaces.Modules(match.Point, isModule, scope))
        {
            if (match.FormIndex < 4 && match.Text(1).Contains('@'))
            {
                BySource(match, point, module, scope, results);
                continue;
            }

            if (match.FormIndex < 4)
            {
                foreach (var function in KernelPlaces.Functions(match.Text(1), module, match.Point, scope))
                {
                    results.Add(KernelPlaces.Function(function, Literal.WithText(point, 1, function.Name), false, KernelAttachKind.Any, 0, scope));
                }

                continue;
            }

            ByAddress(match, point, module, scope, results);
        }
    }

    /// <inheritdoc/>
    public override IEnumerable<string> Candidates(ProbeMatch match, ResolveScope scope) => KernelPlaces.Candidates(match, scope);

    private static void BySource(ProbeMatch match, ProbePoint point, string? module, ResolveScope scope, List<ResolvedPoint> results)
    {
        if (FunctionPattern.Parse(match.Text(1)) is not { } pattern)
        {
            scope.Diagnostics.Error("probe.function-pattern", Literal.ArgumentSpan(match.Point, 1), $"statement pattern \"{match.Text(1)}\" cannot be read", "write \"FUNCTION@FILE:LINE\"");
            return;
        }

        if (KernelPlaces.IsFileIdle(pattern, module, scope))
        {
            foreach (var function in KernelPlaces.Functions(pattern.Function, module, match.Point, scope))
            {
                results.Add(KernelPlaces.Function(function, Literal.WithText(point, 1, function.Name), false, KernelAttachKind.Any, 0, scope));
            }

            return;
        }

        if (KernelDebugPlaces.Require(point, module, "source lines are", "entries and returns of functions, and instructions by address, can be probed", scope) is not { } file)
        {
            return;
        }

        if (pattern.Lines != LineChoice.None)
        {
            KernelDebugPlaces.Lines(pattern, match.FormIndex is 1 or 3, file, module, point, scope, results);
            return;
        }

        // Without a line a statement is the function's entry.
        var found = KernelDebugPlaces.Functions(file, pattern, inlines: true);
        var before = results.Count;
        foreach (var function in found)
        {
            if (KernelDebugPlaces.Function(function, file, module, point, false, 0, scope) is { } result)
            {
                results.Add(result);
            }
        }

        if (results.Count == before)
        {
            KernelDebugPlaces.Miss(pattern, "", file, point, found, scope);
        }
    }

    private static void ByAddress(ProbeMatch match, ProbePoint point, string? module, ResolveScope scope, List<ResolvedPoint> results)
    {
        // Of another kernel nothing tells what lies there: it is taken as it is given.
        if (match.FormIndex >= 6 && !scope.Target.IsLive && scope.Target.KernelSymbols.Count == 0)
        {
            results.Add(KernelPlaces.Function(new KernelFunction("", "", null, (ulong)match.Number(1), null), point, false, KernelAttachKind.Kprobe, 0, scope));
            return;
        }

        if (KernelPlaces.ByAddress(match, module, scope) is not { } found)
        {
            return;
        }

        if (KernelPlaces.ModuleEnd(found.Symbol.Name, found.Symbol.Module, match.Point, scope))
        {
            return;
        }

        if (scope.Target.KernelFunctions.IsBlacklisted(found.Symbol.Name))
        {
            scope.Diagnostics.Error("probe.blacklisted", match.Point.Components[1].Span,
                $"address 0x{match.Number(1):x} cannot be probed: the kernel forbids probes in \"{found.Symbol.Name}\" (it is on the kprobes blacklist)", "probe a function that calls it");
            return;
        }

        var function = new KernelFunction(KernelFunctions.SourceName(found.Symbol.Name), found.Symbol.Name, found.Symbol.Module, found.Symbol.Address, null);
        results.Add(KernelPlaces.Function(function, point, false, KernelAttachKind.Kprobe, 0, scope, found.Offset));
    }
}
