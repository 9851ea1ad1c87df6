using Linux.Bpf;
using SystemTap.Bpf.Plan;
using SystemTap.Targets;

namespace SystemTap.Runtime.Sessions;

// Places in programs and libraries: one uprobe_multi link for many, else one perf event for each. There are instructions that the kernel probes nowhere (those with
// a lock prefix, for instance), and a link is refused as a whole for one of them.

public sealed partial class KernelSide
{
    /// <summary>Errors that are about the instruction: not one for uprobes, not one the kernel can decode, not in the file.</summary>
    private static bool IsAboutInstruction(BpfException e) => e.ErrorNumber is Errno.ENOTSUPP or Errno.EOPNOTSUPP or Errno.ENOEXEC or Errno.EIO;

    private void AttachUprobes(ProgramPlan plan, AttachPlan.Uprobe uprobe, BpfProgram program)
    {
        var refused = new List<string>();
        if ((AttachType)plan.ExpectedAttachType == AttachType.TraceUprobeMulti)
        {
            var places = uprobe.Sites.ToArray();
            Array.Sort(places, static (a, b) => a.Offset.CompareTo(b.Offset));
            AttachTogether(places, sites => Link(uprobe, program, sites), IsAboutInstruction, (e, site) => Refused(e, uprobe, site, refused));
            TellRefused(uprobe, refused);
            return;
        }

        foreach (var site in uprobe.Sites)
        {
            try
            {
                _links.Add(ProbePmu.AttachUprobe(program, uprobe.Path, (ulong)site.Offset, uprobe.IsReturn, (ulong)site.Semaphore, cookie: site.Cookie));
            }
            catch (BpfException e) when (IsAboutInstruction(e))
            {
                Refused(e, uprobe, site, refused);
            }
        }

        TellRefused(uprobe, refused);
    }

    private static BpfLink Link(AttachPlan.Uprobe uprobe, BpfProgram program, ReadOnlySpan<UprobeSite> sites)
    {
        var offsets = new ulong[sites.Length];
        var cookies = new ulong[sites.Length];
        var semaphores = new ulong[sites.Length];
        var anySemaphore = false;
        for (var i = 0; i < sites.Length; i++)
        {
            (offsets[i], cookies[i], semaphores[i]) = ((ulong)sites[i].Offset, sites[i].Cookie, (ulong)sites[i].Semaphore);
            anySemaphore |= semaphores[i] != 0;
        }

        return UprobeMulti.Attach(program, uprobe.Path, offsets, cookies, anySemaphore ? semaphores : [], uprobe.IsReturn, uprobe.Pid);
    }

    /// <summary>A place where the kernel cannot probe: the session goes on without it when it has others.</summary>
    private static void Refused(BpfException e, AttachPlan.Uprobe uprobe, UprobeSite site, List<string> refused)
    {
        if (uprobe.Sites.Count == 1)
        {
            throw new BpfException($"\"{site.Symbol}\" of \"{uprobe.Path}\"", "probe", e.ErrorNumber, "there is " + UprobePlaces.Unfit);
        }

        refused.Add($"\"{site.Symbol}\"");
    }

    private void TellRefused(AttachPlan.Uprobe uprobe, List<string> refused)
    {
        const int mostNames = 5;
        if (refused.Count > 0)
        {
            _complain($"{string.Join(", ", refused.Take(mostNames))}{(refused.Count > mostNames ? $" and {refused.Count - mostNames} more places" : "")} of \"{uprobe.Path}\" "
                + $"{(refused.Count == 1 ? "is" : "are")} left out: there is {UprobePlaces.Unfit}");
        }
    }
}
