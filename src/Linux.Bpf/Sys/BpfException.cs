namespace Linux.Bpf;

/// <summary>
/// A refused operation on a BPF object. The message has the object first, then what was tried, the errno's meaning and name, and
/// where one is known, an action.
/// </summary>
public class BpfException : Exception
{
    /// <summary>Makes the message from its parts.</summary>
    /// <param name="subject">What it was done to, such as <c>map "counts"</c>.</param>
    /// <param name="operation">What was tried, such as <c>create</c>.</param>
    /// <param name="errno">Positive errno.</param>
    /// <param name="hint">What to do about it; a default is chosen for common numbers.</param>
    public BpfException(string subject, string operation, int errno, string? hint = null)
        : base($"{subject}: cannot {operation}: {Errno.Meaning(errno)} ({Errno.Name(errno)}){Tail(hint ?? DefaultHint(errno))}")
    {
        (Subject, Operation, ErrorNumber) = (subject, operation, errno);
    }

    /// <summary>For failures with a message of their own.</summary>
    protected BpfException(string message, string subject, string operation, int errno) : base(message)
    {
        (Subject, Operation, ErrorNumber) = (subject, operation, errno);
    }

    /// <summary>The object, such as <c>map "counts"</c>.</summary>
    public string Subject { get; }
    /// <summary>What was tried.</summary>
    public string Operation { get; }
    /// <summary>Positive errno; see <see cref="Errno"/>.</summary>
    public int ErrorNumber { get; }

    private static string Tail(string? hint) => hint is null ? "" : "; " + hint;

    private static string? DefaultHint(int errno) => errno switch
    {
        Errno.EPERM or Errno.EACCES => "run as root or with CAP_BPF and CAP_PERFMON",
        Errno.EMFILE => "raise the limit on open files (ulimit -n)",
        Errno.ENOMEM => "ask for fewer or smaller entries",
        Errno.ENOSYS => "the kernel was built without this",
        _ => null,
    };

    /// <summary>Throws if the result of a system call is a negated errno.</summary>
    internal static long Check(long result, string kind, string name, string operation, string? hint = null)
    {
        if (result < 0)
            throw new BpfException($"{kind} \"{name}\"", operation, (int)-result, hint);
        return result;
    }
}
