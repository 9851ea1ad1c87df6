using SystemTap.Semantics.Lowered;

namespace SystemTap.Semantics.Probes.Families;

/// <summary>
/// <c>kprobe.function("F")</c> and <c>kprobe.module("M").function("F")</c> with <c>.call</c>, <c>.return</c>, <c>.return.maxactive(N)</c>: a kprobe by plain symbol, no
/// patterns. SystemTap knows no variables there; here BTF gives the parameters as well. For another kernel (<c>-r</c>) whose symbols nothing lists any name will do.
/// </summary>
public sealed class KprobeFamily : ProbeFamily
{
    /// <inheritdoc/>
    public override IReadOnlyList<IReadOnlyList<ComponentPattern>> Forms { get; } = ProbeForms.Of(
        "kprobe.function(S)", "kprobe.function(S).call", "kprobe.function(S).return", "kprobe.function(S).return.maxactive(N)",
        "kprobe.module(S).function(S)", "kprobe.module(S).function(S).call", "kprobe.module(S).function(S).return", "kprobe.module(S).function(S).return.maxactive(N)");

    /// <inheritdoc/>
    public override Privilege Privilege => Privilege.System;

    /// <inheritdoc/>
    public override string ArgumentNoun => "function";

    /// <inheritdoc/>
    public override void Resolve(ProbeMatch match, ResolveScope scope, List<ResolvedPoint> results)
    {
        var isModule = match.FormIndex >= 4;
        var isReturn = match.FormIndex % 4 >= 2;
        var at = isModule ? 2 : 1;
        var name = match.Text(at);
        string? module = null;
        if (isModule)
        {
            var modules = KernelPlaces.FindModules(match.Text(1), match.Point.Components[1], scope);
            if (modules.Count > 1)
            {
                scope.Diagnostics.Error("probe.no-pattern", match.Point.Components[1].Span, $"kprobe module \"{match.Text(1)}\" fits several modules: 'kprobe' takes plain names",
                    "use module(\"" + match.Text(1) + "\").function(\"" + name + "\")");
            }

            if (modules.Count != 1)
            {
                return;
            }

            module = modules[0];
        }

        if (name.AsSpan().IndexOfAny("*?[@") >= 0)
        {
            scope.Diagnostics.Error("probe.no-pattern", match.Point.Components[at].Span, $"kprobe function \"{name}\" is a pattern: 'kprobe' takes plain names",
                "use kernel.function(\"" + name + "\")");
            return;
        }

        var functions = KernelPlaces.Functions(name, module, match.Point, scope);
        if (functions.Count == 0 && !match.Point.IsOptional && scope.Target.KernelFunctions.Unlisted(name, module) is { } unlisted)
        {
            functions = [unlisted];
        }

        foreach (var function in functions)
        {
            var max = match.FormIndex % 4 == 3 ? (int)Math.Clamp(match.Number(match.Point.Components.Count - 1), 0, 65536) : 0;
            results.Add(KernelPlaces.Function(function, match.Point, isReturn, KernelAttachKind.Kprobe, max, scope));
        }
    }

    /// <inheritdoc/>
    public override IEnumerable<string> Candidates(ProbeMatch match, ResolveScope scope) => scope.Target.KernelFunctions.Names(null);

    /// <inheritdoc/>
    public override string? WhyNone(string pattern, ResolveScope scope) => KernelPlaces.SystemCallHint(pattern, scope);
}
