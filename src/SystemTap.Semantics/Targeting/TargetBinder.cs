using SystemTap.Language.Diagnostics;
using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Probes;
using SystemTap.Semantics.Probes.Families;
using SystemTap.Semantics.Probes.User;
using SystemTap.Targets;

namespace SystemTap.Semantics.Targeting;

// Typed access to memory, by BTF. Everything becomes address arithmetic and DerefExprs:
//
//   $next->mm->pgd   Deref(Deref($next + offsetof(task_struct, mm)) + offsetof(mm_struct, pgd))
//
// Two forms of value occur. A loaded value (number, pointer): the expression is the value. An object in memory (struct, union, array): the expression
// is its address. Scalars are loaded the moment they are reached, because nothing else can be done with them; "&" takes the load off again.
//
// A pointer to a type for which BTF has no pointer record (@cast, &) is a CType with PointerDepth 1.
//
// Where a pointer points (kernel or user memory) is inherited from where it was read, unless its type says __user: a pointer found in a user
// structure is a user pointer, one found in a kernel structure a kernel pointer.

/// <summary>The <see cref="ITargetBinder"/> of BTF types.</summary>
public sealed class TargetBinder : ITargetBinder
{
    private readonly DiagnosticBag _diagnostics;
    private readonly TypeFinder _types;
    private readonly Synthetics _synthetics;
    private readonly PrettyPrinter _pretty;
    private readonly Target _target;
    private readonly UserContext? _user;

    /// <param name="target">The machine.</param>
    /// <param name="diagnostics">Where complaints go.</param>
    /// <param name="maxStringLength">MAXSTRINGLEN: pretty printing stops where the text would be cut anyway.</param>
    public TargetBinder(Target target, DiagnosticBag diagnostics, int maxStringLength = 512)
    {
        _diagnostics = diagnostics;
        _target = target;
        _types = new TypeFinder(target);
        _synthetics = new Synthetics();
        _pretty = new PrettyPrinter(_synthetics, maxStringLength);
    }

    private readonly KernelFunctionContext? _kernel;

    private TargetBinder(TargetBinder other, UserContext? user, KernelFunctionContext? kernel) =>
        (_diagnostics, _target, _types, _synthetics, _pretty, _user, _kernel) = (other._diagnostics, other._target, other._types, other._synthetics, other._pretty, user, kernel);

    /// <inheritdoc/>
    public ITargetBinder For(ProbeContext context) => context switch
    {
        UserContext user => new TargetBinder(this, user, null),
        KernelFunctionContext kernel => new TargetBinder(this, null, kernel),
        _ => this,
    };

    /// <inheritdoc/>
    public IReadOnlyList<Function> SyntheticFunctions => _synthetics.Functions;

    /// <inheritdoc/>
    public TypedValue? Member(TypedValue value, string name, SourceSpan span, bool quiet)
    {
        try
        {
            return MemberCore(value, name, span, quiet);
        }
        catch (TargetException e)
        {
            return Fail(quiet, "target.btf", span, e.Message);
        }
    }

    private TypedValue? MemberCore(TypedValue value, string name, SourceSpan span, bool quiet)
    {
        if (value is { Parts: { } parts, CType: { } own })
        {
            return MemberOfParts(parts, own, name, span, quiet);
        }

        if (value is { Pointee: { } pointee, CType: { } pointer } && CTypes.Element(pointer) is { PointerDepth: 0 } target)
        {
            return ObjectOfParts(pointee, target, name, span, quiet) is { } inner ? MemberCore(inner, name, span, quiet) : null;
        }

        if (Struct(value, name, span, quiet) is not var (address, type, user))
        {
            return null;
        }

        if (type.FindMember(name) is not { } member)
        {
            return Fail(quiet, "target.no-member", span, $"unable to find member '{name}' of '{type.Declaration}'", Names.Hint(Names.Similar(name, MemberNames(type))));
        }

        var text = type.Name.Length == 0 ? name : type.Name + "." + name;
        if (!member.IsBitField)
        {
            return Object(Offset(address, member.ByteOffset, span), new CType(member.Type, user, false), text, span, quiet);
        }

        if (member.BitFieldLoad is not var (offset, size, left, _))
        {
            return Fail(quiet, "target.bit-field", span, $"bit-field '{text}' spans more than 8 bytes and cannot be read");
        }

        var load = new DerefExpr(Offset(address, offset, span), size, member.Type.IsSigned, user, span)
        {
            BitShift = 64 - member.BitFieldSize - left,
            BitWidth = member.BitFieldSize,
            MemberName = text,
        };
        return new TypedValue(load, new CType(member.Type, user, false));
    }

    /// <summary>A member of an object in registers.</summary>
    private TypedValue? MemberOfParts(ObjectParts parts, CType own, string name, SourceSpan span, bool quiet)
    {
        var type = CTypes.Complete(own.Type).Stripped;
        if (!type.IsStructOrUnion)
        {
            return Fail(quiet, "target.not-a-struct", span, $"member '{name}' cannot be taken of '{CTypes.Text(own)}', which is neither a struct, a union nor a pointer to one");
        }

        if (type.FindMember(name) is not { } member)
        {
            return Fail(quiet, "target.no-member", span, $"unable to find member '{name}' of '{type.Declaration}'", Names.Hint(Names.Similar(name, MemberNames(type))));
        }

        if (!member.IsBitField)
        {
            return ObjectOfParts(parts.At(member.ByteOffset), new CType(member.Type, own.IsUser, false), name, span, quiet);
        }

        return parts.Read(member.BitOffset, member.BitFieldSize, member.Type.IsSigned, span, out var problem) is { } value
            ? new TypedValue(value, new CType(member.Type, own.IsUser, false))
            : PartFails(quiet, problem!, $"member '{name}'", span);
    }

    private TypedValue? PartFails(bool quiet, Unreadable why, string what, SourceSpan span) =>
        Fail(quiet, why.NeedsModule ? "target.cannot-part" : "target.part", span, $"{what} cannot be read: {why}");

    private TypedValue? ObjectOfParts(ObjectParts parts, CType type, string name, SourceSpan span, bool quiet)
    {
        var stripped = type.Type.Stripped;
        switch (stripped.Kind)
        {
            case BtfKind.Struct or BtfKind.Union or BtfKind.Array or BtfKind.Forward:
                return new TypedValue(new LongConst(0, span), type with { IsInMemory = true }) { Parts = parts };
            case BtfKind.Pointer when parts.Pointee() is { } pointee:
                return new TypedValue(new LongConst(0, span), type) { Pointee = pointee };
            case BtfKind.Pointer or BtfKind.Int or BtfKind.Enum or BtfKind.Enum64 or BtfKind.Float when stripped.Size is > 0 and <= 8:
                return parts.Read(0, (int)stripped.Size * 8, stripped.IsSigned, span, out var problem) is { } value
                    ? new TypedValue(value, type)
                    : PartFails(quiet, problem!, $"'{name}'", span);
            default:
                return Fail(quiet, "target.not-a-value", span, $"'{type.Type.Declaration}' has no value that can be read");
        }
    }

    /// <summary>Follows pointers (as many as there are, as SystemTap's <c>-&gt;</c> does) to a struct or union.</summary>
    private (Expr Address, BtfType Type, bool User)? Struct(TypedValue value, string name, SourceSpan span, bool quiet)
    {
        if (value.CType is not { } type)
        {
            Fail(quiet, "target.untyped", span, $"member '{name}' cannot be taken of a value whose C type is not known", "say what it points to: @cast(value, \"struct name\")->" + name);
            return null;
        }

        var address = value.Value;
        for (var i = 0; i < 16; i++)
        {
            if (type is { PointerDepth: 0, IsInMemory: true })
            {
                break;
            }

            if (!IsPointer(type) || CTypes.Element(type) is not { } element)
            {
                Fail(quiet, "target.not-a-struct", span, $"member '{name}' cannot be taken of '{CTypes.Text(type)}', which is neither a struct, a union nor a pointer to one");
                return null;
            }

            if (element.PointerDepth == 0 && element.Type.IsVoid)
            {
                Fail(quiet, "target.void-pointer", span, $"member '{name}' cannot be taken of '{CTypes.Text(type)}'", "say what it points to: @cast(value, \"struct name\")->" + name);
                return null;
            }

            if (element.PointerDepth == 0 && (element.Type.IsStructOrUnion || element.Type.Stripped.Kind == BtfKind.Forward))
            {
                type = element with { IsInMemory = true };
            }
            else if (Object(address, element, null, span, quiet) is { CType: { } inner } loaded)
            {
                address = loaded.Value;
                type = inner;
            }
            else
            {
                return null;
            }
        }

        var complete = CTypes.Complete(type.Type).Stripped;
        if (complete.IsStructOrUnion)
        {
            return (address, complete, type.IsUser);
        }

        Fail(quiet, complete.Kind == BtfKind.Forward ? "target.incomplete" : "target.not-a-struct", span, complete.Kind == BtfKind.Forward
            ? $"'{complete.Declaration}' is only declared in the BTF of '{complete.Btf.Name}': its members are not known"
            : $"member '{name}' cannot be taken of '{CTypes.Text(type)}', which is neither a struct, a union nor a pointer to one");
        return null;
    }

    /// <inheritdoc/>
    public TypedValue? Index(TypedValue value, Expr index, SourceSpan span, bool quiet)
    {
        try
        {
            if (value.CType is not { } type)
            {
                return Fail(quiet, "target.untyped", span, "a value whose C type is not known cannot be indexed", "say what it points to: @cast(value, \"type\")[index]");
            }

            if (CTypes.Element(type) is not { } element)
            {
                return Fail(quiet, "target.not-an-array", span, $"'{CTypes.Text(type)}' is neither an array nor a pointer and cannot be indexed");
            }

            var size = CTypes.Size(element);
            if (size == 0 && !(element.Type.IsStructOrUnion && element.Type.Stripped.Kind != BtfKind.Forward))
            {
                return Fail(quiet, "target.void-pointer", span, $"'{CTypes.Text(type)}' cannot be indexed: the size of its elements is not known", "say what it points to: @cast(value, \"type\")[index]");
            }

            if ((value.Parts ?? value.Pointee) is { } parts)
            {
                return index is LongConst { Value: >= 0 and < 1 << 20 } at
                    ? ObjectOfParts(parts.At(at.Value * size), element, $"[{at.Value}]", span, quiet)
                    : Fail(quiet, "target.part", span, "an array that is kept in registers can only be indexed by a constant");
            }

            var address = index is LongConst constant
                ? Offset(value.Value, unchecked(constant.Value * size), span)
                : new BinaryExpr(BinaryOperator.Add, value.Value, size == 1 ? index : new BinaryExpr(BinaryOperator.Multiply, index, new LongConst(size, span), span), span);
            return Object(address, element, null, span, quiet);
        }
        catch (TargetException e)
        {
            return Fail(quiet, "target.btf", span, e.Message);
        }
    }

    /// <inheritdoc/>
    public TypedValue? AddressOf(TypedValue value, SourceSpan span, bool quiet)
    {
        if (value.HasValue && value.CType is { } type)
        {
            if (type.IsInMemory)
            {
                return new TypedValue(value.Value, type with { IsInMemory = false, PointerDepth = 1 });
            }

            if (value.Value is DerefExpr { BitWidth: 0 } load)
            {
                return new TypedValue(load.Address, type with { IsUser = load.IsUser, PointerDepth = type.PointerDepth + 1 });
            }

            if (value.Value is DerefExpr)
            {
                return Fail(quiet, "target.no-address", span, "a bit-field has no address");
            }
        }

        return Fail(quiet, "target.no-address", span, "the value is not in memory and has no address");
    }

    /// <inheritdoc/>
    public TypedValue Load(TypedValue value, SourceSpan span) =>
        // Scalars are loaded when they are reached, objects stand for their address.
        CTypes.IsFloat32(value.CType) ? new TypedValue(new CallExpr(RealNumbers.Widened(_synthetics), [value.Value], span), value.CType! with { IsWidened = true }) : value;

    /// <inheritdoc/>
    public Expr? Pretty(TypedValue value, int depth, SourceSpan span, bool quiet)
    {
        try
        {
            return _pretty.Text(value, depth, span);
        }
        catch (TargetException e)
        {
            Fail(quiet, "target.btf", span, e.Message);
            return null;
        }
    }

    /// <inheritdoc/>
    public TypedValue? Cast(Expr value, string type, string? module, SourceSpan span, bool quiet)
    {
        try
        {
            return _types.Find(type, module, _user?.File, out var problem) is var (found, user, pointers) && problem is null
                ? new TypedValue(value, new CType(found, user, false) { PointerDepth = pointers + 1 })
                : Fail(quiet, problem!.Value.Code, span, problem.Value.Message, problem.Value.Hint);
        }
        catch (TargetException e)
        {
            return Fail(quiet, "target.btf", span, e.Message);
        }
    }

    /// <inheritdoc/>
    public TypedValue? Variable(string name, string? module, SourceSpan span, bool quiet)
    {
        try
        {
            return UserVariables.Find(_target, name, module, _user ?? (module is null ? _kernel?.Debug : null), span, out var message, out var hint)
                ?? Fail(quiet, "target.no-variable", span, message!, hint);
        }
        catch (TargetException e)
        {
            return Fail(quiet, "target.btf", span, e.Message);
        }
    }

    /// <inheritdoc/>
    public Expr? EnumValue(string name, SourceSpan span, bool quiet)
    {
        try
        {
            if (_user?.File.Dwarf?.Enumerator(name) is { } own)
            {
                return new LongConst(own, span);
            }

            if (_types.Enumerator(name) is { } found)
            {
                return new LongConst(found.Value, span);
            }

            Fail(quiet, "target.no-enumerator", span, $"enumerator '{name}' does not exist in the {(_user?.File.IsUser == true ? "program's or the " : "")}kernel's types", _types.SimilarEnumerators(name, _user?.File));
        }
        catch (TargetException e)
        {
            Fail(quiet, "target.btf", span, e.Message);
        }

        return null;
    }

    /// <inheritdoc/>
    public Expr? EnumName(TypedValue value, string? type, string? module, SourceSpan span, bool quiet)
    {
        try
        {
            BtfType found;
            if (type is null)
            {
                if (value.CType is not { PointerDepth: 0, IsInMemory: false } its || !its.Type.IsEnum)
                {
                    Fail(quiet, "target.not-an-enum", span, "@enumname needs a value of an enum type", "name the enum: @enumname(value, \"enum name\")");
                    return null;
                }

                found = its.Type;
            }
            else if (_types.Find(type, module, _user?.File, out var problem) is var (named, _, _) && problem is null)
            {
                found = named;
            }
            else
            {
                Fail(quiet, problem!.Value.Code, span, problem.Value.Message, problem.Value.Hint);
                return null;
            }

            if (found.IsEnum)
            {
                return new CallExpr(_synthetics.EnumName(found), [value.Value], span);
            }

            Fail(quiet, "target.not-an-enum", span, $"'{found.Declaration}' is not an enum");
        }
        catch (TargetException e)
        {
            Fail(quiet, "target.btf", span, e.Message);
        }

        return null;
    }

    /// <inheritdoc/>
    public Expr Variables(ProbeContext context, VariableSet set, int depth, SourceSpan span)
    {
        var segments = new List<FormatSegment>();
        var arguments = new List<Expr>();
        var text = "";
        foreach (var variable in set switch
        {
            VariableSet.Vars => context.Variables,
            VariableSet.Parms => context.Parameters,
            VariableSet.Locals => context.Locals,
            VariableSet.Return => [new ContextVariable("$return", "")],
            _ => [],
        })
        {
            var value = context.Resolve(variable.Name, span);
            if (value is null && set == VariableSet.Return && !context.Variables.Any(static v => v.Name == "$return"))
            {
                break; // nothing is returned
            }

            text += (text.Length == 0 && segments.Count == 0 ? "" : " ") + ByteText.FromText(variable.Name[1..]) + "=";
            if (value is null || depth == 0 && (value.Pointee is not null || value.CType is { IsInMemory: true }))
            {
                text += value is null || value.Pointee is not null ? "?" : value.CType!.Type.IsArray ? "[...]" : "{...}";
                continue;
            }

            var shown = depth > 0 && Pretty(value, depth, span, quiet: false) is { } pretty ? pretty : Load(value, span).Value;

            segments.Add(new FormatSegment(FormatConversion.Literal, text));
            segments.Add(new FormatSegment(shown.Type == ScriptType.String ? FormatConversion.String : FormatConversion.Pointer, ""));
            arguments.Add(shown);
            text = "";
        }

        if (segments.Count == 0)
        {
            return new StringConst(text, span);
        }

        if (text.Length > 0)
        {
            segments.Add(new FormatSegment(FormatConversion.Literal, text));
        }

        return new FormatExpr(segments, arguments, span);
    }

    /// <inheritdoc/>
    public Expr? Store(TypedValue value, Expr newValue, SourceSpan span, bool quiet)
    {
        if (CTypes.IsFloat32(value.CType))
        {
            newValue = new CallExpr(RealNumbers.Narrowed(_synthetics), [newValue], span);
        }

        if (value.Value is ContextExpr held && Held(held) is { } register)
        {
            return new IntrinsicExpr(IntrinsicTable.Get(IntrinsicId.WriteRegister), [new LongConst(register.Offset, span), new LongConst(held.Size, span), newValue], span);
        }

        if (value.Value is not DerefExpr load)
        {
            Fail(quiet, "target.store", span, value is { Parts: null, CType.IsInMemory: true }
                ? "a structure or array cannot be written as a whole"
                : "the value is not in one place that can be written: the compiler keeps it in parts, computes it, or left a constant");
            return null;
        }

        Expr Write(Expr stored) => new IntrinsicExpr(IntrinsicTable.Get(load.IsUser ? IntrinsicId.WriteUser : IntrinsicId.WriteKernel), [load.Address, new LongConst(load.Size, span), stored], span);
        if (load.BitWidth > 0)
        {
            // The other bits of the word stay.
            var mask = (load.BitWidth == 64 ? -1L : (1L << load.BitWidth) - 1) << load.BitShift;
            var word = new DerefExpr(load.Address, load.Size, false, load.IsUser, span) { MemberName = load.MemberName };
            var written = Write(new BinaryExpr(BinaryOperator.BitOr, new BinaryExpr(BinaryOperator.BitAnd, word, new LongConst(~mask, span), span),
                new BinaryExpr(BinaryOperator.BitAnd, new BinaryExpr(BinaryOperator.ShiftLeft, newValue, new LongConst(load.BitShift, span), span), new LongConst(mask, span), span), span));
            return new BinaryExpr(BinaryOperator.ShiftRightLogical, new BinaryExpr(BinaryOperator.BitAnd, written, new LongConst(mask, span), span), new LongConst(load.BitShift, span), span);
        }

        return Write(newValue);
    }

    /// <summary>The register that holds a value of the event; null when none does.</summary>
    private Register? Held(ContextExpr value)
    {
        var architecture = _target.Architecture;
        switch (value.Value)
        {
            case ContextValue.FunctionArgument when value.Index < architecture.CallArguments.Length:
                return architecture.CallArguments[value.Index];
            case ContextValue.FunctionReturn or ContextValue.SyscallReturn:
                return architecture.ReturnValue;
            case ContextValue.Register:
                foreach (var register in architecture.Registers)
                {
                    if (register.Offset == value.Index)
                    {
                        return register;
                    }
                }

                return null;
            default:
                return null;
        }
    }

    // ---------------------------------------------------------------------------------------------------------- parts

    /// <summary>The object of a type at an address: loaded when it is a scalar.</summary>
    private TypedValue? Object(Expr address, CType type, string? member, SourceSpan span, bool quiet)
    {
        if (type.PointerDepth > 0)
        {
            return new TypedValue(new DerefExpr(address, type.Type.Btf.PointerSize, false, type.IsUser, span) { MemberName = member }, type);
        }

        var stripped = type.Type.Stripped;
        switch (stripped.Kind)
        {
            case BtfKind.Struct or BtfKind.Union or BtfKind.Array or BtfKind.Forward:
                return new TypedValue(address, type with { IsInMemory = true });
            case BtfKind.Pointer:
                return new TypedValue(new DerefExpr(address, type.Type.Btf.PointerSize, false, type.IsUser, span) { MemberName = member }, type with { IsUser = type.IsUser || CTypes.PointsToUser(type.Type) });
            case BtfKind.Int or BtfKind.Enum or BtfKind.Enum64 or BtfKind.Float when stripped.Size is 1 or 2 or 4 or 8:
                return new TypedValue(new DerefExpr(address, (int)stripped.Size, stripped.IsSigned, type.IsUser, span) { MemberName = member }, type);
            default:
                return Fail(quiet, "target.not-a-value", span, $"'{type.Type.Declaration}' has no value that can be read");
        }
    }

    private static bool IsPointer(CType type) => CTypes.IsPointer(type);

    /// <summary>Address plus a constant, with constants already added folded into it.</summary>
    internal static Expr Offset(Expr address, long offset, SourceSpan span) => (address, offset) switch
    {
        (_, 0) => address,
        (LongConst c, _) => new LongConst(unchecked(c.Value + offset), span),
        (BinaryExpr { Operator: BinaryOperator.Add, Right: LongConst right } sum, _) => new BinaryExpr(BinaryOperator.Add, sum.Left, new LongConst(unchecked(right.Value + offset), span), span),
        _ => new BinaryExpr(BinaryOperator.Add, address, new LongConst(offset, span), span),
    };

    /// <summary>All names that can follow <c>-&gt;</c>.</summary>
    private static List<string> MemberNames(BtfType type)
    {
        var names = new List<string>();
        Collect(type, 0);
        return names;

        void Collect(BtfType owner, int depth)
        {
            foreach (var member in owner.Members)
            {
                if (member.NameOffset != 0)
                {
                    names.Add(member.Name);
                }
                else if (depth < 16)
                {
                    Collect(member.Type, depth + 1);
                }
            }
        }
    }

    private TypedValue? Fail(bool quiet, string code, SourceSpan span, string message, string? hint = null)
    {
        if (!quiet)
        {
            _diagnostics.Error(code, span, message, hint);
        }

        return null;
    }
}
