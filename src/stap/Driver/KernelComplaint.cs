using Linux.Bpf;

namespace SystemTap.Cli.Driver;

/// <summary>What the user reads when the kernel refuses something in pass 4 or 5.</summary>
internal static class KernelComplaint
{
    /// <summary>Prints the refusal. A verifier's refusal is our bug: it is shown with the script's line, the raw log only with <c>-vvv</c>.</summary>
    public static void Print(Exception e, bool showLog)
    {
        foreach (var line in Lines(e, showLog))
        {
            Console.Error.WriteLine(line);
        }
    }

    /// <summary>The lines of the refusal.</summary>
    internal static IEnumerable<string> Lines(Exception e, bool showLog)
    {
        if (e is VerifierException verifier)
        {
            yield return "ERROR: the kernel's verifier refused a program that stap generated; this is a defect of stap, not of the script";
            if (verifier.Mark is { IsKnown: true } mark)
            {
                yield return $"\tat: {verifier.File?.Name ?? "the script"}:{mark.Line}:{mark.Column}";
                if (verifier.File?.Line(mark.Line) is { Length: > 0 } text)
                {
                    yield return $"     source: {text}";
                }
            }

            yield return $"     verifier: {verifier.Summary}";
            yield return "hint: please report it with the script and the kernel's version; until then '--runtime=kernel' may run it; '-vvv' shows the verifier's whole log";
            if (showLog)
            {
                yield return verifier.Log;
            }

            yield break;
        }

        if (e is BpfException { ErrorNumber: Errno.EPERM or Errno.EACCES } refused)
        {
            yield return Environment.IsPrivilegedProcess
                ? $"ERROR: the kernel refuses BPF to this process ({refused.Subject}: {refused.Operation}): it is root without CAP_BPF and CAP_PERFMON (in a container or user namespace), or the kernel is locked down"
                : $"ERROR: scripts with kernel events need root, or CAP_BPF and CAP_PERFMON ({refused.Subject}: {refused.Operation} was refused)";
            yield return Environment.IsPrivilegedProcess ? "hint: run stap on the host itself" : "hint: run stap with sudo";
            yield break;
        }

        yield return $"ERROR: {e.Message}";
    }
}
