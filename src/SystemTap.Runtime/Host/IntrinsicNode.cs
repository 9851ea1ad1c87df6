using SystemTap.Bpf;
using System.Globalization;
using SystemTap.Bpf.Analysis;
using SystemTap.Bpf.Plan;
using SystemTap.Language.Text;
using SystemTap.Runtime.Native;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Tapsets;

namespace SystemTap.Runtime.Host;

/// <summary>
/// The built-ins as stap itself runs them. What describes the current task describes stap; what needs an event (registers, function arguments)
/// raises a run-time error.
/// </summary>
internal sealed class IntrinsicNode(IntrinsicId id, Node[] a, SourceSpan span) : Node(span)
{
    public static Node Create(Intrinsic intrinsic, Node[] arguments, SourceSpan span) => new IntrinsicNode(intrinsic.Id, arguments, span);

    public override long Long(Machine m)
    {
        switch (id)
        {
            case IntrinsicId.Exit:
                m.Services.RequestExit();
                return 0;
            case IntrinsicId.Abort:
                throw new AbortSignal();
            case IntrinsicId.Error:
                throw new RuntimeError(a[0].Text(m), Span);
            case IntrinsicId.Warn:
                m.Services.Warn(a[0].Text(m));
                return 0;
            case IntrinsicId.Log:
                Log(m, a[0].Text(m));
                return 0;
            case IntrinsicId.System:
                m.Services.System(a[0].Text(m));
                return 0;
            case IntrinsicId.Printk:
            {
                var level = a[0].Long(m);
                m.Services.Printk(level, a[1].Text(m));
                return 0;
            }

            case IntrinsicId.FtracePrint:
                m.Services.Ftrace(a[0].Text(m));
                return 0;
            case IntrinsicId.SwitchFile:
                m.Services.SwitchFile();
                return 0;
            case IntrinsicId.Delay:
                Thread.Sleep(TimeSpan.FromMicroseconds(Math.Max(0, a[0].Long(m)) / 1000.0));
                return 0;
            case IntrinsicId.LoadAverage:
                return HostFacts.LoadAverage(a[0].Long(m));
            case IntrinsicId.CurrentTask:
                return (long)m.Services.Memory.CurrentTask();
            case IntrinsicId.Pid or IntrinsicId.StpPid:
                return Environment.ProcessId;
            case IntrinsicId.Tid:
                return Libc.gettid();
            case IntrinsicId.Uid:
                return Libc.getuid();
            case IntrinsicId.Gid:
                return Libc.getgid();
            case IntrinsicId.SessionUid:
                return SessionFacts.SessionUid;
            case IntrinsicId.TargetPidNamespace:
                return SessionFacts.Namespace("pid");
            case IntrinsicId.TargetUserNamespace:
                return SessionFacts.Namespace("user");
            case IntrinsicId.NamespaceId:
                return IdRange.Map(a[0].Long(m) == 0 ? SessionFacts.UserIds : SessionFacts.GroupIds, a[1].Long(m));
            case IntrinsicId.ReturnValue:
                throw new RuntimeError("this probe has no return value", Span);
            case IntrinsicId.TaskFromPid:
                return m.Services.TaskFromPid(a[0].Long(m));
            case IntrinsicId.Cpu:
                return Math.Max(0, Libc.sched_getcpu());
            case IntrinsicId.InTarget:
                return m.Services.InTargetSet(Environment.ProcessId) ? 1 : 0;
            case IntrinsicId.InTargetSet:
                return m.Services.InTargetSet(a[0].Long(m)) ? 1 : 0;
            case IntrinsicId.Target:
                return m.Services.TargetPid;
            case IntrinsicId.ArgumentCount:
                return m.Services.Arguments.Count;
            case IntrinsicId.Hz:
                return HostFacts.Hz;
            case IntrinsicId.PageSize:
                return Environment.SystemPageSize;
            case IntrinsicId.TimeZoneOffset:
                return -(long)TimeZoneInfo.Local.GetUtcOffset(DateTimeOffset.UtcNow).TotalSeconds;
            case IntrinsicId.SizeOfPointer:
                return IntPtr.Size;
            case IntrinsicId.MaxStringLength:
                return m.Limits.MaxStringLength;
            case IntrinsicId.IsReturn or IntrinsicId.RegistersValid:
                return 0;
            case IntrinsicId.UserMode:
                return 1;
            case IntrinsicId.MonotonicNs:
                return Libc.Clock(Libc.Monotonic);
            case IntrinsicId.BootNs:
                return Libc.Clock(Libc.BootTime);
            case IntrinsicId.WallNs:
                return Libc.Clock(Libc.Realtime);
            case IntrinsicId.CpuClockNs:
                a[0].Long(m);
                return Libc.Clock(Libc.Monotonic);
            case IntrinsicId.Jiffies:
                return HostFacts.Jiffies();
            case IntrinsicId.Cycles:
                return HostFacts.Cycles();
            case IntrinsicId.Random32:
                return Random.Shared.NextInt64(1L << 32);
            case IntrinsicId.StringLength:
                return a[0].Text(m).Length;
            case IntrinsicId.ByteAt:
            {
                var text = a[0].Text(m);
                return TextFunctions.ByteAt(text, a[1].Long(m));
            }

            case IntrinsicId.Contains:
            {
                var text = a[0].Text(m);
                return text.Contains(a[1].Text(m), StringComparison.Ordinal) ? 1 : 0;
            }

            case IntrinsicId.Position:
            {
                var text = a[0].Text(m);
                return text.IndexOf(a[1].Text(m), StringComparison.Ordinal);
            }

            case IntrinsicId.ParseLong:
            {
                var text = a[0].Text(m);
                return TextFunctions.ParseLong(text, a[1].Long(m));
            }

            case IntrinsicId.KernelAnchor:
                return 0; // Only in programs for another kernel than the one this runs on.
            case IntrinsicId.KernelFrame:
                _ = a[0].Long(m);
                return 0; // What stap runs has no event of the kernel.
            case IntrinsicId.StackEntry:
                return StackTexts.Entry(a[0].Text(m), a[1].Long(m));
            case IntrinsicId.GroupCount:
                return m.MatchCount;
            case IntrinsicId.UserInstructionPointer:
                return 0;
            case IntrinsicId.RegisterByName or IntrinsicId.UserRegisterByName:
                throw new RuntimeError($"register '{a[0].Text(m)}' is not available: this probe has no registers", Span);
            case IntrinsicId.FunctionArgument:
                throw new RuntimeError("function arguments are not available in this kind of probe", Span);
            case IntrinsicId.InstructionPointer:
                throw new RuntimeError("the instruction pointer is not available: this probe has no registers", Span);
            case IntrinsicId.StackPointer:
                throw new RuntimeError("the handler has no kernel stack: it runs in stap", Span);
            case IntrinsicId.PerfCounter or IntrinsicId.PerfCounters:
                throw new RuntimeError("@perf counts for the thread of an event in the kernel: there is none here", Span);
            default:
                return base.Long(m);
        }
    }

    public override string Text(Machine m)
    {
        switch (id)
        {
            case IntrinsicId.Error:
                throw new RuntimeError(a[0].Text(m), Span);
            case IntrinsicId.ExecName:
                return HostFacts.ExecName;
            case IntrinsicId.ModuleName:
                return m.Services.ModuleName;
            case IntrinsicId.Argument:
            {
                var n = a[0].Long(m);
                return n >= 1 && n <= m.Services.Arguments.Count ? m.Cut(Span, m.Services.Arguments[(int)n - 1]) : "";
            }

            case IntrinsicId.TimeZoneName:
                return HostFacts.ZoneName;
            case IntrinsicId.ProbePointText:
                return m.Cut(Span, m.Probe?.PointText ?? "");
            case IntrinsicId.ProbeName:
                return m.Cut(Span, m.Probe?.Name ?? "");
            case IntrinsicId.ProbeType:
                return m.Probe?.Spec.MechanismName ?? "";
            case IntrinsicId.SyscallName:
            {
                var number = a[0].Long(m);
                return m.Services.SyscallName(number) ?? number.ToString(CultureInfo.InvariantCulture);
            }

            case IntrinsicId.KernelString or IntrinsicId.UserString:
                return ReadString(m);
            case IntrinsicId.KernelBufferQuoted or IntrinsicId.UserBufferQuoted:
                return ReadBuffer(m);
            case IntrinsicId.Substring:
            {
                var text = a[0].Text(m);
                var start = a[1].Long(m);
                return TextFunctions.Substring(text, start, a[2].Long(m));
            }

            case IntrinsicId.Replace:
            {
                var text = a[0].Text(m);
                var search = a[1].Text(m);
                return m.Cut(Span, TextFunctions.Replace(text, search, a[2].Text(m)));
            }

            case IntrinsicId.Tokenize:
                return Tokenize(m);
            case IntrinsicId.EscapeText:
            {
                var text = a[0].Text(m);
                var most = a[1].Long(m);
                return TextFunctions.Escape(text, most <= 0 ? m.MaxText : Math.Min(most, m.MaxText), a[2].Long(m) != 0);
            }

            case IntrinsicId.ToLower:
                return TextFunctions.Lower(a[0].Text(m));
            case IntrinsicId.ToUpper:
                return TextFunctions.Upper(a[0].Text(m));
            case IntrinsicId.CharString:
            {
                var c = (byte)a[0].Long(m);
                return c == 0 ? "" : ((char)c).ToString();
            }

            case IntrinsicId.TableName:
            {
                var table = a[0].Text(m);
                var value = a[1].Long(m);
                return m.Cut(Span, Table(m, table).Name(value) ?? a[2].Text(m));
            }

            case IntrinsicId.TableFlags:
            {
                var table = a[0].Text(m);
                return m.Cut(Span, Table(m, table).Flags(a[1].Long(m)));
            }

            case IntrinsicId.ProbeFunction or IntrinsicId.PointFunction:
                return m.Probe is { } p ? ProbedFunction.Name(p.Spec) ?? "" : "";
            case IntrinsicId.ProbeModule:
                return m.Probe is { } q ? ProbedFunction.Module(q.Spec) : "";
            case IntrinsicId.KernelStack or IntrinsicId.UserStack or IntrinsicId.UserStackFrom:
                return "";
            case IntrinsicId.StackHead:
            {
                var list = a[0].Text(m);
                return StackTexts.Head(list, a[1].Long(m));
            }

            case IntrinsicId.StackText:
                return m.Cut(Span, StackTexts.FromBytes(a[0].Text(m), m.Services.Symbols));
            case IntrinsicId.UnwoundStack:
            {
                var snapshot = a[0].Long(m);
                return snapshot == StackSnapshot.Lost ? throw new LostStackSignal() : m.Cut(Span, StackTexts.List(m.Services.Symbols.TakeStack(snapshot)));
            }

            case IntrinsicId.SymbolName:
                return m.Cut(Span, m.Services.Symbols.KernelName((ulong)a[0].Long(m)));
            case IntrinsicId.SymbolData:
                return m.Cut(Span, m.Services.Symbols.KernelData((ulong)a[0].Long(m)));
            case IntrinsicId.SymbolModule:
            {
                var address = (ulong)a[0].Long(m);
                return m.Services.Symbols.KernelModule(address) ?? throw new RuntimeError($"no kernel module holds address 0x{address:x}", Span);
            }

            case IntrinsicId.SymbolPlace:
            {
                var address = (ulong)a[0].Long(m);
                return m.Cut(Span, StackTexts.Place(m.Services.Symbols.KernelPlace(address), address, a[1].Long(m)));
            }

            case IntrinsicId.SymbolLines:
            {
                var list = a[0].Text(m);
                return StackTexts.KernelLines(list, a[1].Long(m), m.Services.Symbols);
            }

            case IntrinsicId.UserSymbolName:
            {
                var process = a[0].Long(m);
                return m.Cut(Span, m.Services.Symbols.UserName(process, (ulong)a[1].Long(m)));
            }

            case IntrinsicId.UserSymbolData:
            {
                var process = a[0].Long(m);
                return m.Cut(Span, m.Services.Symbols.UserData(process, (ulong)a[1].Long(m)));
            }

            case IntrinsicId.UserModule:
            {
                var process = a[0].Long(m);
                var address = (ulong)a[1].Long(m);
                return m.Services.Symbols.UserModule(process, address) is { } file ? m.Cut(Span, Path.GetFileName(file))
                    : throw new RuntimeError($"nothing known is mapped at address 0x{address:x} of process {process}", Span);
            }

            case IntrinsicId.UserSymbolLines:
            {
                var process = a[0].Long(m);
                var list = a[1].Text(m);
                return StackTexts.UserLines(process, list, a[2].Long(m), m.Services.Symbols);
            }

            case IntrinsicId.UserSymbolPlace:
            {
                var process = a[0].Long(m);
                var address = a[1].Long(m);
                return m.Cut(Span, StackTexts.Place(m.Services.Symbols.UserPlace(process, (ulong)address), (ulong)address, a[2].Long(m)));
            }

            case IntrinsicId.MatchedGroup:
                return Matched(m);
            default:
                return base.Text(m);
        }
    }

    private static void Log(Machine m, string text)
    {
        m.Scratch.Clear();
        m.Scratch.Append(text);
        m.Scratch.Append((byte)'\n');
        m.Services.Print(m.Scratch.Written);
    }

    private NameTable Table(Machine m, string name)
    {
        try
        {
            return m.Services.Tables.Get(name);
        }
        catch (IOException error)
        {
            throw new RuntimeError(error.Message, Span);
        }
    }

    private string Matched(Machine m)
    {
        var group = a[0].Long(m);
        if (group < 0 || group >= m.MatchCount)
        {
            throw new RuntimeError(m.MatchCount == 0 ? "no regular expression has matched yet" : $"no such group: {group} of {m.MatchCount}", Span);
        }

        var start = m.MatchGroups[2 * group];
        return start < 0 ? "" : m.MatchSubject[start..m.MatchGroups[(2 * group) + 1]];
    }

    private string Tokenize(Machine m)
    {
        var text = a[0].Text(m);
        var delimiters = a[1].Text(m);
        if (a[2].Long(m) == 0)
        {
            m.TokenText = text;
            m.TokenAt = 0;
        }

        // As strtok: delimiters in a row count as one, and none at the ends.
        text = m.TokenText;
        var start = m.TokenAt;
        while (start < text.Length && delimiters.Contains(text[start]))
        {
            start++;
        }

        var end = start;
        while (end < text.Length && !delimiters.Contains(text[end]))
        {
            end++;
        }

        m.TokenAt = Math.Min(text.Length, end + 1);
        return text[start..end];
    }

    private string ReadString(Machine m)
    {
        var address = (ulong)a[0].Long(m);
        var most = (int)Math.Clamp(a[1].Long(m), 0, m.MaxText);
        var user = id == IntrinsicId.UserString;
        Span<byte> part = stackalloc byte[64];
        var text = new System.Text.StringBuilder();

        // In pieces that never cross a 64-byte line, so that a string at the end of a page does not fail for what lies behind it.
        while (text.Length < most)
        {
            var at = address + (ulong)text.Length;
            var piece = part[..(int)Math.Min((ulong)(most - text.Length), 64 - (at & 63))];
            if (!(user ? m.Services.Memory.ReadUser(at, piece) : m.Services.Memory.ReadKernel(at, piece)))
            {
                throw new RuntimeError($"{(user ? "user" : "kernel")} string copy fault at 0x{address:x16}", Span);
            }

            var end = piece.IndexOf((byte)0);
            text.Append(System.Text.Encoding.Latin1.GetString(end < 0 ? piece : piece[..end]));
            if (end >= 0)
            {
                break;
            }
        }

        return text.ToString();
    }

    private string ReadBuffer(Machine m)
    {
        var address = (ulong)a[0].Long(m);
        var count = (int)Math.Clamp(a[1].Long(m), 0, 65536);
        var most = a[2].Long(m);
        var bytes = new byte[count];
        var user = id == IntrinsicId.UserBufferQuoted;
        return count > 0 && !(user ? m.Services.Memory.ReadUser(address, bytes) : m.Services.Memory.ReadKernel(address, bytes))
            ? throw new RuntimeError($"{(user ? "user" : "kernel")} buffer copy fault at 0x{address:x16}", Span)
            : TextFunctions.Escape(System.Text.Encoding.Latin1.GetString(bytes), most <= 0 ? m.MaxText : Math.Min(most, m.MaxText), quoted: true);
    }
}

/// <summary>Facts about the machine and about stap that built-ins return.</summary>
internal static class HostFacts
{
    private static long _jiffyOffset = long.MinValue;

    /// <summary>Ticks per second of the kernel (CONFIG_HZ).</summary>
    public static long Hz { get; } = ReadHz();

    public static string ExecName { get; } = ReadFirst("/proc/self/comm", "stap");

    public static string ZoneName { get; } = LocalZone.Abbreviation();

    /// <summary>The kernel's jiffies: read once from /proc/timer_list where that is allowed, else counted from boot with the kernel's start value.</summary>
    public static long Jiffies()
    {
        if (_jiffyOffset == long.MinValue)
        {
            _jiffyOffset = ReadJiffies() - (Libc.Clock(Libc.Monotonic) / (1_000_000_000 / Hz));
        }

        return _jiffyOffset + (Libc.Clock(Libc.Monotonic) / (1_000_000_000 / Hz));
    }

    /// <summary>Stands for the cycle counter, which .NET cannot read: nanoseconds.</summary>
    public static long Cycles() => Libc.Clock(Libc.Monotonic);

    // CLOCK_MONOTONIC_COARSE advances once a tick, so its resolution is the tick.
    private static long ReadHz() => Libc.CoarseResolution() is > 0 and <= 10_000_000 and var tick ? 1_000_000_000 / tick : 250;

    private static long ReadJiffies()
    {
        try
        {
            foreach (var line in File.ReadLines("/proc/timer_list"))
            {
                if (line.StartsWith("jiffies: ", StringComparison.Ordinal) && long.TryParse(line.AsSpan(9), NumberStyles.None, CultureInfo.InvariantCulture, out var value))
                {
                    return value;
                }
            }
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // Not readable here: fall through to the kernel's documented start value.
        }

        // INITIAL_JIFFIES is -300 s in 32 bits.
        return 0xffffffff - (300 * Hz) + 1 + (Libc.Clock(Libc.Monotonic) / (1_000_000_000 / Hz));
    }

    /// <summary>The n-th load average of /proc/loadavg with 11 bits behind the point, rounded up so that its decimals come out again.</summary>
    public static long LoadAverage(long n)
    {
        var words = ReadFirst("/proc/loadavg", "").Split(' ');
        return n is >= 0 and < 3 && n < words.Length && decimal.TryParse(words[n], NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var load)
            ? (long)decimal.Ceiling(load * 2048) : 0;
    }

    private static string ReadFirst(string path, string fallback)
    {
        try
        {
            return File.ReadAllText(path).Trim();
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return fallback;
        }
    }
}
