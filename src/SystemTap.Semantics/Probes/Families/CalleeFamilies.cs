using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Probes.User;
using SystemTap.Targets;

namespace SystemTap.Semantics.Probes.Families;

// Functions as long as certain others call them. The points are those of the callees themselves; that the caller is the right one is tested when they fire (CallerTest), in
// front of everything the handler says. A return is tested by what its entry saw.

/// <summary>
/// <c>process….function("P").callee("Q")</c> with <c>.call</c> or <c>.return</c>, <c>.callees</c> (all functions that P calls) and <c>.callees(N)</c> (those that they call
/// in turn, N deep): fire only when called so.
/// </summary>
public sealed class UserCalleeFamily : ProbeFamily
{
    /// <inheritdoc/>
    public override IReadOnlyList<IReadOnlyList<ComponentPattern>> Forms { get; } = UserRoots.Forms([.. Callees.Ends("function(S)")]);

    /// <inheritdoc/>
    public override Privilege Privilege => Privilege.User;

    /// <inheritdoc/>
    public override string ArgumentNoun => "function";

    /// <inheritdoc/>
    public override void Resolve(ProbeMatch match, ResolveScope scope, List<ResolvedPoint> results)
    {
        var end = match.FormIndex % Callees.EndCount;
        foreach (var root in UserRoots.Find(match, Callees.EndCount, scope))
        {
            if (Callees.Read(root.Point, root.End, end, scope) is not { } wanted)
            {
                return;
            }

            var callers = FunctionSearch.Find(root.File, wanted.Caller, inlines: true);
            if (callers.Count == 0)
            {
                scope.Diagnostics.Error("probe.no-function", Literal.ArgumentSpan(root.Point, root.End), $"no function \"{wanted.Caller.Function}\" in \"{root.File.Path}\"",
                    Names.Hint(Names.Similar(Demangler.Last(wanted.Caller.Function), FunctionSearch.Names(root.File))));
                return;
            }

            wanted.Add(root.File, callers, root.Point, scope, results, (found, text, points) =>
            {
                if (wanted.IsReturn)
                {
                    UserFunctionFamily.AddReturn(root, found, text, scope, points);
                }
                else if (UserFunctionFamily.Entry(root, found, text, scope.Target) is { } point)
                {
                    points.Add(point);
                }
            });
        }
    }
}

/// <summary>The same for functions of the kernel and its modules, by their debug information.</summary>
public sealed class KernelCalleeFamily : ProbeFamily
{
    /// <inheritdoc/>
    public override IReadOnlyList<IReadOnlyList<ComponentPattern>> Forms { get; } = ProbeForms.Of([.. Callees.Ends("kernel.function(S)"), .. Callees.Ends("module(S).function(S)")]);

    /// <inheritdoc/>
    public override Privilege Privilege => Privilege.System;

    /// <inheritdoc/>
    public override string ArgumentNoun => "function";

    /// <inheritdoc/>
    public override void Resolve(ProbeMatch match, ResolveScope scope, List<ResolvedPoint> results)
    {
        var end = match.FormIndex % Callees.EndCount;
        foreach (var (point, module) in KernelPlaces.Modules(match.Point, match.FormIndex >= Callees.EndCount, scope))
        {
            if (Callees.Read(point, 1, end, scope) is not { } wanted
                || KernelDebugPlaces.Require(point, module, "which functions a function calls is", "probe the called function and compare symname(caller_addr())", scope) is not { } file)
            {
                return;
            }

            var callers = KernelDebugPlaces.Functions(file, wanted.Caller, inlines: true);
            if (callers.Count == 0)
            {
                KernelDebugPlaces.Miss(wanted.Caller, "", file, point, callers, scope);
                return;
            }

            wanted.Add(file, callers, point, scope, results, (found, text, points) =>
            {
                if (KernelDebugPlaces.Function(found, file, module, Literal.Before(point, 2, wanted.IsReturn), wanted.IsReturn, 0, scope) is { } result)
                {
                    points.Add(result with { PointText = text, ListText = text });
                }
            });
        }
    }

    /// <inheritdoc/>
    public override IEnumerable<string> Candidates(ProbeMatch match, ResolveScope scope) => KernelPlaces.Candidates(match, scope);
}

/// <summary>What both families share.</summary>
internal sealed record Callees(FunctionPattern Caller, FunctionPattern Callee, int Depth, bool IsReturn, int At, bool IsListed)
{
    private static readonly string[] Suffixes = [".callee(S)", ".callee(S).call", ".callee(S).return", ".callees", ".callees(N)"];
    private const int Call = 1, Return = 2, All = 3, Deep = 4;

    /// <summary>Forms of one root.</summary>
    public static int EndCount => Suffixes.Length;

    /// <summary>Forms of one root.</summary>
    public static IEnumerable<string> Ends(string root)
    {
        foreach (var suffix in Suffixes)
        {
            yield return root + suffix;
        }
    }

    /// <summary>Reads a point; null after an error.</summary>
    /// <param name="point">The point.</param>
    /// <param name="at">Index of its <c>function</c> component.</param>
    /// <param name="end">Which suffix.</param>
    /// <param name="scope">For complaints.</param>
    public static Callees? Read(ProbePoint point, int at, int end, ResolveScope scope)
    {
        var depth = end == Deep ? ((NumberLiteral)point.Components[at + 1].Argument!).Value : 1;
        if (depth is < 1 or > 100)
        {
            scope.Diagnostics.Error("probe.callees-depth", Literal.ArgumentSpan(point, at + 1), $"depth {depth} is out of range: it must lie between 1 and 100");
            return null;
        }

        return Pattern(at) is { } caller && (end >= All ? FunctionPattern.Parse("*") : Pattern(at + 1)) is { } callee
            ? new Callees(caller, callee, (int)depth, end == Return, at, end < All) { OnlyCalled = end is Call or Return }
            : null;

        FunctionPattern? Pattern(int component)
        {
            var text = ((StringLiteral)point.Components[component].Argument!).Value;
            var pattern = FunctionPattern.Parse(text);
            if (pattern is null)
            {
                scope.Diagnostics.Error("probe.function-pattern", Literal.ArgumentSpan(point, component), $"function pattern \"{text}\" cannot be read", "write \"FUNCTION\", \"FUNCTION@FILE\" or \"FUNCTION@FILE:LINE\"");
            }

            return pattern;
        }
    }

    /// <summary>Inlined copies are not meant.</summary>
    public bool OnlyCalled { get; private init; }

    /// <summary>Adds the points of all callees.</summary>
    public void Add(UserFile file, List<FoundFunction> callers, ProbePoint point, ResolveScope scope, List<ResolvedPoint> results, Action<FoundFunction, string, List<ResolvedPoint>> make)
    {
        var search = new CallPaths(file);
        var before = results.Count;
        var blind = 0;
        foreach (var caller in callers)
        {
            foreach (var path in search.From(caller, Depth))
            {
                if (OnlyCalled && path.Function.IsInlined || !Fits(file, path.Function))
                {
                    continue;
                }

                var made = new List<ResolvedPoint>();
                make(path.Function, Text(point, path), made);
                foreach (var result in made)
                {
                    if (Guarded(result, file, path, point.Span, scope) is { } guarded)
                    {
                        results.Add(guarded);
                    }
                    else
                    {
                        blind++;
                    }
                }
            }
        }

        var span = Literal.ArgumentSpan(point, At + 1);
        if (search.IsCut)
        {
            scope.Diagnostics.Warn("probe.many-callees", span, $"'{point}' means more than {CallPaths.Most} ways of calling functions; the first {CallPaths.Most} are probed", "ask for less depth");
        }

        if (results.Count > before || scope.Diagnostics.HasErrors)
        {
            return;
        }

        var name = Caller.Function;
        var wanted = IsListed ? $"function \"{Callee.Function}\"" : "any function of its own file";
        if (blind > 0)
        {
            scope.Diagnostics.Error("probe.callee-unknown-caller", span, $"who calls the function cannot be told at '{point}': " + (file.IsUser ? $"\"{file.Path}\" has no call frame information for it"
                : "where the kernel is loaded is not known"), "probe the callee by its own name");
        }
        else if (Match(search.Jumped) is { } jump)
        {
            scope.Diagnostics.Error("probe.callee-jump", span, $"function \"{name}\" of \"{file.Path}\" does not call \"{jump}\" but jumps to it (a tail call): its stack does not tell from where",
                "probe the callee by its own name, or compile with -fno-optimize-sibling-calls");
        }
        else if (IsListed && Match(search.Elsewhere) is { } other)
        {
            scope.Diagnostics.Error("probe.callee-elsewhere", span, $"function \"{other}\" that \"{name}\" calls is not in \"{file.Path}\"", "probe it in the library that has it, or where it is called from by .plt(\"" + other + "\")");
        }
        else
        {
            var seen = new SortedSet<string>(StringComparer.Ordinal);
            foreach (var caller in callers)
            {
                foreach (var path in search.From(caller, 1))
                {
                    seen.Add(path.Function.Symbol);
                }
            }

            scope.Diagnostics.Error("probe.no-callee", span, $"function \"{name}\" of \"{file.Path}\" {(seen.Count == 0 && search.Elsewhere.Count == 0 ? "calls no function" : "does not call " + wanted)}"
                + (IsListed || seen.Count == 0 && search.Elsewhere.Count == 0 ? "" : ": " + string.Join(", ", search.Elsewhere.Take(5)) + " are in libraries"),
                Names.Hint(Names.Similar(Callee.Function, seen)) ?? (seen.Count > 0 ? "it calls " + string.Join(", ", seen.Take(10)) : "calls through pointers are not known"));
        }

        string? Match(SortedSet<string> names)
        {
            foreach (var candidate in names)
            {
                if (Globs.Matches(Callee.Function, candidate))
                {
                    return candidate;
                }
            }

            return null;
        }
    }

    private bool Fits(UserFile file, FoundFunction function) =>
        Callee.Function == "*" && Callee.File is null || (function.Function is { } debug ? Callee.Fits(debug) : file.Symbols.At(function.Entry) is { } symbol && Callee.File is null && Callee.Fits(symbol));

    /// <summary>The point as it is listed: the caller and every function on the way.</summary>
    private string Text(ProbePoint point, CallPath path)
    {
        var names = new Stack<string>();
        for (var at = path; at is not null; at = at.Caller)
        {
            names.Push(at.Function.Name);
        }

        var components = new List<ProbeComponent>(point.Components.Take(At));
        var function = point.Components[At];
        components.Add(new ProbeComponent(function.Span, function.Name, new StringLiteral(function.Span, names.Pop())));
        while (names.TryPop(out var name))
        {
            components.Add(new ProbeComponent(function.Span, "callee", new StringLiteral(function.Span, name)));
        }

        components.AddRange(point.Components.Skip(At + 2));
        return new ProbePoint(point.Span, components, false, false, null).ToString();
    }

    /// <summary>The point with the test of its callers; null when that cannot be made.</summary>
    private static ResolvedPoint? Guarded(ResolvedPoint point, UserFile file, CallPath path, SourceSpan where, ResolveScope scope)
    {
        var entry = point.Context.EntryPoint ?? point;
        var place = Place(entry, file, path.Function);
        Expr? Test(SourceSpan span) => new CallerTest(scope.Target, file, place, span).Of(path);
        switch (Test(default))
        {
            case null:
                return null;
            case LongConst { Value: not 0 }:
                return point;
        }

        entry.Context.CalledBy = span => Test(span)!;
        var variable = new TargetVariable(where, ProbeContext.CalledVariable);
        return point with { Guard = point.Context.EntryPoint is null ? variable : new EntryExpression(where, variable) };
    }

    /// <summary>The address probed, as linked: entry probes may stand behind the prologue.</summary>
    private static ulong Place(ResolvedPoint entry, UserFile file, FoundFunction function) =>
        entry.Spec is UserFunctionSpec spec && file.Elf.Address((ulong)spec.FileOffset) is { } address ? address : function.Entry;
}
