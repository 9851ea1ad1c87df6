using Xunit;

namespace SystemTap.Tests.Examples;

/// <summary>Examples on kernel functions; where the kernel lets nobody probe any, stap says so in one sentence.</summary>
public class FunctionExampleTests
{
    [Fact]
    public void Function_calls_counts_the_reads_of_a_command()
    {
        StapRun.Need();
        var got = StapRun.Stapped(StapRun.Example("function-calls"), "vfs_read", "-c", "dd if=/dev/zero of=/dev/null bs=1 count=500 status=none");
        if (got.Status == 1 && got.Error.Contains("kernel functions cannot be probed on this kernel", StringComparison.Ordinal))
        {
            Assert.Contains("hint: ", got.Error, StringComparison.Ordinal);
            Assert.Skip("this kernel has no kprobes and refuses trampolines");
        }

        // 500 reads of dd, a few more of the loader.
        var row = got.Succeeded().Lines.Single(l => l.Contains("vfs_read", StringComparison.Ordinal)).Split(' ', StringSplitOptions.RemoveEmptyEntries);
        Assert.InRange(long.Parse(row[0]), 500, 540);
        Assert.Equal("ksys_read", row[2]);
    }
}
