using SystemTap.Semantics.Regex;
using SystemTap.Language.Lexing;
using SystemTap.Language.Syntax;
using SystemTap.Language.Diagnostics;
using SystemTap.Language.Text;
using SystemTap.Semantics.Binding;
using SystemTap.Semantics.Elaboration;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Semantics.Lowering;

/// <summary>Collects the lowered program: globals of the used symbols, functions as calls reach them, probes in order.</summary>
internal sealed class ProgramBuilder
{
    private readonly Dictionary<string, RegexPattern> _regexes = new(StringComparer.Ordinal);
    private readonly List<RegexPattern> _regexList = [];
    private readonly Queue<FunctionSymbol> _unlowered = new();
    private bool _needsGroups;

    public ProgramBuilder(BindingSession session)
    {
        Session = session;
        foreach (var symbol in session.Symbols.Globals)
        {
            if (symbol.IsUsed || !session.IsOptimizing && !symbol.IsTapset && symbol.Slot.Type is not null)
            {
                symbol.Lowered = Make(symbol);
                Globals.Add(symbol.Lowered);
            }
        }
    }

    public BindingSession Session { get; }

    public List<Global> Globals { get; } = [];

    public List<Function> Functions { get; } = [];

    public List<Probe> Probes { get; } = [];

    public List<ProbeOrigin> Origins { get; } = [];

    public IReadOnlyList<RegexPattern> Regexes => _regexList;

    /// <summary>Which lowered function a symbol became, and back, for the checks that follow.</summary>
    public Dictionary<Function, FunctionSymbol> Symbols { get; } = [];

    public Global? GlobalOf(GlobalSymbol symbol) => symbol.Lowered;

    public Global AddSynthetic(string name, ScriptType type, IReadOnlyList<ScriptType> keys)
    {
        var global = new Global
        {
            Index = Globals.Count,
            Name = name,
            Type = type,
            KeyTypes = keys,
            MaxEntries = Session.Options.Limits.MaxMapEntries,
            IsTapset = true,
            IsOwned = true,
        };
        Globals.Add(global);
        return global;
    }

    /// <summary>The pattern of a regular expression, checked.</summary>
    public RegexPattern Regex(StringLiteral literal)
    {
        var pattern = literal.Value;
        if (!_regexes.TryGetValue(pattern, out var regex))
        {
            try
            {
                RegexProgram.Compile(pattern);
            }
            catch (RegexSyntaxException e)
            {
                Session.Diagnostics.Error("semantic.regex", literal.Span, e.Message);
            }

            regex = new RegexPattern(_regexList.Count, pattern);
            _regexes[pattern] = regex;
            _regexList.Add(regex);
        }

        return regex;
    }

    public void NoteIntrinsic(Intrinsic intrinsic) => _needsGroups |= intrinsic.Id is IntrinsicId.MatchedGroup or IntrinsicId.GroupCount;

    /// <summary>The lowered function of a call; its body follows later.</summary>
    public Function FunctionOf(FunctionSymbol symbol)
    {
        if (symbol.Lowered is { } known)
        {
            return known;
        }

        var lowering = symbol.Unit!.Lowering ??= new BodyLowering(this, symbol.Unit);
        var function = new Function
        {
            Name = symbol.Name,
            ParameterCount = symbol.Definition.Parameters.Count,
            Locals = lowering.Locals,
            ReturnType = symbol.Return.Type ?? ScriptType.Long,
            EmbeddedCode = symbol.Definition.EmbeddedCode,
            IsTapset = symbol.IsTapset,
            Span = symbol.Definition.Span,
        };
        symbol.Lowered = function;
        Symbols[function] = symbol;
        Functions.Add(function);
        _unlowered.Enqueue(symbol);
        function.NextOverload = symbol.Next is { } next ? FunctionOf(next) : null;
        return function;
    }

    /// <summary>Lowers the bodies of all functions reached so far and by them.</summary>
    public void LowerFunctions()
    {
        while (_unlowered.TryDequeue(out var symbol))
        {
            var statements = symbol.Unit!.Lowering!.LowerBlocks();
            symbol.Lowered!.Body = statements.Count == 1 ? statements[0] : new BlockStmt(statements, symbol.Definition.Span);
        }

        foreach (var regex in _regexList)
        {
            regex.NeedsGroups = _needsGroups;
        }
    }

    private Global Make(GlobalSymbol symbol)
    {
        var limits = Session.Options.Limits;
        var type = symbol.Slot.Type ?? ScriptType.Long;
        var showAtEnd = !symbol.IsTapset && symbol is { IsWritten: true, IsRead: false };
        if (showAtEnd && type == ScriptType.Statistics)
        {
            symbol.Shape.Count = symbol.Shape.Sum = symbol.Shape.Min = symbol.Shape.Max = true;
        }

        var keys = symbol.Keys ?? [];
        var keyTypes = new ScriptType[keys.Length];
        for (var i = 0; i < keys.Length; i++)
        {
            keyTypes[i] = keys[i].Type ?? ScriptType.Long;
        }

        var (number, text) = InitialValue(symbol, type);
        return new Global
        {
            Index = Globals.Count,
            Name = symbol.Name,
            Type = type,
            KeyTypes = keyTypes,
            MaxEntries = keys.Length == 0 ? 0 : (int)(symbol.Definition.MaxSize ?? limits.MaxMapEntries),
            Wraps = symbol.Definition.Wraps,
            InitialLong = number,
            InitialString = text,
            Shape = type == ScriptType.Statistics ? symbol.Shape : null,
            IsTapset = symbol.IsTapset,
            IsOwned = symbol.IsTapset && symbol.Name.StartsWith("__own_", StringComparison.Ordinal),
            ShowAtEnd = showAtEnd,
            HoldsPointers = showAtEnd && type == ScriptType.Long && Session.CTypes.Of(symbol) is { } ctype && IsPointer(ctype),
            IsReadOnly = !symbol.IsWritten,
            Span = symbol.Span,
        };
    }

    private static bool IsPointer(Probes.CType type) => type.IsInMemory || Targeting.CTypes.IsPointer(type);

    private (long Number, string Text) InitialValue(GlobalSymbol symbol, ScriptType type)
    {
        if (symbol.Override is { } given)
        {
            if (type == ScriptType.String)
            {
                return (0, given);
            }

            if (type == ScriptType.Long && symbol.Keys is not { Length: > 0 } && ScriptNumber.Parse(given) is { } number)
            {
                return (number, "");
            }

            Session.Report("semantic.global-override", symbol.Span,
                type == ScriptType.Long && symbol.Keys is not { Length: > 0 } ? $"global '{symbol.Name}' is a number, -G gives '{given}'" : $"global '{symbol.Name}' cannot be set by -G: it is not a scalar");
            return (0, "");
        }

        return symbol.Definition.Initializer switch
        {
            Language.Syntax.NumberLiteral n => (n.Value, ""),
            Language.Syntax.StringLiteral s => (0, s.Value),
            _ => (0, ""),
        };
    }
}
