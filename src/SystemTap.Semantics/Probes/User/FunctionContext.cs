using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Targeting;
using SystemTap.Targets;

namespace SystemTap.Semantics.Probes.User;

/// <summary>Variables at an address of a function, by debug information: parameters and locals in scope, then global variables.</summary>
public class FunctionContext : UserContext
{
    private readonly DwarfFile _dwarf;
    private readonly DwarfFunction _function;
    private List<DwarfVariable>? _visible;
    private ContextVariable[]? _parameters, _locals;

    /// <param name="target">The machine.</param>
    /// <param name="file">The program or library.</param>
    /// <param name="dwarf">Its debug information.</param>
    /// <param name="function">The function, or inline instance.</param>
    /// <param name="address">The place in it.</param>
    public FunctionContext(Target target, UserFile file, DwarfFile dwarf, DwarfFunction function, ulong address) : base(target, file, address) =>
        (_dwarf, _function) = (dwarf, function);

    /// <inheritdoc/>
    public override DwarfUnit? Unit => _function.Unit;

    /// <inheritdoc/>
    public override IReadOnlyList<ContextVariable> Variables => [.. Parameters, .. Locals];

    /// <inheritdoc/>
    public override IReadOnlyList<ContextVariable> Parameters => _parameters ??= List(parameters: true);

    /// <inheritdoc/>
    public override IReadOnlyList<ContextVariable> Locals => _locals ??= List(parameters: false);

    private List<DwarfVariable> Visible => _visible ??= _dwarf.Variables(_function, Address);

    /// <inheritdoc/>
    public override TypedValue? Resolve(string name, SourceSpan span)
    {
        var plain = name[1..];
        foreach (var variable in Visible)
        {
            if (variable.Name == plain)
            {
                return Value(variable, name, span);
            }
        }

        if (plain is ['a', 'r', 'g', >= '1' and <= '9'] && Address == _function.Entry && !_function.IsInlined)
        {
            return new TypedValue(new ContextExpr(ContextValue.FunctionArgument, plain[3] - '1', span), null);
        }

        foreach (var variable in _dwarf.Globals(plain, _function.Unit, null))
        {
            if (Value(variable, name, span) is { } value)
            {
                return value;
            }
        }

        return null;
    }

    /// <summary>Optimisers of whole programs (-flto) make functions local and then pass their parameters as they like, though the debug information still calls them external.</summary>
    private bool KeepsConvention => !File.IsUser || File.Symbols.IsGlobalAt(_function.Entry) != false;

    /// <summary>Unoptimised code has not yet put the parameters where the debug information says they always are.</summary>
    private bool IsBeforePrologue => Address == _function.Entry && !_function.IsInlined && _dwarf.BodyStart(_function) != Address;

    /// <summary>The value of a variable at this place.</summary>
    internal TypedValue? Value(DwarfVariable variable, string name, SourceSpan span)
    {
        var place = _dwarf.Location(variable, Address);
        var location = new LocationLowering(Site(), span);
        var found = location.Run(place);
        if ((place.State == DwarfLocationState.OptimizedOut || IsBeforePrologue || found is { Parts: { } parts } && _dwarf.TypeOf(variable) is { } whole && !parts.IsWhole(whole.Size)) && variable.IsParameter && Address == _function.Entry && KeepsConvention
            && CallingConvention.Passed(Architecture, _dwarf, _function, variable, File.IsUser, ReadsVectors, span, out var unreadable) is var passed && (passed is not null || unreadable is not null))
        {
            Problem(name, unreadable);
            return passed;
        }

        if (found is not { } result)
        {
            Problem(name, location.Problem);
            return null;
        }

        if (_dwarf.TypeOf(variable) is not { } type)
        {
            Problem(name, "the debug information gives it no type");
            return null;
        }

        var value = Typed(result, type, File.IsUser, span, out var problem);
        Problem(name, problem);
        return value;
    }

    internal LocationSite Site() => new()
    {
        Architecture = Architecture,
        Loaded = Loaded,
        IsUser = File.IsUser,
        FrameBase = () => _dwarf.FrameBase(_function, Address),
        CanonicalFrame = () => _dwarf.CanonicalFrame(Address),
        ThreadLocal = (offset, span) => ThreadLocal(Target, File, Loaded, offset, span),
        ThreadLocalProblem = ThreadLocalProblem(File),
        Locate = other => _dwarf.Location(other, Address),
        ReadsVectors = ReadsVectors,
        HasRegisters = true,
        IsEntry = Address == _function.Entry,
    };

    private ContextVariable[] List(bool parameters)
    {
        var result = new List<ContextVariable>();
        foreach (var variable in Visible)
        {
            if (variable.IsParameter == parameters)
            {
                result.Add(new ContextVariable("$" + variable.Name, _dwarf.TypeText(variable)));
            }
        }

        return [.. result];
    }
}

/// <summary><c>.return</c> of a function with debug information: <c>$return</c> by its type; everything else is the entry's.</summary>
public sealed class ReturnContext(Target target, UserFile file, DwarfFile dwarf, DwarfFunction function, ResolvedPoint entry) : UserContext(target, file, function.Entry)
{
    private ContextVariable[]? _variables;

    /// <inheritdoc/>
    protected override bool IsAtAddress => false;

    /// <inheritdoc/>
    public override DwarfUnit? Unit => function.Unit;

    /// <inheritdoc/>
    public override ResolvedPoint? EntryPoint => entry;

    /// <inheritdoc/>
    public override IReadOnlyList<ContextVariable> Variables => _variables ??=
        dwarf.ReturnText(function) is { } text ? [new ContextVariable("$return", text), .. entry.Context.Parameters] : [.. entry.Context.Parameters];

    /// <inheritdoc/>
    public override IReadOnlyList<ContextVariable> Parameters => entry.Context.Parameters;

    /// <inheritdoc/>
    public override string? Explain(string name) => base.Explain(name) ?? entry.Context.Explain(name);

    /// <inheritdoc/>
    public override bool NeedsModule(string name) => base.NeedsModule(name) || (base.Explain(name) is null && entry.Context.NeedsModule(name));

    /// <inheritdoc/>
    public override TypedValue? Resolve(string name, SourceSpan span)
    {
        if (name != "$return")
        {
            return null;
        }

        if (dwarf.ReturnType(function) is not { } type)
        {
            Problem(name, function.Unit.Language == DwarfLanguage.Go ? "the function returns nothing, or where is known to its compiler only (before Go 1.17)" : "the function returns nothing");
            return null;
        }

        var stripped = type.Stripped;
        var value = new ContextExpr(ContextValue.FunctionReturn, 0, span);
        if (stripped.IsFloat)
        {
            if (stripped.Size > 8 || !File.IsUser)
            {
                Problem(name, $"a result of type '{type.Declaration}' does not fit a script's number");
                return null;
            }

            if (!ReadsVectors)
            {
                Problem(name, Unreadable.InVector);
                return null;
            }

            value = new ContextExpr(ContextValue.VectorRegister, 0, span);
        }

        if (stripped.IsStructOrUnion)
        {
            if (function.Unit.Language is DwarfLanguage.Rust or DwarfLanguage.Go)
            {
                Problem(name, $"where a result of type '{type.Declaration}' is left is known to its compiler only");
                return null;
            }

            // Larger structures are written to the caller's memory, and their address is the result.
            var parts = dwarf.ReturnsByReference(function) ? null : CallingConvention.Returned(Architecture, stripped, File.IsUser, ReadsVectors, span);
            return new TypedValue(value, new CType(type, File.IsUser, true)) { Parts = parts };
        }

        var result = Typed(new LocationLowering.Result(value, false) { Parts = CallingConvention.InTwoRegisters(Architecture, stripped, File.IsUser, span) }, type, File.IsUser, span, out var problem);
        Problem(name, problem);
        return result;
    }
}

/// <summary>
/// A function known by its symbol only: <c>$arg1…$arg6</c> (and further ones on the stack) as numbers at entry, <c>$return</c> at return.
/// </summary>
public sealed class SymbolContext(Target target, UserFile file, ulong address, ResolvedPoint? entry) : UserContext(target, file, address)
{
    /// <inheritdoc/>
    protected override bool IsAtAddress => entry is null;

    /// <inheritdoc/>
    public override ResolvedPoint? EntryPoint => entry;

    /// <inheritdoc/>
    public override IReadOnlyList<ContextVariable> Variables => [];

    /// <inheritdoc/>
    public override string? Explain(string name) => DebugInfo.Missing(File);

    /// <inheritdoc/>
    public override TypedValue? Resolve(string name, SourceSpan span)
    {
        if (entry is not null)
        {
            return name == "$return" ? new TypedValue(new ContextExpr(ContextValue.FunctionReturn, 0, span), null) : null;
        }

        return name.StartsWith("$arg", StringComparison.Ordinal) && int.TryParse(name.AsSpan(4), out var number) && number is >= 1 and <= 32 && name[4] != '0'
            ? new TypedValue(new ContextExpr(ContextValue.FunctionArgument, number - 1, span), null)
            : null;
    }
}

/// <summary>Sentences about missing debug information.</summary>
internal static class DebugInfo
{
    public static string Missing(UserFile file) => ElfDamage.Of(file.Elf) is { } damage
        ? $"\"{file.Path}\" {damage}"
        : DwarfFile.IsLibraryPresent && DwarfFile.Unreadable(file.Elf) is { } why
        ? $"the debug information of \"{file.Path}\" {why}"
        : DwarfFile.IsLibraryPresent
        ? $"\"{file.Path}\" has no debug information" + (file.Elf.BuildId is { } id ? $" (install its -dbgsym package, {Debuginfod.Advice}; build id {id[..8]}…)" : "; compile it with -g")
        : "elfutils' libdw is not installed (package libdw1)";
}
