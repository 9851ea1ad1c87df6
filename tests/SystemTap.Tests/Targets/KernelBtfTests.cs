using System.Diagnostics;
using System.Text;
using Xunit;
using SystemTap.Targets;

namespace SystemTap.Tests.Targets;

/// <summary>The running kernel's types, against facts known otherwise: bpftool and gcc, the kernel's ABI, /proc.</summary>
public class KernelBtfTests
{
    private static readonly Lazy<Btf> LiveBtf = new(() => Target.Live().KernelBtf);

    private static Btf Kernel()
    {
        Assert.SkipUnless(File.Exists(Btf.KernelPath), "needs CONFIG_DEBUG_INFO_BTF");
        return LiveBtf.Value;
    }

    private static BtfType Task => Kernel().Find(BtfKind.Struct, "task_struct")!.Value;

    [Fact]
    public void Task_has_its_well_known_members()
    {
        var comm = Task.FindMember("comm")!.Value.Type;
        Assert.Equal(("char [16]", true), (comm.Declaration, comm.Target.IsChar));
        Assert.Equal("pid_t", Task.FindMember("pid")!.Value.Type.Declaration);
        var (pid, tgid) = (Task.FindMember("pid")!.Value, Task.FindMember("tgid")!.Value);
        Assert.Equal(pid.ByteOffset + 4, tgid.ByteOffset);
        var reset = Task.FindMember("sched_reset_on_fork")!.Value;
        Assert.Equal((1, false, 4), (reset.BitFieldSize, reset.Type.IsSigned, (int)reset.Type.Size));
        Assert.Equal("struct mm_struct *", Task.FindMember("mm")!.Value.Type.Declaration);
    }

    [Fact]
    public void Anonymous_parts_are_looked_through()
    {
        // struct page's mapping and _mapcount lie in unions without a name, at different depths
        var page = Kernel().Find(BtfKind.Struct, "page")!.Value;
        Assert.DoesNotContain("mapping", Names(page));
        Assert.Equal(8, page.FindMember("mapping")!.Value.Type.Size);
        Assert.True(page.FindMember("_mapcount")!.Value.ByteOffset >= 24);

        static List<string> Names(BtfType type)
        {
            var names = new List<string>();
            foreach (var member in type.Members)
                names.Add(member.Name);
            return names;
        }
    }

    [Fact]
    public void Enumerators_of_the_kernels_ABI()
    {
        var btf = Kernel();
        Assert.Equal(27, btf.FindEnumerator("BPF_MAP_TYPE_RINGBUF")!.Value.Value); // <linux/bpf.h>
        Assert.Equal(6, btf.FindEnumerator("IPPROTO_TCP")!.Value.Value);
        Assert.Equal(0, btf.FindEnumerator("PIDTYPE_PID")!.Value.Value);
    }

    [Fact]
    public void Sched_switch_passes_four_values()
    {
        var parameters = Traceiter.Parameters(Traceiter.Find(Kernel(), "sched_switch")!.Value);
        Assert.Equal("bool preempt, struct task_struct * prev, struct task_struct * next, unsigned int prev_state",
            string.Join(", ", parameters.Select(p => $"{p.Type} {p.Name}")));
        Assert.True(parameters[0].Type.IsBool);
        Assert.NotEqual(0, Traceiter.AttachId(Kernel(), "sched_switch"));
    }

    [Fact]
    public void Ids_are_those_bpftool_prints()
    {
        var lines = Bpftool("btf", "dump", "file", Btf.KernelPath).Split('\n');
        var btf = Kernel();
        var checkedFunctions = 0;
        foreach (var line in lines)
        {
            // [1234] FUNC 'vfs_read' type_id=1233 linkage=static
            if (line.Length == 0 || line[0] != '[')
                continue;
            var parts = line.Split(' ');
            var id = int.Parse(parts[0][1..^1]);
            var type = btf.Type(id);
            var name = parts[2].Trim('\'');
            Assert.Equal(name == "(anon)" ? "" : name, parts[2].EndsWith('\'') || name == "(anon)" ? type.Name : name);
            if (parts[1] == "FUNC" && checkedFunctions++ % 50 == 0)
                Assert.Equal(name, btf.Type(btf.FindFunctionId(name)).Name);
            var size = parts.FirstOrDefault(p => p.StartsWith("size="));
            if (size is not null && parts[1] is "INT" or "STRUCT" or "UNION" or "ENUM" or "ENUM64")
                Assert.Equal(int.Parse(size!.AsSpan(5)), type.Size);
        }
        Assert.True(checkedFunctions > 10_000);
    }

    [Fact]
    public void Offsets_are_those_gcc_computes()
    {
        Assert.SkipUnless(File.Exists("/usr/bin/gcc"), "needs gcc");
        var folder = Directory.CreateTempSubdirectory("stap-btf");
        try
        {
            var header = new StringBuilder(Bpftool("btf", "dump", "file", Btf.KernelPath, "format", "c"));
            for (var id = 1; id < Kernel().EndId; id++)
                if (Kernel().Type(id) is { Kind: BtfKind.Enum, Size: < 4, IsAnonymous: false } small) // bpftool's C loses "packed"
                    header.Replace($"enum {small.Name} {{", $"enum __attribute__((packed)) {small.Name} {{");
            File.WriteAllText(folder + "/vmlinux.h", header.ToString());
            var source = new StringBuilder("#include \"vmlinux.h\"\n#define O(t, m) __builtin_offsetof(t, m)\n");
            var asserts = 0;
            foreach (var name in new[] { "task_struct", "mm_struct", "file", "super_block", "inode", "dentry", "sk_buff", "sock", "page", "request", "bio", "signal_struct", "net_device", "rq", "cred", "pt_regs" })
            {
                var type = Kernel().Find(BtfKind.Struct, name)!.Value;
                source.Append($"_Static_assert(sizeof(struct {name}) == {type.Size}, \"{name}\");\n");
                foreach (var member in AllNamed(type))
                {
                    var found = type.FindMember(member)!.Value;
                    if (found.IsBitField)
                        continue;
                    source.Append($"_Static_assert(O(struct {name}, {member}) == {found.ByteOffset}, \"{name}.{member}\");\n");
                    source.Append($"_Static_assert(sizeof(((struct {name} *)0)->{member}) == {found.Type.Size}, \"size of {name}.{member}\");\n");
                    asserts++;
                }
            }
            // the declarations are C: gcc must find each the same type as the member
            var task = Task;
            foreach (var member in AllNamed(task))
                if (task.FindMember(member)!.Value is { IsBitField: false } found && !found.Type.Declaration.Contains("{...}") && !found.Type.Declaration.Contains('(') && !found.Type.IsArray)
                    source.Append($"_Static_assert(__builtin_types_compatible_p({found.Type.Declaration}, __typeof__(((struct task_struct *)0)->{member})), \"type of {member}\");\n");
            Assert.True(asserts > 1000);
            File.WriteAllText(folder + "/check.c", source.ToString());
            var (code, _, errors) = Run("/usr/bin/gcc", "-c", "-w", "-fsyntax-only", "-fno-builtin", folder + "/check.c");
            Assert.True(code == 0, errors[..Math.Min(errors.Length, 2000)]);
        }
        finally
        {
            folder.Delete(true);
        }
    }

    private static List<string> AllNamed(BtfType type)
    {
        var names = new List<string>();
        foreach (var member in type.Members)
        {
            if (member.Name.Length > 0)
                names.Add(member.Name);
            else if (member.Type.IsStructOrUnion)
                names.AddRange(AllNamed(member.Type));
        }
        return names;
    }

    private static string Bpftool(params string[] arguments)
    {
        var path = new[] { "/usr/sbin/bpftool", "/usr/bin/bpftool" }.FirstOrDefault(File.Exists);
        Assert.SkipUnless(path is not null, "needs bpftool");
        var (code, output, errors) = Run(path!, arguments);
        Assert.True(code == 0, errors);
        return output;
    }

    private static (int Code, string Output, string Errors) Run(string program, params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        var errors = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output, errors.Result);
    }
}
