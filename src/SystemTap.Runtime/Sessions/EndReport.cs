namespace SystemTap.Runtime.Sessions;

/// <summary>Everything that did not happen, told when the session ends.</summary>
internal static class EndReport
{
    public static void Write(long errors, KernelSide? kernel, (long Count, string? First) hostCuts, Action<string> warn)
    {
        long skipped = 0;
        var misses = kernel?.RecursionMisses() ?? 0;
        if (kernel is not null)
        {
            skipped = kernel.SkippedLock + kernel.SkippedReentry + misses;
        }

        if (errors > 0 || skipped > 0)
        {
            warn($"Number of errors: {errors}, skipped probes: {skipped}");
        }

        if (kernel is not null)
        {
            Line(kernel.SkippedLock, "Skipped due to global lock contention: ");
            Line(kernel.SkippedReentry, "Skipped due to reentrancy: ");
            Line(misses, "Skipped by the kernel because the probe was running on that CPU: ");
            Line(kernel.LostRecords, "Lost output records because the buffer was full (raise it with -s): ");
            Line(kernel.NonResidentReads, "User strings not read because their page was not in memory: ");
        }

        Line((kernel?.TruncatedStrings ?? 0) + hostCuts.Count, $"Strings cut to MAXSTRINGLEN{((kernel?.FirstTruncation ?? hostCuts.First) is { } place ? $" (first at {place})" : "")}: ");

        void Line(long count, string reason)
        {
            if (count > 0)
            {
                warn(reason + count.ToString(System.Globalization.CultureInfo.InvariantCulture));
            }
        }
    }
}
