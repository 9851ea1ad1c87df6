using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Targeting;
using SystemTap.Semantics.Probes.User;
using SystemTap.Targets;

namespace SystemTap.Semantics.Probes.Families;

/// <summary>Statically defined marks: <c>process….mark("M")</c> and <c>process….provider("P").mark("M")</c>, with <c>$arg1…</c>, <c>$$name</c>, <c>$$provider</c>.</summary>
public sealed class UserMarkFamily : ProbeFamily
{
    private static readonly string[] Ends = ["mark(S)", "provider(S).mark(S)"];

    /// <inheritdoc/>
    public override IReadOnlyList<IReadOnlyList<ComponentPattern>> Forms { get; } = UserRoots.Forms(Ends);

    /// <inheritdoc/>
    public override Privilege Privilege => Privilege.User;

    /// <inheritdoc/>
    public override string ArgumentNoun => "mark";

    /// <inheritdoc/>
    public override void Resolve(ProbeMatch match, ResolveScope scope, List<ResolvedPoint> results)
    {
        var withProvider = match.FormIndex % Ends.Length == 1;
        var roots = UserRoots.Find(match, Ends.Length, scope);
        var before = results.Count;
        foreach (var root in roots)
        {
            var at = withProvider ? root.End + 1 : root.End;
            var pattern = ((StringLiteral)root.Point.Components[at].Argument!).Value;
            var provider = withProvider ? ((StringLiteral)root.Point.Components[root.End].Argument!).Value : "*";
            foreach (var mark in root.File.Marks)
            {
                // "__" in a name is what DTrace writes as "-".
                if (!Globs.Matches(provider, mark.Provider) || !Globs.Matches(pattern, mark.Name) && !Globs.Matches(pattern, mark.Name.Replace("__", "-")))
                {
                    continue;
                }

                if (root.File.Elf.FileOffset(mark.Address) is not { } offset)
                {
                    continue;
                }

                var components = new List<ProbeComponent>(root.Point.Components);
                components.RemoveRange(root.End, components.Count - root.End);
                var span = root.Point.Components[at].Span;
                components.Add(new ProbeComponent(span, "provider", new StringLiteral(span, mark.Provider)));
                components.Add(new ProbeComponent(span, "mark", new StringLiteral(span, mark.Name)));
                var text = new ProbePoint(root.Point.Span, components, root.Point.IsOptional, root.Point.IsSufficient, root.Point.Condition).ToString();
                var semaphore = mark.Semaphore == 0 ? 0 : SemaphoreOffset(root.File.Elf, mark.Semaphore);
                results.Add(new ResolvedPoint(new UserFunctionSpec(root.File.Path, offset, false, root.Filter) { Symbol = mark.Name, SemaphoreOffset = semaphore }, text,
                    new MarkContext(scope.Target, root.File, mark)) { ListText = withProvider ? text : Literal.WithText(root.Point, at, mark.Name).ToString() });
            }
        }

        if (results.Count > before || scope.Diagnostics.HasErrors || roots.Count != 1)
        {
            return;
        }

        var file = roots[0].File;
        var last = match.Point.Components.Count - 1;
        var names = file.Marks.Select(m => m.Name).Distinct().ToList();
        if (match.FormIndex % Ends.Length == 1 && file.Marks.Count > 0 && !file.Marks.Any(m => Globs.Matches(match.Text(last - 1), m.Provider)))
        {
            var providers = file.Marks.Select(m => m.Provider).Distinct().ToList();
            scope.Diagnostics.Error("probe.no-provider", Literal.ArgumentSpan(match.Point, last - 1), $"no marks of a provider \"{match.Text(last - 1)}\" in \"{file.Path}\"",
                Names.Hint(Names.Similar(match.Text(last - 1), providers)) ?? "it has: " + string.Join(", ", providers.Take(12)));
            return;
        }

        scope.Diagnostics.Error("probe.no-mark", Literal.ArgumentSpan(match.Point, last), file.Marks.Count == 0
            ? $"\"{file.Path}\" has no marks"
            : $"no mark \"{match.Text(last)}\" in \"{file.Path}\"",
            file.Marks.Count == 0 ? "marks are compiled in with <sys/sdt.h>; libraries have their own: process(\"PATH\").library(\"NAME\").mark(…)"
                : Names.Hint(Names.Similar(match.Text(last), names)) ?? "it has: " + string.Join(", ", names.Take(12)));
    }

    /// <summary>Semaphores lie in data, which the file may hold only in part: the segment's own arithmetic counts.</summary>
    private static long SemaphoreOffset(ElfFile elf, ulong address)
    {
        foreach (var segment in elf.Segments)
        {
            if (segment.Type == ElfSegment.Load && address >= segment.Address && address - segment.Address < segment.MemorySize)
            {
                return unchecked((long)(address - segment.Address + segment.Offset));
            }
        }

        return 0;
    }
}

/// <summary>Arguments of a mark.</summary>
public sealed class MarkContext(Target target, UserFile file, SdtMark mark) : UserContext(target, file, mark.Address)
{
    private readonly List<SdtArgument> _arguments = SdtArgument.Parse(mark.Arguments, target.Architecture);
    private ContextVariable[]? _variables;

    /// <inheritdoc/>
    public override IReadOnlyList<ContextVariable> Variables => _variables ??=
        [.. _arguments.Select((a, i) => new ContextVariable("$arg" + (i + 1), "long"))];

    /// <inheritdoc/>
    public override TypedValue? Resolve(string name, SourceSpan span)
    {
        switch (name)
        {
            case "$$name":
                return new TypedValue(new StringConst(mark.Name, span), null);
            case "$$provider":
                return new TypedValue(new StringConst(mark.Provider, span), null);
        }

        if (!name.StartsWith("$arg", StringComparison.Ordinal) || !int.TryParse(name.AsSpan(4), out var number) || number < 1 || name[4] == '0')
        {
            return null;
        }

        if (number > _arguments.Count)
        {
            Problem(name, $"mark \"{mark.Name}\" has {_arguments.Count} argument{(_arguments.Count == 1 ? "" : "s")}");
            return null;
        }

        var argument = _arguments[number - 1];
        var value = Value(argument, span, out var problem);
        Problem(name, problem);
        return value is null ? null : new TypedValue(value, null);
    }

    private Expr? Value(SdtArgument argument, SourceSpan span, out Unreadable? problem)
    {
        problem = null;
        switch (argument.Kind)
        {
            case SdtArgumentKind.Constant:
                return LocationLowering.Narrow(new LongConst(argument.Constant, span), argument.Size, argument.IsSigned, span);
            case SdtArgumentKind.Register when argument.Size == 8 && !File.Elf.Is64 && SecondOfPair(argument.Register!) is { } upper:
                return new BinaryExpr(BinaryOperator.BitOr, new BinaryExpr(BinaryOperator.ShiftLeft, Whole(upper, span), new LongConst(32, span), span),
                    LocationLowering.Narrow(Whole(argument.Register!, span), 4, false, span), span);
            case SdtArgumentKind.Register:
                return LocationLowering.Narrow(Whole(argument.Register!, span), argument.Size, argument.IsSigned, span);
            case SdtArgumentKind.Memory:
                if (Place(argument, span, out problem) is not { } address)
                {
                    return null;
                }

                return new DerefExpr(address, argument.Size, argument.IsSigned, true, span);
            case SdtArgumentKind.Vector when ReadsVectors:
                return LocationLowering.Narrow(new ContextExpr(ContextValue.VectorRegister, 2 * (int)argument.Constant, span), argument.Size, argument.IsSigned, span);
            case SdtArgumentKind.Vector:
                problem = Unreadable.InVector;
                return null;
            default:
                problem = $"its place '{argument.Text}' cannot be read";
                return null;
        }
    }

    private Expr? Place(SdtArgument argument, SourceSpan span, out Unreadable? problem)
    {
        problem = null;
        Expr? sum = argument.Register is { } register ? Whole(register, span) : null;
        if (argument.IndexRegister is { } index)
        {
            var scaled = argument.Scale == 1 ? Whole(index, span) : new BinaryExpr(BinaryOperator.Multiply, Whole(index, span), new LongConst(argument.Scale, span), span);
            sum = sum is null ? scaled : new BinaryExpr(BinaryOperator.Add, sum, scaled, span);
        }

        var displacement = argument.Constant;
        if (argument.Symbol is { } name)
        {
            if (File.Symbols.Find(name) is not { } symbol || Bias(span) is not { } bias)
            {
                problem = $"its place '{argument.Text}' names symbol \"{name}\", which the symbol table does not have";
                return null;
            }

            displacement = unchecked(displacement + (long)symbol.Value);
            sum = sum is null ? bias : bias is LongConst { Value: 0 } ? sum : new BinaryExpr(BinaryOperator.Add, sum, bias, span);
        }

        var place = sum is null ? new LongConst(displacement, span) : Targeting.TargetBinder.Offset(sum, displacement, span);
        return File.Elf.Is64 ? place : LocationLowering.Narrow(place, 4, false, span); // addresses of i386 wrap around there
    }

    /// <summary>A number of 64 bits is in two registers of i386, of which the operand names the lower one: the upper one is the next in GCC's order.</summary>
    private Register? SecondOfPair(Register lower)
    {
        ReadOnlySpan<string> order = ["eax", "edx", "ecx", "ebx", "esi", "edi", "ebp"];
        var at = order.IndexOf(lower.Name);
        return at >= 0 && at + 1 < order.Length ? Architecture.FindRegister(order[at + 1]) : null;
    }

    /// <summary>A register; of %ah and its like the byte is moved down.</summary>
    private static Expr Whole(Register register, SourceSpan span)
    {
        var low = register.Offset & ~7;
        if (register.Offset != low)
        {
            return new BinaryExpr(BinaryOperator.ShiftRightLogical, new ContextExpr(ContextValue.Register, low, span), new LongConst(8 * (register.Offset - low), span), span);
        }

        return new ContextExpr(ContextValue.Register, low, span);
    }
}
