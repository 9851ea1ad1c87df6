using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Probes.User;
using SystemTap.Targets;

namespace SystemTap.Semantics.Probes.Families;

/// <summary>
/// Parameters and return value of a kernel function from its BTF prototype. What BTF lacks (locals, global variables, functions that it does not
/// describe) is asked of debug information, if that is installed. Without both there are no variables and scripts use <c>int_arg(n)</c>, <c>returnval()</c>.
/// </summary>
public sealed class KernelFunctionContext : ProbeContext
{
    private readonly BtfType? _prototype;
    private readonly bool _isReturn;
    private readonly Architecture _architecture;
    private readonly Lazy<UserContext?> _debug;
    private ContextVariable[]? _variables, _parameters;

    /// <param name="prototype">The FUNC in BTF, or null.</param>
    /// <param name="architecture">Says where arguments are.</param>
    /// <param name="entry">For a return probe: the entry point.</param>
    /// <param name="debug">The same place by debug information, made when first asked for; it gives null without debug information.</param>
    public KernelFunctionContext(BtfType? prototype, Architecture architecture, ResolvedPoint? entry, Func<UserContext?> debug)
    {
        _debug = new Lazy<UserContext?>(debug);
        _prototype = prototype;
        _architecture = architecture;
        _isReturn = entry is not null;
        EntryPoint = entry;
    }

    /// <inheritdoc/>
    public override ResolvedPoint? EntryPoint { get; }

    /// <summary>The same place by debug information; null without it.</summary>
    public UserContext? Debug => _debug.Value;

    /// <inheritdoc/>
    public override string? Explain(string name) => _prototype is not null ? null
        : Debug is { } debug ? debug.Explain(name)
        : name.StartsWith("$$", StringComparison.Ordinal) ? null
        : "the kernel's types (BTF) do not describe this function, and there is no debug information; use int_arg(1), pointer_arg(2), … and returnval()";

    /// <inheritdoc/>
    public override IReadOnlyList<ContextVariable> Locals => _prototype is null && Debug is { } debug ? debug.Locals : [];

    /// <inheritdoc/>
    public override IReadOnlyList<ContextVariable> Variables => _variables ??= List();

    /// <inheritdoc/>
    public override IReadOnlyList<ContextVariable> Parameters => _parameters ??= _prototype is null && Debug is { } debug ? [.. debug.Parameters] : _isReturn ? [] : [.. Variables];

    /// <inheritdoc/>
    public override TypedValue? Resolve(string name, SourceSpan span)
    {
        if (_prototype is not { } function)
        {
            return Debug?.Resolve(name, span);
        }

        if (_isReturn)
        {
            return name == "$return" && !function.ReturnType.IsVoid ? Value(ContextValue.FunctionReturn, 0, function.ReturnType, span) : null;
        }

        var wanted = name.AsSpan(1);
        var slot = 0;
        foreach (var parameter in function.Parameters)
        {
            var slots = Slots(parameter.Type);
            if (wanted.SequenceEqual(parameter.Name) && wanted.Length > 0)
            {
                return Value(ContextValue.FunctionArgument, slot, parameter.Type, span);
            }

            slot += slots;
        }

        return Debug?.Resolve(name, span);
    }

    /// <summary>
    /// Registers a parameter takes by the C calling convention of both architectures for integers and pointers: one, a 16-byte structure two; a larger
    /// structure is passed in memory and takes none on x86-64, on arm64 the pointer to its copy.
    /// </summary>
    private int Slots(BtfType type)
    {
        if (!type.IsStructOrUnion && type.Size <= 8)
        {
            return 1;
        }

        return type.Size <= 16 ? (int)((type.Size + 7) / 8) : _architecture.ReturnAddress is null ? 0 : 1;
    }

    private static TypedValue? Value(ContextValue what, int index, BtfType type, SourceSpan span)
    {
        // A structure by value lies in registers, not in memory: there is nothing to point to.
        if (type.IsStructOrUnion || type.IsFloat || type.Size > 8)
        {
            return null;
        }

        var isPointer = type.IsPointer || type.IsArray;
        var size = isPointer ? 8 : (int)type.Size;
        var pointee = type.IsPointer ? type.Stripped.Target : default;
        var user = type.IsPointer && Targeting.CTypes.PointsToUser(type);
        var value = new ContextExpr(what, index, span)
        {
            Size = size is 1 or 2 or 4 ? size : 8,
            IsSigned = !isPointer && type.IsSigned,
            BtfPointee = what == ContextValue.FunctionArgument && type.IsPointer && !user && pointee.IsStructOrUnion && pointee.Btf.Base is null ? pointee.Stripped.Id : 0,
        };
        return new TypedValue(value, new CType(type, user, false));
    }

    private ContextVariable[] List()
    {
        if (_prototype is not { } function)
        {
            return Debug is { } debug ? [.. debug.Variables] : [];
        }

        var list = new List<ContextVariable>();
        if (_isReturn)
        {
            if (!function.ReturnType.IsVoid)
            {
                list.Add(new ContextVariable("$return", function.ReturnType.CompactDeclaration));
            }

            return [.. list];
        }

        foreach (var parameter in function.Parameters)
        {
            if (parameter.NameUtf8.Length > 0)
            {
                list.Add(new ContextVariable("$" + parameter.Name, parameter.Type.CompactDeclaration));
            }
        }

        return [.. list];
    }
}
