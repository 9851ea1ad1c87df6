using System.Buffers.Binary;
using SystemTap.Runtime.Host;
using SystemTap.Targets;

namespace SystemTap.Runtime.Sessions;

// The kernel keeps its tasks by number in the tree (an xarray) of the first pid namespace; its leaves are struct pid, whose first linked task is the thread. Handlers inside the
// kernel walk it by instructions of their own (ProgramEmitter.Tasks.cs); this is the same walk for handlers that stap runs.

/// <summary>Finds tasks by their number for handlers that run in stap.</summary>
internal sealed class TaskTree(Target target, IMemoryReader memory)
{
    private const ulong TagMask = 3, NodeTag = 2, LeastAddress = 4096;

    private readonly Lazy<Offsets?> _offsets = new(() => Offsets.Of(target));

    private sealed record Offsets(int ThreadPid, int Namespace, int Root, int Shift, int Slots, int Fan, int Tasks, int Links)
    {
        public static Offsets? Of(Target target)
        {
            if (target.KernelBtfOrNull is not { } btf)
            {
                return null;
            }

            int? At(string type, string member) => btf.Find(BtfKind.Struct, type)?.FindMember(member)?.ByteOffset is { } offset ? (int)offset : null;
            var slots = btf.Find(BtfKind.Struct, "xa_node")?.FindMember("slots");
            return At("task_struct", "thread_pid") is { } threadPid && At("pid", "numbers") + At("upid", "ns") is { } space
                && At("pid_namespace", "idr") + At("idr", "idr_rt") + At("xarray", "xa_head") is { } root && At("xa_node", "shift") is { } shift
                && At("xa_node", "slots") is { } slotsAt && slots is { } array && At("pid", "tasks") is { } tasks && At("task_struct", "pid_links") is { } links
                ? new Offsets(threadPid, space, root, shift, slotsAt, (int)(array.Type.Size / 8), tasks, links) : null;
        }
    }

    /// <summary>Address of the task_struct with a thread id; 0 when there is none.</summary>
    public long Find(long tid)
    {
        if (tid <= 0 || _offsets.Value is not { } o)
        {
            return 0;
        }

        var task = memory.CurrentTask();
        if (task == 0 || Word(task + (ulong)o.ThreadPid) is not (not 0 and var pid) || Word(pid + (ulong)o.Namespace) is not (not 0 and var space))
        {
            return 0;
        }

        Span<byte> shift = stackalloc byte[1];
        var entry = Word(space + (ulong)o.Root);
        for (var isRoot = true; (entry & TagMask) == NodeTag && entry > LeastAddress; isRoot = false)
        {
            var node = entry - NodeTag;
            if (!memory.ReadKernel(node + (ulong)o.Shift, shift) || shift[0] > 60)
            {
                return 0;
            }

            var index = (ulong)tid >> shift[0];
            if (isRoot && index >= (ulong)o.Fan)
            {
                return 0;
            }

            entry = Word(node + (ulong)o.Slots + (8 * (index & (ulong)(o.Fan - 1))));
        }

        return (entry & TagMask) == 0 && entry > LeastAddress && Word(entry + (ulong)o.Tasks) is not 0 and var link ? (long)(link - (ulong)o.Links) : 0;
    }

    private ulong Word(ulong address)
    {
        Span<byte> bytes = stackalloc byte[8];
        return memory.ReadKernel(address, bytes) ? BinaryPrimitives.ReadUInt64LittleEndian(bytes) : 0;
    }
}
