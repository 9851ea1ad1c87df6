using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using Linux.Bpf;
using SystemTap.Bpf.Plan;
using SystemTap.Language.Text;
using SystemTap.Runtime.Host;
using SystemTap.Targets;

namespace SystemTap.Runtime.Sessions;

// Names of addresses, made when a line is printed. Kernel: /proc/kallsyms, read at the first question. Processes: what is mapped where (UserSpace), fed by the kernel's
// announcements while user stacks are collected, so that a process that is gone when its record is read is still known. Announcements and records come
// through different rings; both carry the monotonic clock, and before a stack is unwound all announcements older than it are applied.

/// <summary>The session's symbols and stacks.</summary>
internal sealed class SymbolService : ISymbols, IPerfRecordHandler, IDisposable
{
    /// <summary>Stacks kept until they are asked for; what is older was sent by a handler that then printed nothing.</summary>
    private const int MostStacks = 4096;

    private readonly Target _target;
    private KernelSymbols? _kernel;
    private readonly UserSpace _space;
    private readonly List<PerfRing> _rings = [];
    private readonly List<Announcement> _announced = [];
    private readonly Dictionary<long, List<ulong>> _stacks = [];
    private readonly Queue<long> _order = [];
    private readonly byte[] _copy = new byte[StackSnapshot.Page * StackSnapshot.Pages];

    private readonly record struct Announcement(ulong Time, uint Kind, int Pid, int Other, ulong Start, ulong Length, ulong Offset, string Path, FileId File = default);

    public SymbolService(Target? target)
    {
        _target = target ?? Target.Live();
        _space = new UserSpace(_target.Architecture);
    }

    /// <summary>
    /// The kernel's symbols. Read anew and late: the session's own programs are symbols too, and stacks must tell them from others' code. While the session probes a module that may come
    /// and go they are read again whenever modules have changed.
    /// </summary>
    private KernelSymbols Kernel(ulong address)
    {
        if (FollowsModules && _target.IsLive && _known.Add(address) && ReadModules() is var modules && modules != _modules)
        {
            _modules = modules;
            _kernel = null;
            _known.Clear();
            _known.Add(address);
        }

        return _kernel ??= _target.IsLive ? Target.Live().KernelSymbols : _target.KernelSymbols;
    }

    /// <summary>Modules may be loaded and unloaded while the session runs, and their functions be asked for.</summary>
    public bool FollowsModules { get; set; }

    /// <summary>Addresses that were looked up in the symbols at hand.</summary>
    private readonly HashSet<ulong> _known = [];
    private string _modules = "";

    /// <summary>Which modules are where; "" when that cannot be read.</summary>
    private static string ReadModules()
    {
        try
        {
            return string.Join('\n', File.ReadLines("/proc/modules").Select(static line => line.Split(' ') is { Length: > 5 } words ? words[0] + words[5] : line));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return "";
        }
    }

    /// <summary>Starts to follow what processes map.</summary>
    public void WatchMappings()
    {
        foreach (var file in _target.UserFiles.Opened)
        {
            _space.Know(file);
        }

        _space.KnowRunning();

        try
        {
            foreach (var cpu in Linux.Bpf.CpuList.Online())
            {
                _rings.Add(PerfRing.OpenMappings(cpu));
            }
        }
        catch (BpfException)
        {
            // Without announcements processes are looked up in /proc when their first stack is read; only very short-lived ones stay nameless.
        }
    }

    /// <summary>Unwinds a stack that has arrived.</summary>
    public void Snapshot(ReadOnlySpan<byte> record, int most)
    {
        var id = BinaryPrimitives.ReadInt64LittleEndian(record[StackSnapshot.Id..]);
        var time = BinaryPrimitives.ReadUInt64LittleEndian(record[StackSnapshot.Time..]);
        var pid = (int)(BinaryPrimitives.ReadUInt64LittleEndian(record[StackSnapshot.Process..]) >> 32);
        var length = (int)BinaryPrimitives.ReadInt64LittleEndian(record[StackSnapshot.Length..]);
        Apply(time);
        var saved = record.Slice(StackSnapshot.Registers, StackSnapshot.RegistersSize);
        var architecture = _target.Architecture.Of(saved);
        var isWide = architecture.PointerSize == 8;
        Span<ulong> registers = stackalloc ulong[FrameRow.RegisterCount];
        ulong Word(ReadOnlySpan<byte> bytes) => isWide ? BinaryPrimitives.ReadUInt64LittleEndian(bytes) : BinaryPrimitives.ReadUInt32LittleEndian(bytes);
        foreach (var register in architecture.Registers)
        {
            if (register.DwarfNumber is >= 0 and < FrameRow.RegisterCount)
            {
                registers[register.DwarfNumber] = Word(saved[register.Offset..]);
            }
        }

        var pc = Word(saved[architecture.InstructionPointer.Offset..]);
        var start = StackSnapshot.Start(registers[architecture.StackPointer.DwarfNumber], length);
        var copied = Math.Clamp(length, 0, Math.Min(record.Length - StackSnapshot.Stack, _copy.Length));
        record.Slice(StackSnapshot.Stack, copied).CopyTo(_copy);
        bool Read(ulong address, out ulong value)
        {
            var at = address - start;
            if (address < start || at + (ulong)architecture.PointerSize > (ulong)copied)
            {
                value = 0;
                return false;
            }

            value = Word(_copy.AsSpan((int)at));
            return true;
        }

        _stacks[id] = _space.Unwind(architecture, pid, pc, registers, Read, most);
        _order.Enqueue(id);
        while (_order.Count > MostStacks)
        {
            _stacks.Remove(_order.Dequeue());
        }
    }

    /// <inheritdoc/>
    public IReadOnlyList<ulong> TakeStack(long snapshot) => _stacks.TryGetValue(snapshot, out var stack) ? stack : [];

    /// <inheritdoc/>
    public string KernelName(ulong address) => Kernel(address).Find(address) is { } found ? found.Symbol.Name : Hex(address);

    /// <inheritdoc/>
    public string KernelData(ulong address)
    {
        if (Kernel(address).Find(address) is not { } found)
        {
            return Hex(address);
        }

        var size = Kernel(address).SizeAtMost(found.Symbol.Address);
        var text = new StringBuilder(found.Symbol.Name).Append(CultureInfo.InvariantCulture, $"+0x{found.Offset:x}");
        if (size > 0)
        {
            text.Append(CultureInfo.InvariantCulture, $"/0x{size:x}");
        }

        return text.Append(" [").Append(found.Symbol.Module ?? "kernel").Append(']').ToString();
    }

    /// <inheritdoc/>
    public string? KernelModule(ulong address) => Kernel(address).Find(address) is { } found ? found.Symbol.Module ?? "kernel" : null;

    /// <inheritdoc/>
    public bool IsProbeMachinery(ulong address)
    {
        if (Kernel(address).Find(address) is not { } found)
        {
            return true; // generated code newer than the symbols that were read: the program itself or its trampoline
        }

        var name = found.Symbol.Name;
        return found.Symbol.Module == "bpf" || name.StartsWith("bpf_", StringComparison.Ordinal) || name.StartsWith("__bpf_", StringComparison.Ordinal)
            || name.StartsWith("__traceiter_", StringComparison.Ordinal) || name.StartsWith("__probestub_", StringComparison.Ordinal)
            || name is "trace_call_bpf" or "kprobe_multi_link_handler" or "fprobe_handler" or "ftrace_trampoline" || name.StartsWith("kprobe_perf_func", StringComparison.Ordinal);
    }

    /// <inheritdoc/>
    public string UserName(long process, ulong address)
    {
        Apply(ulong.MaxValue);
        return _space.Symbol((int)process, address) is { Symbol: { } symbol } ? Plain(symbol) : Hex(address);
    }

    /// <inheritdoc/>
    public string UserData(long process, ulong address, bool isCaller = false)
    {
        Apply(ulong.MaxValue);
        if (_space.Symbol((int)process, address) is not { } found)
        {
            return Hex(address);
        }

        // A call that never returns (exit, abort, throw) may be the last instruction of its function, whose end the address then is.
        if (isCaller && (found.Symbol is null || found.Offset == 0) && _space.Symbol((int)process, address - 1) is { Symbol: { } caller } last && last.Offset + 1 == (ulong)caller.Size)
        {
            found = last with { Offset = last.Offset + 1 };
        }

        if (found.Symbol is not { } symbol)
        {
            return string.Create(CultureInfo.InvariantCulture, $"0x{address:x} [{found.File}+0x{found.Offset:x}]");
        }

        return Text(Plain(symbol), found.Offset, symbol.Size, found.File);
    }

    /// <inheritdoc/>
    public IReadOnlyList<InlinedFrame> UserInlined(long process, ulong address, ulong lookedUp)
    {
        Apply(ulong.MaxValue);
        var calls = _space.Inlined((int)process, lookedUp, out var inFile);
        return calls.Count == 0 ? [] : Inlined(calls, inFile + (address - lookedUp), _space.Module((int)process, lookedUp) ?? "");
    }

    /// <inheritdoc/>
    public IReadOnlyList<InlinedFrame> KernelInlined(ulong address, ulong lookedUp) => KernelDebugInfo(lookedUp, out var module) is var (dwarf, inFile)
        ? Inlined(dwarf.InlinedAt(inFile), inFile + (address - lookedUp), module) : [];

    /// <inheritdoc/>
    public bool IsSignalFrame(long process, ulong address, ulong lookedUp)
    {
        Apply(ulong.MaxValue);
        return _space.IsSignalFrame((int)process, address, lookedUp);
    }

    private static InlinedFrame[] Inlined(IReadOnlyList<DwarfInlinedCall> calls, ulong inFile, string file) =>
        [.. calls.Select(call => new InlinedFrame(Text(ByteText.FromText(call.Name), inFile - call.Start, call.Size, file), call.Call is { } place ? Text(place) : null))];

    private static string Text(string name, ulong offset, ulong size, string file) => size > 0
        ? string.Create(CultureInfo.InvariantCulture, $"{name}+0x{offset:x}/0x{size:x} [{file}]")
        : string.Create(CultureInfo.InvariantCulture, $"{name}+0x{offset:x} [{file}]");

    private static string Text((string File, int Line) place) => string.Create(CultureInfo.InvariantCulture, $"{ByteText.FromText(place.File)}:{place.Line}");

    /// <summary>C++ and Rust symbols as people write the functions, without parameters.</summary>
    private static string Plain(ImageSymbol symbol) => ByteText.FromText(Demangler.Plain(symbol.Name) ?? symbol.Name);

    /// <inheritdoc/>
    public string? UserModule(long process, ulong address)
    {
        Apply(ulong.MaxValue);
        return _space.Module((int)process, address);
    }

    /// <inheritdoc/>
    public string? UserPlace(long process, ulong address)
    {
        Apply(ulong.MaxValue);
        return _space.Line((int)process, address) is { } place ? Text(place) : null;
    }

    /// <inheritdoc/>
    public string? KernelPlace(ulong address) => KernelDebugInfo(address, out _) is var (dwarf, inFile) && dwarf.LineAt(inFile) is { } place ? Text(place) : null;

    /// <summary>The debug information of kernel code and where it has an address; null without it.</summary>
    private (DwarfFile Dwarf, ulong Address)? KernelDebugInfo(ulong address, out string module)
    {
        module = "kernel";

        // The symbol leads to the function's entry in the debug information, whatever the file and wherever it is loaded.
        if (Kernel(address).Find(address) is not ({ IsFunction: true } symbol, var offset))
        {
            return null;
        }

        module = symbol.Module ?? module;
        return _target.KernelFile(symbol.Module) is { Dwarf: { } dwarf, Kernel: { } kernel } && kernel.Function(symbol.Name) is { } function ? (dwarf, function.Entry + offset) : null;
    }

    /// <inheritdoc/>
    public void OnRecord(uint type, ushort misc, ReadOnlySpan<byte> body)
    {
        if (body.Length < PerfRing.SampleIdSize)
        {
            return;
        }

        var time = BinaryPrimitives.ReadUInt64LittleEndian(body[^8..]);
        switch (type)
        {
            case PerfRing.Mmap2 when body.Length >= 64 + PerfRing.SampleIdSize:
                // pid, tid, addr, len, pgoff, maj, min, ino, ino_generation, prot, flags, filename
                var name = body[64..^PerfRing.SampleIdSize];
                var end = name.IndexOf((byte)0);
                _announced.Add(new Announcement(time, type, Int(body), 0, Long(body[8..]), Long(body[16..]), Long(body[24..]), Encoding.Latin1.GetString(end < 0 ? name : name[..end]),
                    new FileId((uint)Int(body[32..]), (uint)Int(body[36..]), Long(body[40..]))));
                break;
            case PerfRing.Comm when (misc & PerfRing.MiscCommExec) != 0:
                _announced.Add(new Announcement(time, type, Int(body), 0, 0, 0, 0, ""));
                break;
            case PerfRing.Fork or PerfRing.Exit when body.Length >= 24:
                // pid, ppid, tid, ptid, time
                var (pid, parent, tid) = (Int(body), Int(body[4..]), Int(body[8..]));
                if (type == PerfRing.Fork ? pid != parent : pid == tid)
                {
                    _announced.Add(new Announcement(time, type, pid, parent, 0, 0, 0, ""));
                }

                break;
        }

        static int Int(ReadOnlySpan<byte> b) => BinaryPrimitives.ReadInt32LittleEndian(b);
        static ulong Long(ReadOnlySpan<byte> b) => BinaryPrimitives.ReadUInt64LittleEndian(b);
    }

    public void Dispose()
    {
        foreach (var ring in _rings)
        {
            ring.Dispose();
        }

        _rings.Clear();
    }

    /// <summary>Applies the announcements up to a time, in their order.</summary>
    private void Apply(ulong time)
    {
        if (_rings.Count == 0)
        {
            return;
        }

        foreach (var ring in _rings)
        {
            ring.Drain(this);
        }

        if (_announced.Count == 0)
        {
            return;
        }

        // A stable order: what one CPU says at one moment keeps its order.
        var due = _announced.Where(a => a.Time <= time).OrderBy(a => a.Time).ToList();
        _announced.RemoveAll(a => a.Time <= time);
        foreach (var a in due)
        {
            switch (a.Kind)
            {
                case PerfRing.Mmap2:
                    _space.Map(a.Pid, a.Start, a.Length, a.Offset, a.Path, a.File);
                    break;
                case PerfRing.Comm:
                    _space.Exec(a.Pid);
                    break;
                case PerfRing.Fork:
                    _space.Fork(a.Other, a.Pid);
                    break;
                case PerfRing.Exit:
                    _space.End(a.Pid);
                    break;
            }
        }
    }

    private static string Hex(ulong address) => "0x" + address.ToString("x", CultureInfo.InvariantCulture);
}
