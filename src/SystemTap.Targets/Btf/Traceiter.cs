namespace SystemTap.Targets;

// The kernel builds one function __traceiter_NAME per tracepoint, whose parameters are a void *__data and then those of
// TP_PROTO, with names (5.10). Where pahole left that function out (it may be an alias of another), the typedef
// btf_trace_NAME is a pointer to the same prototype, without names; parameters are then called arg1, arg2, ...

/// <summary>Tracepoints as BTF shows them.</summary>
public static class Traceiter
{
    private static ReadOnlySpan<byte> FunctionPrefix => "__traceiter_"u8;
    private static ReadOnlySpan<byte> TypedefPrefix => "btf_trace_"u8;

    /// <summary>The function or typedef from which the tracepoint's parameters come; null when BTF has no such tracepoint.</summary>
    public static BtfType? Find(Btf btf, string tracepoint) =>
        btf.Find(BtfKind.Function, "__traceiter_" + tracepoint) ?? btf.Find(BtfKind.Typedef, "btf_trace_" + tracepoint);

    /// <summary>
    /// The id that a BPF program of attach type TRACE_RAW_TP ("tp_btf") names: that of the typedef. 0 when absent.
    /// </summary>
    public static int AttachId(Btf btf, string tracepoint) => btf.Find(BtfKind.Typedef, "btf_trace_" + tracepoint)?.Id ?? 0;

    /// <summary>Parameters without the leading <c>__data</c>.</summary>
    public static TracepointParameter[] Parameters(BtfType traceiter)
    {
        var all = traceiter.Parameters;
        var result = new TracepointParameter[Math.Max(0, all.Count - 1)];
        for (var i = 0; i < result.Length; i++)
        {
            var parameter = all[i + 1];
            result[i] = new TracepointParameter(parameter.NameOffset == 0 ? $"arg{i + 1}" : parameter.Name, parameter.Type);
        }
        return result;
    }

    /// <summary>
    /// Names of all tracepoints this file describes itself (for split BTF: the module's own), sorted. Scans all types:
    /// 1 to 2 ms for a vmlinux.
    /// </summary>
    public static List<string> Names(Btf btf)
    {
        var names = new HashSet<string>(2048);
        foreach (var id in btf.IdsOf(BtfKind.Function, BtfKind.Typedef))
        {
            var type = new BtfType(btf, id);
            var prefix = type.Kind == BtfKind.Function ? FunctionPrefix : TypedefPrefix;
            var name = type.NameUtf8;
            if (name.StartsWith(prefix) && name.Length > prefix.Length)
                names.Add(System.Text.Encoding.UTF8.GetString(name[prefix.Length..]));
        }
        var sorted = new List<string>(names);
        sorted.Sort(StringComparer.Ordinal);
        return sorted;
    }
}

/// <summary>One of the values a tracepoint passes to its probes.</summary>
public readonly record struct TracepointParameter(string Name, BtfType Type);
