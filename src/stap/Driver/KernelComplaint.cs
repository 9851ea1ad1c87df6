using Linux.Bpf;

namespace SystemTap.Cli.Driver;

/// <summary>What the user reads when the kernel refuses something in pass 4 or 5.</summary>
internal static class KernelComplaint
{
    /// <summary>Prints the refusal. A verifier's refusal is our bug: it is shown with the script's line, the raw log only with <c>-vvv</c>.</summary>
    public static void Print(Exception e, bool showLog)
    {
        if (e is VerifierException verifier)
        {
            Console.Error.WriteLine("ERROR: the kernel's verifier refused a program that stap generated; this is a defect of stap, not of the script");
            if (verifier.Mark is { IsKnown: true } mark)
            {
                Console.Error.WriteLine($" source: line {mark.Line}, column {mark.Column} of the script");
            }

            Console.Error.WriteLine($" verifier: {verifier.Summary}");
            Console.Error.WriteLine("hint: please report it with the script and the kernel's version; '-vvv' shows the verifier's whole log");
            if (showLog)
            {
                Console.Error.WriteLine(verifier.Log);
            }

            return;
        }

        if (e is BpfException { ErrorNumber: Errno.EPERM or Errno.EACCES } refused)
        {
            Console.Error.WriteLine(Environment.IsPrivilegedProcess
                ? $"ERROR: the kernel refuses BPF to this process ({refused.Subject}: {refused.Operation}): it is root without CAP_BPF and CAP_PERFMON (in a container or user namespace), or the kernel is locked down"
                : $"ERROR: scripts with kernel events need root, or CAP_BPF and CAP_PERFMON ({refused.Subject}: {refused.Operation} was refused)");
            Console.Error.WriteLine(Environment.IsPrivilegedProcess ? "hint: run stap on the host itself" : "hint: run stap with sudo");
            return;
        }

        Console.Error.WriteLine($"ERROR: {e.Message}");
    }
}
