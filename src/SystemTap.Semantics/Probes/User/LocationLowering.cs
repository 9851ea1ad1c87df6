using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Targeting;
using SystemTap.Targets;

namespace SystemTap.Semantics.Probes.User;

// DWARF location expressions as lowered expressions.
//
// A location expression is a program for a stack machine. It is run here, at compile time, with expressions as the values on the stack: "fbreg -20" becomes
// (CFA expression) - 20, and what is left at the end is the address, or the value, of the variable. So no engine needs to know DWARF. Branches would need
// real control flow; compilers do not make them for variables, and they are refused.

/// <summary>What can be known at a place of code.</summary>
internal sealed class LocationSite
{
    public required Architecture Architecture { get; init; }

    /// <summary>Where an address of the file, as linked, is loaded; null when it cannot be known at this event.</summary>
    public required Func<ulong, SourceSpan, Expr?> Loaded { get; init; }

    /// <summary>Variables are in user memory; false: in the kernel's.</summary>
    public required bool IsUser { get; init; }

    public required Func<IReadOnlyList<DwarfOp>> FrameBase { get; init; }

    public required Func<IReadOnlyList<DwarfOp>> CanonicalFrame { get; init; }

    /// <summary>Address of a thread-local variable from its offset in the file's thread-local block; null when it cannot be known.</summary>
    public required Func<long, SourceSpan, Expr?> ThreadLocal { get; init; }

    /// <summary>Why <see cref="ThreadLocal"/> gave nothing.</summary>
    public required string ThreadLocalProblem { get; init; }

    /// <summary>Where another variable is at the same place; null when that cannot be asked.</summary>
    public Func<DwarfVariable, DwarfLocation>? Locate { get; init; }

    /// <summary>The session's runtime can read the program's vector registers.</summary>
    public required bool ReadsVectors { get; init; }

    /// <summary>The event has the registers of that place.</summary>
    public required bool HasRegisters { get; init; }

    /// <summary>The place is a function's first instruction: registers still hold what the caller passed.</summary>
    public required bool IsEntry { get; init; }
}

/// <summary>Runs location expressions.</summary>
internal sealed class LocationLowering(LocationSite site, SourceSpan span)
{
    /// <summary>Why the last expression could not be used.</summary>
    public Unreadable? Problem { get; private set; }

    /// <summary>The result of an expression.</summary>
    /// <param name="Value">Address of the variable, or its value.</param>
    /// <param name="IsAddress">Which of both.</param>
    public readonly record struct Result(Expr Value, bool IsAddress)
    {
        /// <summary>An object that is in several places: <see cref="Value"/> then means nothing.</summary>
        public ObjectParts? Parts { get; init; }

        /// <summary>A pointer that the compiler did away with: what it would point to. <see cref="Value"/> then means nothing.</summary>
        public ObjectParts? Pointee { get; init; }
    }

    private const string NoPointer = "the pointer itself was optimised away, only what it points to can be read";

    /// <summary>Runs the location of a variable; null when it cannot be read, with <see cref="Problem"/>.</summary>
    public Result? Run(DwarfLocation location) => Run(location, 0);

    private Result? Run(DwarfLocation location, int depth)
    {
        switch (location.State)
        {
            case DwarfLocationState.Constant:
                return new Result(new LongConst(location.Constant, span), false);
            case DwarfLocationState.Found:
                break;
            default:
                Problem = location.State == DwarfLocationState.OptimizedOut
                    ? "the compiler kept no value of it here (optimised out)"
                    : "the debug information only declares it";
                return null;
        }

        return Pieces(location, depth);
    }

    /// <summary>Runs a plain expression, such as a frame base.</summary>
    private Expr? Plain(IReadOnlyList<DwarfOp> operations, int depth)
    {
        if (operations.Count == 0)
        {
            Problem = "the debug information does not describe the stack frame here";
            return null;
        }

        return Single(new DwarfLocation(DwarfLocationState.Found) { Operations = operations }, 0, operations.Count, depth) is { } result ? result.Value : null;
    }

    private Result? Pieces(DwarfLocation location, int depth)
    {
        var operations = location.Operations;
        var parts = new List<ObjectPart>();
        var start = 0;
        long offset = 0;
        for (var i = 0; i < operations.Count; i++)
        {
            if (operations[i].Code is not (Op.Piece or Op.BitPiece))
            {
                continue;
            }

            var isBits = operations[i].Code == Op.BitPiece;
            var width = isBits ? (long)Math.Min(operations[i].Number, 1ul << 40) : (long)Math.Min(operations[i].Number, 1ul << 37) * 8;
            var skip = isBits ? (long)Math.Min(operations[i].Number2, 1ul << 40) : 0;
            if (i == start)
            {
                parts.Add(new ObjectPart(offset, width, null, false, "the compiler kept no value of this part here (optimised out)"));
            }
            else if (Single(location, start, i, depth) is not { } piece)
            {
                parts.Add(new ObjectPart(offset, width, null, false, Problem));
            }
            else if (piece.Pointee is { } pointee)
            {
                parts.Add(new ObjectPart(offset, width, null, false, NoPointer) { Pointee = pointee });
            }
            else if (piece.Parts is { } inner)
            {
                parts.AddRange(inner.Placed(offset, width, skip));
            }
            else
            {
                // Bits that are not the lowest of their place begin before the part does.
                parts.Add(skip == 0 || piece.IsAddress
                    ? new ObjectPart(offset, width, skip == 0 ? piece.Value : Plus(piece.Value, skip / 8), piece.IsAddress, null)
                    : new ObjectPart(offset, width, Binary(BinaryOperator.ShiftRightLogical, piece.Value, Constant(skip)), false, null));
            }

            Problem = null;
            offset += width;
            start = i + 1;
        }

        return parts.Count > 0 ? new Result(Constant(0), false) { Parts = new ObjectParts(parts, 0, site.IsUser) } : Single(location, 0, operations.Count, depth);
    }

    private Result? Single(DwarfLocation location, int from, int to, int depth)
    {
        var operations = location.Operations;
        if (depth > 4)
        {
            Problem = "the debug information refers to itself";
            return null;
        }

        var stack = new Stack<Expr>();
        var isValue = false;
        for (var i = from; i < to; i++)
        {
            var op = operations[i];
            switch (op.Code)
            {
                case Op.Addr:
                    if (site.Loaded(op.Number, span) is not { } loadedAt)
                    {
                        Problem = "where its file is loaded cannot be known at this event";
                        return null;
                    }

                    stack.Push(loadedAt);
                    break;
                case >= Op.Const1u and <= Op.Consts:
                    stack.Push(Constant((long)op.Number));
                    break;
                case >= Op.Lit0 and < Op.Reg0:
                    stack.Push(Constant(op.Code - Op.Lit0));
                    break;
                case >= Op.Reg0 and < Op.Breg0 or Op.Regx:
                    var number = op.Code == Op.Regx ? (int)op.Number : op.Code - Op.Reg0;
                    if (Vector(number) is { } vector)
                    {
                        return vector;
                    }

                    if (Register(number) is not { } register)
                    {
                        return null;
                    }

                    return new Result(register, false);
                case >= Op.Breg0 and < Op.Regx or Op.Bregx:
                    var isX = op.Code == Op.Bregx;
                    if (Register(isX ? (int)op.Number : op.Code - Op.Breg0) is not { } @base)
                    {
                        return null;
                    }

                    stack.Push(Plus(@base, (long)(isX ? op.Number2 : op.Number)));
                    break;
                case Op.Fbreg:
                    if (Plain(site.FrameBase(), depth + 1) is not { } frame)
                    {
                        return null;
                    }

                    stack.Push(Plus(frame, (long)op.Number));
                    break;
                case Op.CallFrameCfa:
                    if (Plain(site.CanonicalFrame(), depth + 1) is not { } cfa)
                    {
                        return null;
                    }

                    stack.Push(cfa);
                    break;
                case Op.RegvalType:
                    if (Register((int)op.Number) is not { } typed)
                    {
                        return null;
                    }

                    stack.Push(Extend(typed, op.Number2));
                    break;
                case Op.EntryValue:
                    if (!site.IsEntry || op.Number > 127 || Register((int)op.Number) is not { } entry)
                    {
                        Problem = "only its value at the function's entry is known to the debug information (optimised out)";
                        return null;
                    }

                    stack.Push(entry);
                    break;
                case Op.TlsAddress or Op.GnuPushTls:
                    if (stack.Count == 0 || stack.Pop() is not LongConst offset || site.ThreadLocal(offset.Value, span) is not { } address)
                    {
                        Problem = site.ThreadLocalProblem;
                        return null;
                    }

                    stack.Push(address);
                    break;
                case Op.StackValue:
                    isValue = true;
                    break;
                case Op.GnuParameterRef:
                    Problem = "the compiler passes it no more, only the callers know its value (optimised out)";
                    return null;
                case Op.ImplicitValue:
                    if (location.ImplicitValue is not { } bytes)
                    {
                        Problem = "it exists as a constant only";
                        return null;
                    }

                    return Constants(bytes);
                case Op.ImplicitPointer or Op.GnuImplicitPointer:
                    return Pointer(location, op, depth + 1);
                case Op.Nop:
                    break;
                default:
                    if (!Compute(op, stack))
                    {
                        Problem ??= $"the debug information computes it in a way that is not supported (operation 0x{op.Code:x2})";
                        return null;
                    }

                    break;
            }
        }

        if (stack.Count == 0)
        {
            Problem ??= "the compiler kept no value of it here (optimised out)";
            return null;
        }

        return new Result(stack.Pop(), !isValue);
    }

    /// <summary>A pointer that exists in the source only: its value when what it points to is in memory, else the object itself.</summary>
    private Result? Pointer(DwarfLocation location, DwarfOp op, int depth)
    {
        if (depth > 4 || site.Locate is not { } locate || op.Number >= (ulong)location.Pointees.Count)
        {
            Problem = "what it points to was optimised away";
            return null;
        }

        if (Run(locate(location.Pointees[(int)op.Number]), depth) is not { } target)
        {
            Problem = Problem?.Of("of what it points to");
            return null;
        }

        var offset = (long)op.Number2;
        if (target is { IsAddress: true, Parts: null })
        {
            return new Result(Plus(target.Value, offset), false);
        }

        var parts = target.Parts ?? new ObjectParts([target.Pointee is { } pointee
            ? new ObjectPart(0, 64, null, false, NoPointer) { Pointee = pointee }
            : new ObjectPart(0, 64, target.Value, false, null)], 0, site.IsUser);
        return new Result(Constant(0), false) { Pointee = parts.At(offset) };
    }

    /// <summary>A vector register: sixteen bytes; null when the number is none, or when it cannot be read.</summary>
    private Result? Vector(int number) =>
        site is { ReadsVectors: true, HasRegisters: true } && site.Architecture.FindDwarfVector(number) is { } vector
            ? new Result(Constant(0), false) { Parts = new ObjectParts([Half(2 * vector, 0), Half((2 * vector) + 1, 64)], 0, site.IsUser) }
            : null;

    private ObjectPart Half(int half, long offset) => new(offset, 64, new ContextExpr(ContextValue.VectorRegister, half, span), false, null);

    /// <summary>An object whose bytes are written in the debug information.</summary>
    private Result Constants(byte[] bytes)
    {
        var parts = new List<ObjectPart>();
        for (var i = 0; i < bytes.Length; i += 8)
        {
            long word = 0;
            for (var b = Math.Min(bytes.Length, i + 8) - 1; b >= i; b--)
            {
                word = word << 8 | bytes[b];
            }

            parts.Add(new ObjectPart(i * 8, Math.Min(bytes.Length - i, 8) * 8, Constant(word), false, null));
        }

        return parts.Count == 1 ? new Result(parts[0].Value!, false) : new Result(Constant(0), false) { Parts = new ObjectParts(parts, 0, site.IsUser) };
    }

    /// <summary>Operations that only work on the stack.</summary>
    private bool Compute(DwarfOp op, Stack<Expr> stack)
    {
        var needed = op.Code switch
        {
            Op.Over or Op.Swap or >= Op.And and <= Op.Mul and not Op.Neg or Op.Or or Op.Plus or >= Op.Shl and <= Op.Xor or >= Op.Eq and <= Op.Ne => 2,
            Op.Rot => 3,
            Op.Pick => (int)Math.Min(op.Number, 1000) + 1,
            _ => 1,
        };
        if (stack.Count < needed)
        {
            return false;
        }

        switch (op.Code)
        {
            case Op.Deref:
                stack.Push(new DerefExpr(stack.Pop(), site.Architecture.PointerSize, false, site.IsUser, span));
                return true;
            case Op.DerefSize or Op.DerefType when op.Number is 1 or 2 or 4 or 8:
                var loaded = new DerefExpr(stack.Pop(), (int)op.Number, false, site.IsUser, span);
                stack.Push(op.Code == Op.DerefType ? Extend(loaded, op.Number2) : loaded);
                return true;
            case Op.Dup:
                stack.Push(stack.Peek());
                return true;
            case Op.Drop:
                stack.Pop();
                return true;
            case Op.Over or Op.Pick:
                stack.Push(stack.ElementAt(op.Code == Op.Over ? 1 : (int)op.Number));
                return true;
            case Op.Swap:
                var (top, under) = (stack.Pop(), stack.Pop());
                stack.Push(top);
                stack.Push(under);
                return true;
            case Op.Rot:
                var (a, b, c) = (stack.Pop(), stack.Pop(), stack.Pop());
                stack.Push(a);
                stack.Push(c);
                stack.Push(b);
                return true;
            case Op.PlusConst:
                stack.Push(Plus(stack.Pop(), (long)op.Number));
                return true;
            case Op.Neg:
                stack.Push(new UnaryExpr(UnaryOperator.Minus, stack.Pop(), span));
                return true;
            case Op.Not:
                stack.Push(new UnaryExpr(UnaryOperator.Complement, stack.Pop(), span));
                return true;
            case Op.Convert or Op.Reinterpret:
                stack.Push(op.Number == 0 ? stack.Pop() : Extend(stack.Pop(), op.Number2));
                return true;
        }

        BinaryOperator? binary = op.Code switch
        {
            Op.And => BinaryOperator.BitAnd,
            Op.Div => BinaryOperator.Divide,
            Op.Minus => BinaryOperator.Subtract,
            Op.Mod => BinaryOperator.Modulo,
            Op.Mul => BinaryOperator.Multiply,
            Op.Or => BinaryOperator.BitOr,
            Op.Plus => BinaryOperator.Add,
            Op.Shl => BinaryOperator.ShiftLeft,
            Op.Shr => BinaryOperator.ShiftRightLogical,
            Op.Shra => BinaryOperator.ShiftRight,
            Op.Xor => BinaryOperator.BitXor,
            Op.Eq => BinaryOperator.Equal,
            Op.Ge => BinaryOperator.GreaterOrEqual,
            Op.Gt => BinaryOperator.Greater,
            Op.Le => BinaryOperator.LessOrEqual,
            Op.Lt => BinaryOperator.Less,
            Op.Ne => BinaryOperator.NotEqual,
            _ => null,
        };
        if (binary is not { } chosen)
        {
            return false;
        }

        var (right, left) = (stack.Pop(), stack.Pop());
        stack.Push(Binary(chosen, left, right));
        return true;
    }

    private ContextExpr? Register(int number)
    {
        if (!site.HasRegisters)
        {
            Problem = "it is in a register, and this event does not have those of the function";
            return null;
        }

        if (site.Architecture.FindDwarfRegister(number) is { } register)
        {
            return new ContextExpr(ContextValue.Register, register.Offset, span) { Size = register.Size, IsSigned = register.Size == 8 };
        }

        Problem = !site.IsUser || site.Architecture.FindDwarfVector(number) is null ? "it is in a register that programs in the kernel cannot read"
            : site.ReadsVectors ? "the debug information computes it from a floating-point register"
            : Unreadable.InVector;
        return null;
    }

    /// <summary>Cuts a value to a base type (size, encoding) and extends it again.</summary>
    private Expr Extend(Expr value, ulong sizeAndEncoding)
    {
        var size = (int)(sizeAndEncoding & 0xff);
        return Narrow(value, size, sizeAndEncoding >> 8 is 5 or 6, span);
    }

    /// <summary>The low bytes of a value, sign- or zero-extended.</summary>
    public static Expr Narrow(Expr value, int size, bool isSigned, SourceSpan span)
    {
        if (size is not (1 or 2 or 4))
        {
            return value;
        }

        switch (value)
        {
            case LongConst c:
                var up = 64 - (8 * size);
                return new LongConst(isSigned ? c.Value << up >> up : (long)((ulong)c.Value << up >> up), span);
            case ContextExpr { Size: 8 } c:
                return new ContextExpr(c.Value, c.Index, span) { Size = size, IsSigned = isSigned };
            case var _ when !isSigned:
                return new BinaryExpr(BinaryOperator.BitAnd, value, new LongConst((1L << (8 * size)) - 1, span), span);
            default:
                var bits = new LongConst(64 - (8 * size), span);
                return new BinaryExpr(BinaryOperator.ShiftRight, new BinaryExpr(BinaryOperator.ShiftLeft, value, bits, span), bits, span);
        }
    }

    private LongConst Constant(long value) => new(value, span);

    private Expr Plus(Expr left, long right) => TargetBinder.Offset(left, right, span);

    private Expr Binary(BinaryOperator op, Expr left, Expr right) =>
        op is BinaryOperator.ShiftLeft or BinaryOperator.BitOr && right is LongConst { Value: 0 } ? left
        : op == BinaryOperator.BitAnd && right is LongConst { Value: -1 } ? left
        : op == BinaryOperator.Add && right is LongConst c ? Plus(left, c.Value)
        : new BinaryExpr(op, left, right, span);

    /// <summary>DW_OP_*.</summary>
    private static class Op
    {
        public const byte Addr = 0x03, Deref = 0x06, Const1u = 0x08, Consts = 0x11, Dup = 0x12, Drop = 0x13, Over = 0x14, Pick = 0x15, Swap = 0x16, Rot = 0x17,
            And = 0x1a, Div = 0x1b, Minus = 0x1c, Mod = 0x1d, Mul = 0x1e, Neg = 0x1f, Not = 0x20, Or = 0x21, Plus = 0x22, PlusConst = 0x23, Shl = 0x24,
            Shr = 0x25, Shra = 0x26, Xor = 0x27, Eq = 0x29, Ge = 0x2a, Gt = 0x2b, Le = 0x2c, Lt = 0x2d, Ne = 0x2e, Lit0 = 0x30, Reg0 = 0x50, Breg0 = 0x70,
            Regx = 0x90, Fbreg = 0x91, Bregx = 0x92, Piece = 0x93, DerefSize = 0x94, Nop = 0x96, TlsAddress = 0x9b, CallFrameCfa = 0x9c, BitPiece = 0x9d,
            ImplicitValue = 0x9e, StackValue = 0x9f, ImplicitPointer = 0xa0, EntryValue = 0xa3, RegvalType = 0xa5, DerefType = 0xa6, Convert = 0xa8,
            Reinterpret = 0xa9, GnuPushTls = 0xe0, GnuImplicitPointer = 0xf2, GnuParameterRef = 0xfa;
    }
}
