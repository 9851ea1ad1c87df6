using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Tapsets;
using SystemTap.Targets;

namespace SystemTap.Bpf.Analysis;

/// <summary>Longest texts of built-ins that look names up.</summary>
internal sealed class TableBounds(BpfOptions options, Target target)
{
    private readonly Dictionary<string, NameTable> _tables = new(StringComparer.Ordinal);
    private int _syscall = -1;

    /// <summary>Most bytes of a built-in's text; −1 when not known.</summary>
    public int Bound(IntrinsicExpr i)
    {
        switch (i.Intrinsic.Id)
        {
            case IntrinsicId.SyscallName:
                if (_syscall < 0)
                {
                    _syscall = 20;
                    foreach (var name in target.Architecture.Syscalls.Names)
                    {
                        _syscall = Math.Max(_syscall, name?.Length ?? 0);
                    }
                }

                return _syscall;
            case IntrinsicId.TableName when i.Arguments[0] is StringConst table && i.Arguments[2] is StringConst fallback:
                return Math.Max(Longest(table.Value), fallback.Value.Length);
            case IntrinsicId.TableFlags when i.Arguments[0] is StringConst table:
                return Table(table.Value).LongestFlags;
            case IntrinsicId.ModuleName:
                return options.ModuleName.Length;
            case IntrinsicId.TimeZoneName:
                return options.TimeZoneName.Length;
            case IntrinsicId.Argument:
                var most = 0;
                foreach (var argument in options.Arguments)
                {
                    most = Math.Max(most, argument.Length);
                }

                return most;
            default:
                return -1;
        }
    }

    private int Longest(string table) => Table(table).LongestName;

    private NameTable Table(string name)
    {
        if (!_tables.TryGetValue(name, out var table))
        {
            table = _tables[name] = NameTable.Parse(options.ReadTable(name) ?? "", target.Architecture.Name);
        }

        return table;
    }
}
