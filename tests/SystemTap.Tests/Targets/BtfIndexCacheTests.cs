using Xunit;
using SystemTap.Targets;

namespace SystemTap.Tests.Targets;

public sealed class BtfIndexCacheTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("stap-cache").FullName;
    private string Btf1 => _folder + "/vmlinux";
    private string Cache => _folder + "/cache";

    public BtfIndexCacheTests() => File.WriteAllBytes(Btf1, BtfBuilder.Sample());

    public void Dispose() => Directory.Delete(_folder, true);

    private Btf Open(string key = "abc") => Btf.Open(Btf1, "vmlinux", null, Cache, key);

    private static void Check(Btf btf)
    {
        Assert.Equal(192, btf.Find(BtfKind.Struct, "outer")!.Value.FindMember("comm")!.Value.BitOffset);
        Assert.NotNull(btf.FindFunction("describe"));
        Assert.Null(btf.FindFunction("nothing"));
    }

    private string File1 => Assert.Single(Directory.GetFiles(Cache));

    [Fact]
    public void The_second_opening_uses_the_file_and_answers_alike()
    {
        Check(Open());
        var before = (File.GetLastWriteTimeUtc(File1), File.ReadAllBytes(File1));
        Check(Open());
        Assert.Equal(before.Item1, File.GetLastWriteTimeUtc(File1));
        Assert.Equal(before.Item2, File.ReadAllBytes(File1));
    }

    [Fact]
    public void Another_build_has_another_file()
    {
        Open("abc");
        Open("def");
        Assert.Equal(2, Directory.GetFiles(Cache).Length);
    }

    [Fact]
    public void Any_damaged_byte_makes_it_be_built_again()
    {
        Open();
        var good = File.ReadAllBytes(File1);
        for (var at = 0; at < good.Length; at++)
        {
            var bad = (byte[])good.Clone();
            bad[at] ^= 0x40;
            Replace(bad);
            Check(Open());
            Assert.Equal(good, File.ReadAllBytes(File1));
        }
    }

    [Fact]
    public void A_cut_file_is_replaced()
    {
        Open();
        var good = File.ReadAllBytes(File1);
        foreach (var length in new[] { 0, 1, 63, 64, 65, good.Length - 4, good.Length - 1 })
        {
            Replace(good[..length]);
            Check(Open());
            Assert.Equal(good, File.ReadAllBytes(File1));
        }
    }

    [Fact]
    public void An_index_of_other_types_is_not_believed()
    {
        Open();
        var b = new BtfBuilder();
        b.Int("int", 4, 1);
        File.Delete(Btf1);
        File.WriteAllBytes(Btf1, b.Bytes()); // same build id claimed, other content
        var btf = Open();
        Assert.Equal(2, btf.EndId);
        Assert.NotNull(btf.Find(BtfKind.Int, "int"));
    }

    [Theory]
    [InlineData("/proc/nowhere/cache")]
    [InlineData("/dev/null/cache")]
    public void An_unusable_folder_does_no_harm(string folder) => Check(Btf.Open(Btf1, "vmlinux", null, folder, "abc"));

    [Fact]
    public void Nothing_temporary_stays_behind()
    {
        Open();
        Directory.CreateDirectory(Cache + "/taken");
        Assert.False(CacheDirectory.WriteAtomically(Cache + "/taken", [1])); // a folder is in the way
        Assert.Equal(2, Directory.GetFileSystemEntries(Cache).Length);
    }

    // Mapped files must not change in place: replace as the cache itself does.
    private void Replace(byte[] content)
    {
        var path = File1;
        File.WriteAllBytes(_folder + "/new", content);
        File.Move(_folder + "/new", path, true);
    }
}
