using SystemTap.Language.Diagnostics;
using SystemTap.Language.Parsing;
using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Probes;

namespace SystemTap.Semantics.Binding;

internal sealed partial class Discovery
{
    private void VisitAll(IReadOnlyList<Expression?>? expressions)
    {
        if (expressions is null)
        {
            return;
        }

        for (var i = 0; i < expressions.Count; i++)
        {
            Visit(expressions[i], used: true);
        }
    }

    /// <param name="e">The expression.</param>
    /// <param name="used">Somebody wants the value: <c>x++</c> as a statement does not read <c>x</c>.</param>
    private void Visit(Expression? e, bool used)
    {
        switch (e)
        {
            case null or LiteralExpression or DefinedExpression or ProbeWriteExpression:
                break;
            case IdentifierExpression id:
                var symbol = Lookup(id);
                if (symbol is GlobalSymbol scalar)
                {
                    SetArity(scalar, 0, id.Span);
                }

                Read(symbol);
                break;
            case IndexExpression x:
                VisitIndex(x, isWrite: false, isRead: true);
                break;
            case UnaryExpression u:
                Visit(u.Operand, used: true);
                break;
            case BinaryExpression b:
                if (session.Conditions.Evaluate(unit, b) is not null)
                {
                    break;
                }

                Visit(b.Left, used: true);
                if (b.Operator is not (BinaryOperator.LogicalAnd or BinaryOperator.LogicalOr) || !IsDecided(b))
                {
                    Visit(b.Right, used: true);
                }

                break;
            case IncrementExpression i:
                VisitTarget(i.Operand, isRead: used, i.Span);
                break;
            case AssignmentExpression a:
                Visit(a.Value, used: true);
                VisitTarget(a.Target, isRead: used && a.Operator is not null, a.Span);
                if (a.Operator is null && !_dead && TargetSymbol(a.Target) is { } assigned)
                {
                    assigned.AddAssignment(a.Value, unit);
                }

                break;
            case StatisticAddExpression s:
                VisitTarget(s.Target, isRead: false, s.Span);
                if (s.Target is IdentifierExpression name && Lookup(name) is LocalSymbol)
                {
                    session.Report("semantic.aggregate-operand", name.Span, $"'{name.Name}' collects values and is no global", $"add 'global {name.Name}'");
                }

                Visit(s.Value, used: true);
                break;
            case TernaryExpression t:
                if (session.Conditions.Evaluate(unit, t.Condition) is { } truth)
                {
                    Visit(truth ? t.WhenTrue : t.WhenFalse, used);
                    break;
                }

                Visit(t.Condition, used: true);
                Visit(t.WhenTrue, used);
                Visit(t.WhenFalse, used);
                break;
            case RegexExpression r:
                Visit(r.Operand, used: true);
                break;
            case InExpression i:
                VisitAll(i.Keys);
                if (ArrayOf(i.Array, i.Span) is { } array)
                {
                    SetArity(array, i.Keys.Count, i.Span);
                    Read(array);
                }

                break;
            case CallExpression c:
                VisitCall(c);
                break;
            case StatisticExpression s:
                VisitStatistic(s);
                break;
            case HistogramExpression h:
                session.Report("semantic.histogram-place", h.Span, "a histogram can only be printed, iterated or indexed");
                break;
            case PrintExpression p:
                VisitPrint(p);
                break;
            case EmbeddedCExpression c:
                CheckEmbedded(c.Span, c.Code);
                break;
            case TargetVariable v:
                VisitTargetVariable(v);
                break;
            case TargetExpression t:
                Visit(t.Value, used: true);
                foreach (var accessor in t.Accessors)
                {
                    if (accessor is IndexAccessor index)
                    {
                        Visit(index.Index, used: true);
                    }
                }

                break;
            case CastExpression c:
                Visit(c.Operand, used: true);
                break;
            case EntryExpression n:
                VisitEntry(n);
                break;
            case EnumNameExpression n:
                Visit(n.Operand, used: true);
                break;
            case DerefExpression d:
                VisitDeref(d);
                break;
            case RegisterExpression r:
                if (!r.IsUser)
                {
                    RequireGuru(r.Span, "@kregister");
                }

                break;
            case ConstExpression c:
                RequireGuru(c.Span, "@const");
                break;
            case PerfExpression p:
                VisitCall(session.CallFor(p));
                break;
            case AtVarExpression or EnumExpression:
                break;
            default:
                throw new InvalidOperationException("unknown expression " + e.GetType().Name);
        }
    }

    private bool IsDecided(BinaryExpression b) => session.Conditions.Evaluate(unit, b.Left) is { } left
        && left == (b.Operator == BinaryOperator.LogicalOr);

    private VariableSymbol? TargetSymbol(Expression target) => target switch
    {
        IdentifierExpression id => Lookup(id),
        IndexExpression { Array: IdentifierExpression id } => session.Peek(unit, id) as GlobalSymbol
            ?? session.Symbols.FindGlobal(id.Name, id.Span.Source, unit.IsLibraryBody),
        _ => null,
    };

    private void VisitIndex(IndexExpression x, bool isWrite, bool isRead)
    {
        VisitIndexValues(x);
        if (x.Array is HistogramExpression h)
        {
            if (isWrite)
            {
                session.Report("semantic.assign-target", x.Span, "histogram buckets cannot be assigned");
            }

            VisitHistogram(h);
            if (x.Indexes.Count != 1)
            {
                session.Report("semantic.array-arity", x.Span, "a histogram has one index, the bucket number");
            }

            return;
        }

        var id = (IdentifierExpression)x.Array;
        var symbol = Lookup(id);
        if (symbol is LocalSymbol local && !isWrite && x.Indexes.Count == 1 && (local.IsParameter || local.IsWritten || local.Assignments is not null))
        {
            // t[i] with a typed t: checked when C types are known.
            Read(local);
            return;
        }

        if (ArrayOf(id, x.Span) is { } array)
        {
            SetArity(array, x.Indexes.Count, x.Span);
            if (isRead)
            {
                Read(array);
            }

            if (isWrite)
            {
                Write(array);
            }
        }
    }

    private void VisitIndexValues(IndexExpression x)
    {
        foreach (var index in x.Indexes)
        {
            if (index is null)
            {
                session.Report("semantic.wildcard-place", x.Span, "'*' as an index is possible in 'in', 'delete' and foreach slices only");
            }

            Visit(index, used: true);
        }
    }

    private void VisitTarget(Expression target, bool isRead, SourceSpan span)
    {
        switch (target)
        {
            case IdentifierExpression id:
                var symbol = Lookup(id);
                if (symbol is GlobalSymbol scalar)
                {
                    SetArity(scalar, 0, id.Span);
                }

                Write(symbol);
                if (isRead)
                {
                    Read(symbol);
                }

                break;
            case IndexExpression x:
                VisitIndex(x, isWrite: true, isRead);
                break;
            case TargetVariable v when session.ProcfsValueVariable(unit, v) is not null:
                break;
            case TargetVariable or TargetExpression or CastExpression or AtVarExpression:
                RequireGuru(span, "an assignment to a target variable");
                // What is not the result was saved when the function was entered.
                if (unit.Context.EntryPoint is not null && target is TargetVariable { Name: not "$return" } or TargetExpression { Value: TargetVariable { Name: not "$return" } })
                {
                    session.Report("semantic.assign-return", span, "target variables of a return probe cannot be assigned, except $return");
                }

                Visit(target, used: true);
                break;
            default:
                session.Report("semantic.assign-target", target.Span, "only variables, array elements and target variables can be assigned");
                Visit(target, used: true);
                break;
        }
    }

    private void VisitCall(CallExpression call)
    {
        VisitAll(call.Arguments);
        var isTapset = call.Span.Source is { IsTapset: true };
        if (IntrinsicTable.Find(call.Name) is { } intrinsic && isTapset)
        {
            if (intrinsic.Parameters.Count != call.Arguments.Count)
            {
                session.Report("semantic.argument-count", call.Span, $"'{call.Name}' takes {Count(intrinsic.Parameters.Count)}, not {call.Arguments.Count}");
            }

            return;
        }

        var function = session.ResolveCall(unit, call);
        if (function is null)
        {
            ReportUnresolved(call);
            return;
        }

        if (_dead)
        {
            return;
        }

        if (!isTapset)
        {
            session.Privileges.Check(call, function);
        }

        if (function.Unit is null)
        {
            function.FirstUse = call.Span;
            session.UnitOf(function, session.Effects.NeedsContext(function) ? unit.Context : ProbeContext.None);
            for (var f = function; f is not null; f = f.Next)
            {
                if (f.Definition.EmbeddedCode is { } body)
                {
                    CheckEmbedded(f.Definition.Span, body);
                }
            }
        }
    }

    private static string Count(int n) => n == 1 ? "1 argument" : $"{n} arguments";

    private void ReportUnresolved(CallExpression call)
    {
        FunctionSymbol? sameName = null;
        var arities = new SortedSet<int>();
        foreach (var f in session.Symbols.FunctionsNamed(call.Name))
        {
            sameName ??= f;
            arities.Add(f.Definition.Parameters.Count);
        }

        if (sameName is not null)
        {
            session.Diagnostics.Add(new Diagnostic("semantic.argument-count", Severity.SemanticError,
                $"function '{call.Name}' takes {string.Join(" or ", arities.Select(Count))}, not {call.Arguments.Count}", call.NameSpan)
            {
                Related = sameName.Definition.Span,
                RelatedMessage = "defined here",
            });
            return;
        }

        string? hint = null;
        if (IntrinsicTable.Find(call.Name) is not null)
        {
            hint = "built-ins may be called from tapset files only";
        }
        else
        {
            hint = Suggestions.DidYouMean(call.Name, session.Symbols.FunctionNames.Concat(Parser.PrintNames));
        }

        session.Report("semantic.unresolved-function", call.NameSpan, $"unresolved function '{call.Name}'", hint);
    }

    private void VisitStatistic(StatisticExpression s)
    {
        if (AggregateOf(s.Operand, s.Span) is not { } global)
        {
            return;
        }

        NeedStatistic(global, s.Kind);
        if (s.Kind == StatisticKind.Variance)
        {
            var shift = (int)(s.Shift ?? 0);
            if (s.Shift is < 0 or > 62)
            {
                session.Report("semantic.variance-shift", s.Span, $"@variance of '{global.Name}' has shift {s.Shift}, it must be between 0 and 62");
            }
            else if (global.ShiftPlace is { } first && global.Shape.VarianceShift != shift)
            {
                session.Diagnostics.Add(new Diagnostic("semantic.variance-shift", Severity.SemanticError,
                    $"@variance of '{global.Name}' has shift {shift} here, one global can have one shift only", s.Span)
                {
                    Related = first,
                    RelatedMessage = $"shift {global.Shape.VarianceShift} here",
                });
            }
            else
            {
                global.ShiftPlace = s.Span;
                global.Shape.VarianceShift = shift;
            }
        }
    }

    /// <summary>Marks the parts of an aggregate that an extractor needs.</summary>
    internal static void NeedStatistic(GlobalSymbol global, StatisticKind kind)
    {
        global.Shape.Count = true;
        switch (kind)
        {
            case StatisticKind.Sum: global.Shape.Sum = true; break;
            case StatisticKind.Average: global.Shape.Sum = true; break;
            case StatisticKind.Min: global.Shape.Min = true; break;
            case StatisticKind.Max: global.Shape.Max = true; break;
            case StatisticKind.Variance: global.Shape.Variance = true; break;
        }
    }

    private void VisitHistogram(HistogramExpression h)
    {
        if (AggregateOf(h.Operand, h.Span) is not { } global)
        {
            return;
        }

        var shape = global.Shape;
        shape.Count = true;
        var kind = h.IsLinear ? HistogramKind.Linear : HistogramKind.Log;
        if (h.IsLinear && (h.Step <= 0 || h.High < h.Low || (h.High - h.Low) / h.Step + 3 > 128 || h.High - h.Low < 0))
        {
            session.Report("semantic.histogram-range", h.Span,
                h.Step <= 0 ? "@hist_linear needs a step greater than 0"
                : h.High < h.Low ? "@hist_linear needs a high value above the low one"
                : "@hist_linear has more than 128 buckets", "choose a greater step");
            return;
        }

        if (shape.Histogram == HistogramKind.None)
        {
            shape.Histogram = kind;
            shape.Low = h.Low;
            shape.High = h.High;
            shape.Step = h.Step;
            global.HistogramPlace = h.Span;
        }
        else if (shape.Histogram != kind || (h.IsLinear && (shape.Low != h.Low || shape.High != h.High || shape.Step != h.Step)))
        {
            session.Diagnostics.Add(new Diagnostic("semantic.histogram-shape", Severity.SemanticError,
                $"'{global.Name}' has another histogram here, one global can have one kind only", h.Span)
            {
                Related = global.HistogramPlace,
                RelatedMessage = "first histogram here",
            });
        }
    }

    /// <summary>The global an extractor reads: a scalar, an element, or the value variable of a foreach.</summary>
    private GlobalSymbol? AggregateOf(Expression operand, SourceSpan span)
    {
        switch (operand)
        {
            case IdentifierExpression id:
                switch (Lookup(id))
                {
                    case GlobalSymbol scalar:
                        SetArity(scalar, 0, id.Span);
                        Read(scalar);
                        return scalar;
                    case LocalSymbol { AggregateLoop: { Array: IdentifierExpression array } } local:
                        Read(local);
                        return Lookup(array) as GlobalSymbol;
                }

                break;
            case IndexExpression { Array: IdentifierExpression } x:
                VisitIndex(x, isWrite: false, isRead: true);
                return TargetSymbol(x) as GlobalSymbol;
        }

        session.Report("semantic.aggregate-operand", span, "an extractor needs a global aggregate", operand is IdentifierExpression plain && Lookup(plain) is not GlobalSymbol ? $"declare it: global {plain.Name}" : null);
        return null;
    }

    private void VisitPrint(PrintExpression p)
    {
        if (p.Arguments.Count > 32)
        {
            session.Report("semantic.print-count", p.Span, $"print has {p.Arguments.Count} values, at most 32 are possible");
        }

        foreach (var argument in p.Arguments)
        {
            if (argument is HistogramExpression h)
            {
                if (p.Kind is PrintKind.Print or PrintKind.PrintLine)
                {
                    VisitHistogram(h);
                }
                else
                {
                    session.Report("semantic.histogram-place", h.Span, "a histogram can only be printed by print, println, sprint and sprintln");
                }
            }
            else
            {
                Visit(argument, used: true);
            }
        }
    }

    private void VisitDeref(DerefExpression d)
    {
        if (!d.IsUser)
        {
            RequireGuru(d.Span, "@kderef");
        }

        if (d.Size is not (1 or 2 or 4 or 8))
        {
            session.Report("semantic.deref-size", d.Span, $"size {d.Size} cannot be read, it must be 1, 2, 4 or 8");
        }

        Visit(d.Address, used: true);
    }

    private void VisitTargetVariable(TargetVariable v)
    {
        if (_dead || ConstantConditions.IsVariableSet(v.Name))
        {
            if (!_dead && unit.Context == ProbeContext.None)
            {
                ReportNoContext(v);
            }
            else if (!_dead && v.Name is "$$vars" or "$$parms" && unit.Context.EntryPoint is { } from)
            {
                // Parameters at a return are those of the entry.
                foreach (var parameter in from.Context.Parameters)
                {
                    if (from.Context.Resolve(parameter.Name, v.Span) is not null)
                    {
                        BindEntry(new TargetVariable(v.Span, parameter.Name));
                    }
                }
            }

            return;
        }

        if (session.ProcfsValueVariable(unit, v) is not null || session.CTypes.TargetValue(unit, v.Name, v.Span) is not null)
        {
            return;
        }

        if (unit.Context.EntryPoint is { } entry && entry.Context.Resolve(v.Name, v.Span) is not null)
        {
            if (v.Span.Source is { IsTapset: false })
            {
                session.Diagnostics.Warn("semantic.implicit-entry", v.Span, $"'{v.Name}' in a return probe means its value at entry", $"write @entry({v.Name})");
            }

            BindEntry(v);
            return;
        }

        if (session.Options.SkipBadVars)
        {
            session.Diagnostics.Warn("semantic.bad-variable", v.Span, $"'{v.Name}' is not available here, 0 is used (--skip-badvars)");
            return;
        }

        ReportNoContext(v);
    }

    private void ReportNoContext(TargetVariable v)
    {
        if (unit.Context.Explain(v.Name) is { } why)
        {
            var needsModule = unit.Context.NeedsModule(v.Name);
            session.Report(needsModule ? "semantic.cannot-vector" : "semantic.unreadable-target", v.Span, $"target variable '{v.Name}' cannot be read at {(unit.IsProbe ? "probe point '" + unit.Probe!.Point.PointText + "'" : unit.OwnerText)}: {why}",
                unit.Context is Probes.User.SymbolContext { EntryPoint: null } ? "use $arg1, $arg2, …" : null);
            return;
        }

        var names = new List<string>();
        foreach (var variable in unit.Context.Variables)
        {
            names.Add(variable.Name);
        }

        var hint = v.Name == "$return" && unit.Probe?.Point.Spec is SyscallSpec or KernelFunctionSpec or UserFunctionSpec ? "results are known at the return: add .return to the probe point"
            : Suggestions.DidYouMean(v.Name, names) ?? (names.Count > 0 ? "available: " + string.Join(", ", names) : "this kind of probe point has no target variables");
        var where = unit.IsProbe ? "probe point '" + unit.Probe!.Point.PointText + "'" : unit.OwnerText;
        session.Report("semantic.unresolved-target", v.Span, $"target variable '{v.Name}' does not exist at {where}", hint);
    }

    private void VisitEntry(EntryExpression n)
    {
        if (!_dead && !BindEntry(n.Operand))
        {
            session.Report("semantic.entry-place", n.Span, "@entry is possible in return probes only", "add .return to the probe point");
        }
    }

    private bool BindEntry(Expression operand)
    {
        if (_dead)
        {
            return true;
        }

        if (session.EntryOf(unit, operand) is not { } use)
        {
            return false;
        }

        if (!use.IsDiscovered)
        {
            use.IsDiscovered = true;
            Run(session, use.EntryUnit, use.Operand);
        }

        return true;
    }

    private void CheckEmbedded(SourceSpan span, string code)
    {
        if (_dead)
        {
            return;
        }

        if (span.Source is not { IsTapset: true } && !session.Options.GuruMode)
        {
            session.Report("semantic.embedded-code", span, "embedded code in an unprivileged script", "needs stap -g");
        }
        else if (session.Options.Runtime == "bpf")
        {
            session.Report("semantic.cannot-embedded", span, "embedded C needs the kernel-module runtime", "use --runtime=kernel");
        }
        else
        {
            UseEmbeddedGlobals(span, code);
        }
    }

    // /* pragma:read:VAR */ and /* pragma:write:VAR */: globals that the text reaches by STAP_GLOBAL_GET_VAR and STAP_GLOBAL_SET_VAR.
    private void UseEmbeddedGlobals(SourceSpan span, string code)
    {
        foreach (var (name, isWrite) in EmbeddedPragmas.Globals(code))
        {
            if (session.Symbols.FindGlobal(name, span.Source, inTapsetFunction: span.Source is { IsTapset: true }) is { } global)
            {
                global.IsRead |= !isWrite;
                global.IsWritten |= isWrite;
            }
            else
            {
                session.Report("semantic.embedded-global", span, $"global '{name}' of a pragma comment does not exist", "declare it with 'global', or correct the name");
            }
        }
    }

    private void RequireGuru(SourceSpan span, string what)
    {
        if (!_dead && !session.Options.GuruMode && span.Source is not { IsTapset: true })
        {
            session.Report("semantic.needs-guru", span, $"{what} needs guru mode", "use stap -g");
        }
    }
}
