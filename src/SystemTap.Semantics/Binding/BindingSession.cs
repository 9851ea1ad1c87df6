using SystemTap.Language.Diagnostics;
using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Elaboration;
using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Probes;
using SystemTap.Semantics.Targeting;

namespace SystemTap.Semantics.Binding;

/// <summary>What the steps of pass 2 share: the input, the names, and the bodies found so far.</summary>
internal sealed class BindingSession
{
    private readonly Queue<BodyUnit> _undiscovered = new();

    public BindingSession(ElaborationInput input)
    {
        Input = input;
        Symbols = new SymbolTable(input);
        Conditions = new ConstantConditions(this);
        CTypes = new CTypes(this);
        Effects = new EffectAnalysis(this);
        Privileges = new PrivilegeAnalysis(this);
    }

    public ElaborationInput Input { get; }

    public ElaborationOptions Options => Input.Options;

    public DiagnosticBag Diagnostics => Input.Diagnostics;

    public ITargetBinder TargetBinder => Input.TargetBinder;

    public SymbolTable Symbols { get; }

    public ConstantConditions Conditions { get; }

    public CTypes CTypes { get; }

    public EffectAnalysis Effects { get; }

    public PrivilegeAnalysis Privileges { get; }

    /// <summary>Probe bodies in order of declaration.</summary>
    public List<BodyUnit> Probes { get; } = [];

    private readonly Dictionary<PerfExpression, CallExpression> _perfCalls = new(ReferenceEqualityComparer.Instance);

    /// <summary>Function bodies in order of discovery.</summary>
    public List<BodyUnit> Functions { get; } = [];

    /// <summary>Entry sides of <c>@entry</c>, one for each use.</summary>
    public List<BodyUnit> EntryUnits { get; } = [];

    public bool IsOptimizing => !Options.Unoptimized;

    public void AddProbe(BodyUnit unit)
    {
        Probes.Add(unit);
        _undiscovered.Enqueue(unit);
    }

    public BodyUnit? NextUndiscovered() => _undiscovered.TryDequeue(out var unit) ? unit : null;

    /// <summary>The unit of a function; the first request creates it and lets its file join the session.</summary>
    public BodyUnit UnitOf(FunctionSymbol function, ProbeContext context)
    {
        if (function.Unit is { } known)
        {
            return known;
        }

        Symbols.Join(function.Definition.Span.Source);
        var unit = new BodyUnit
        {
            Function = function,
            Context = context,
            Blocks = function.Definition.Body is { } body ? [body] : [],
        };
        function.Unit = unit;
        foreach (var parameter in function.Definition.Parameters)
        {
            var symbol = new LocalSymbol(parameter.Name, parameter.Span, isParameter: true) { IsWritten = true };
            if (Annotated(parameter.Type) is { } type)
            {
                symbol.Slot.Set(type, parameter.Span);
            }

            unit.Locals.Add(symbol);
            unit.Scope.TryAdd(parameter.Name, symbol);
        }

        if (Annotated(function.Definition.ReturnType) is { } returns)
        {
            function.Return.Set(returns, function.Definition.Span);
        }
        else if (function.Definition.EmbeddedCode is not null || !AnyOverloadReturns(function))
        {
            function.Return.Set(ScriptType.Void, function.Definition.Span);
        }

        Functions.Add(unit);
        _undiscovered.Enqueue(unit);
        if (function.Next is { } next)
        {
            UnitOf(next, context);
        }

        return unit;
    }

    /// <summary>The function a call means, copied for the probe's context when it mentions target variables; null when unresolved.</summary>
    public FunctionSymbol? ResolveCall(BodyUnit unit, CallExpression call)
    {
        var function = Symbols.FindFunction(call.Name, call.Arguments.Count, call.Span.Source);
        if (function is null || unit.Context == ProbeContext.None || !Effects.NeedsContext(function))
        {
            return function;
        }

        return CopyFor(function, unit.Context);
    }

    /// <summary>The tapset's function behind <c>@perf</c>; the counter's number is known when all probes are.</summary>
    public CallExpression CallFor(PerfExpression perf)
    {
        if (!_perfCalls.TryGetValue(perf, out var call))
        {
            _perfCalls[perf] = call = new CallExpression(perf.Span, "__perf_value", [new NumberLiteral(perf.Span, 0)]);
        }

        return call;
    }

    /// <summary>What a plain name means in a body; a new name becomes a local.</summary>
    public VariableSymbol Resolve(BodyUnit unit, string name, SourceSpan span)
    {
        var key = KeyOf(unit, name, span.Source);
        if (unit.Scope.TryGetValue(key, out var known))
        {
            if (known is LocalSymbol { IsParameter: true } || !Symbols.HasPrivate(name, span.Source))
            {
                return known;
            }

            return Symbols.FindGlobal(name, span.Source, false)!;
        }

        if (Symbols.FindGlobal(name, span.Source, unit.IsLibraryBody) is { } global)
        {
            if (!global.Definition.IsPrivate)
            {
                unit.Scope[key] = global;
            }

            if (!global.IsTapset && span.Source is { IsTapset: true })
            {
                Diagnostics.Warn("semantic.cross-file-global", span,
                    $"global '{name}' of the script is used by the library: cross-file global variable reference",
                    "rename the global if that is not meant");
            }

            return global;
        }

        var local = new LocalSymbol(name, span, isParameter: false);
        unit.Scope[key] = local;
        unit.Locals.Add(local);
        return local;
    }

    /// <summary>What a name has been found to mean, without making it a local; null when it has not been met.</summary>
    public VariableSymbol? Peek(BodyUnit unit, IdentifierExpression id) =>
        unit.Scope.GetValueOrDefault(KeyOf(unit, id.Name, id.Span.Source))
        ?? (Symbols.HasPrivate(id.Name, id.Span.Source) ? Symbols.FindGlobal(id.Name, id.Span.Source, unit.IsLibraryBody) : null);

    /// <summary>
    /// The name under which the body's scope keeps a variable: that of the script, except for locals of library aliases that a user global hides,
    /// which live beside it in the same body.
    /// </summary>
    public string KeyOf(BodyUnit unit, string name, SourceText? source) =>
        source is { IsTapset: true } && unit is { IsProbe: true, IsLibraryBody: false } && Symbols.IsHiddenFromAliases(name) ? name + "'" : name;

    public VariableSymbol Resolve(BodyUnit unit, IdentifierExpression id) => Resolve(unit, id.Name, id.Span);

    /// <summary><c>$value</c> of a procfs read is a string variable of the handler.</summary>
    public LocalSymbol? ProcfsValueVariable(BodyUnit unit, TargetVariable target)
    {
        if (target.Name != "$value" || unit.Probe?.Point.Spec is not ProcfsSpec { IsWrite: false })
        {
            return null;
        }

        if (unit.Scope.TryGetValue("$value", out var known))
        {
            return (LocalSymbol)known;
        }

        var local = new LocalSymbol("$value", target.Span, isParameter: false) { IsRead = true, IsWritten = true };
        local.Slot.Set(ScriptType.String, target.Span);
        unit.Scope["$value"] = local;
        unit.Locals.Add(local);
        return local;
    }

    /// <summary>The use of <c>@entry(operand)</c> in a return probe, created at first sight; null when the point has no entry side.</summary>
    public EntryUse? EntryOf(BodyUnit unit, Expression operand)
    {
        if (unit.Probe?.Point.Context.EntryPoint is not { } entryPoint)
        {
            return null;
        }

        var key = operand is TargetVariable variable ? variable.Name : operand.Span.Start + "@" + operand.Span.Source?.Path;
        foreach (var use in unit.Entries ??= [])
        {
            if (use.Key == key)
            {
                return use;
            }
        }

        var entryUnit = new BodyUnit
        {
            Probe = unit.Probe with { Point = entryPoint },
            Definition = unit.Definition,
            Context = entryPoint.Context,
            Blocks = [],
            UserBlock = unit.UserBlock,
        };
        var created = new EntryUse(key, operand, entryUnit);
        unit.Entries.Add(created);
        EntryUnits.Add(entryUnit);
        return created;
    }

    public void Report(string code, SourceSpan span, string message, string? hint = null) => Diagnostics.Error(code, span, message, hint);

    private static ScriptType? Annotated(TypeAnnotation type) => type switch
    {
        TypeAnnotation.Long => ScriptType.Long,
        TypeAnnotation.String => ScriptType.String,
        _ => null,
    };

    private static bool AnyOverloadReturns(FunctionSymbol function)
    {
        for (var f = function; f is not null; f = f.Next)
        {
            if (f.Definition.ReturnType != TypeAnnotation.None || SyntaxFacts.ReturnsValue(f.Definition))
            {
                return true;
            }
        }

        return false;
    }

    private static FunctionSymbol CopyFor(FunctionSymbol function, ProbeContext context)
    {
        function.Copies ??= [];
        if (!function.Copies.TryGetValue(context, out var copy))
        {
            copy = new FunctionSymbol(function.Definition, function.IsTapset, function.Order);
            function.Copies[context] = copy;
            copy.Next = function.Next is { } next ? CopyFor(next, context) : null;
        }

        return copy;
    }
}
