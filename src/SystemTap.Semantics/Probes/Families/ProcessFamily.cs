using SystemTap.Semantics.Lowered;

namespace SystemTap.Semantics.Probes.Families;

/// <summary>
/// Life and system calls of processes: <c>process.begin .end .thread.begin .thread.end .syscall .syscall.return</c>, of all processes (with
/// <c>-c</c>/<c>-x</c>: of the target and its children), of those that run a program (<c>process("PATH")</c>) or of one (<c>process(PID)</c>).
/// </summary>
public sealed class ProcessFamily : ProbeFamily
{
    private static readonly string[] Events = ["begin", "end", "thread.begin", "thread.end", "syscall", "syscall.return"];

    /// <inheritdoc/>
    public override IReadOnlyList<IReadOnlyList<ComponentPattern>> Forms { get; } = ProbeForms.Of(
        [.. Events.Select(e => "process." + e), .. Events.Select(e => "process(S)." + e), .. Events.Select(e => "process(N)." + e)]);

    /// <inheritdoc/>
    public override Privilege Privilege => Privilege.User;

    /// <inheritdoc/>
    public override string ArgumentNoun => "program";

    /// <inheritdoc/>
    public override void Resolve(ProbeMatch match, ResolveScope scope, List<ResolvedPoint> results)
    {
        var what = match.FormIndex % Events.Length;
        switch (match.FormIndex / Events.Length)
        {
            case 0:
                Add(what, new ProcessFilter.All(), match.Point.ToString(), results);
                break;
            case 1:
                foreach (var (path, filter) in Programs.Find(match.Point, 0, scope))
                {
                    Add(what, filter, Literal.WithText(match.Point, 0, path).ToString(), results);
                }

                break;
            default:
                var pid = match.Number(0);
                if (pid is <= 0 or > 4194304)
                {
                    scope.Diagnostics.Error("probe.process-pid", Literal.ArgumentSpan(match.Point, 0), $"process id '{pid}' is out of range: it must lie between 1 and 4194304");
                }
                else if (scope.Target.IsLive && scope.Target.Processes.Find((int)pid) is null)
                {
                    scope.Diagnostics.Error("probe.process-pid", Literal.ArgumentSpan(match.Point, 0), $"process '{pid}' does not exist", "give the id of a running process");
                }
                else
                {
                    Add(what, new ProcessFilter.Pid((int)pid), match.Point.ToString(), results);
                }

                break;
        }
    }

    /// <inheritdoc/>
    public override IEnumerable<string> Candidates(ProbeMatch match, ResolveScope scope) =>
        match.FormIndex / Events.Length == 1 ? Programs.Names(scope) : [];

    private static void Add(int what, ProcessFilter filter, string text, List<ResolvedPoint> results)
    {
        switch (what)
        {
            case <= 3:
                var @event = what switch
                {
                    0 => ProcessEvent.Begin,
                    1 => ProcessEvent.End,
                    2 => ProcessEvent.ThreadBegin,
                    _ => ProcessEvent.ThreadEnd,
                };
                results.Add(new ResolvedPoint(new ProcessSpec(@event, filter), text, ProbeContext.None));
                break;
            case 4:
                results.Add(new ResolvedPoint(new SyscallSpec(-1, "", false, false) { Processes = filter }, text, SyscallContext.AtEntry));
                break;
            default:
                var entry = new ResolvedPoint(new SyscallSpec(-1, "", false, false) { Processes = filter }, text[..^".return".Length], SyscallContext.AtEntry);
                results.Add(new ResolvedPoint(new SyscallSpec(-1, "", true, false) { Processes = filter }, text, new SyscallContext(entry)));
                break;
        }
    }
}
