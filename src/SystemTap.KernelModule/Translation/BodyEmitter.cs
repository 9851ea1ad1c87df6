using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;

namespace SystemTap.KernelModule.Translation;

// One body (a handler or a function) to C.
// ---------------------------------------
// An expression becomes statements, written at once, and an operand: C text whose evaluation has no effect and cannot fail. `a + b * 2` of locals is
// all operand; whatever can fail, call out or change something becomes a statement with a temporary: `if (!stap_read_kernel(…)) { stap_fail_read(…);
// goto out; }`. So the C keeps the script's order of evaluation, and reads like it.
//
// An operand remembers what it reads. When a later operand of the same expression changes that (`x + (x = 3)`, `s . f(s)`), the earlier one is saved
// first: a long in a temporary, a string that points into a variable by a copy in text space (stap_keep).
//
// Longs are C variables; strings are `struct stap_buf *` into text space, parameters that are not assigned are views. Text space used by the
// intermediate strings of a statement is given back after it (`c->text_used = base`), that of a function when it returns.
//
// Errors: `failed` is the label to go to: the innermost catch, else `out`. Labels are written only when something goes there.

/// <summary>C text of a value, free of effects.</summary>
/// <param name="Code">The text.</param>
/// <param name="Reads">What it reads (a string: points into); a write there changes it.</param>
/// <param name="IsConstant">The same everywhere.</param>
internal readonly record struct Operand(string Code, Effect Reads, bool IsConstant = false)
{
    /// <summary>Set for the histogram argument of a print: the shape and the name of the statistics read.</summary>
    public (string Shape, string Stat)? Histogram { get; init; }
}

/// <summary>What all bodies of a program share.</summary>
internal sealed class EmitContext(LoweredProgram program, TranslationOptions options)
{
    private readonly NamePool _names = new();

    public LoweredProgram Program { get; } = program;

    public TranslationOptions Options { get; } = options;

    public ProgramFacts Facts { get; } = new(program);

    public LockPlan Locks { get; } = new(program);

    public DataTables Data { get; } = new(options);

    public StackUse Stacks { get; } = new(program);

    public Dictionary<Function, string> FunctionNames { get; } = new(ReferenceEqualityComparer.Instance);

    public Dictionary<Global, string> GlobalNames { get; } = new(ReferenceEqualityComparer.Instance);

    /// <summary>Functions that may leave with an error set; known for a function once it is written.</summary>
    public HashSet<Function> Fallible { get; } = new(ReferenceEqualityComparer.Instance);

    /// <summary>Functions that call no counted function: their calls are not worth remembering.</summary>
    public HashSet<Function> Quiet { get; } = new(ReferenceEqualityComparer.Instance);

    /// <summary>Sorted foreach loops by array, so that it has as many sort buffers.</summary>
    public Dictionary<Global, int> Sorts { get; } = new(ReferenceEqualityComparer.Instance);

    /// <summary>Embedded C by the object it stands in.</summary>
    public EmbeddedUnit Embedded { get; } = new();

    public string Name(Global global)
    {
        if (!GlobalNames.TryGetValue(global, out var name))
        {
            GlobalNames.Add(global, name = _names.Take("g_" + global.Name));
        }

        return name;
    }

    public string Name(Function function)
    {
        if (!FunctionNames.TryGetValue(function, out var name))
        {
            FunctionNames.Add(function, name = _names.Take("f_" + function.Name));
        }

        return name;
    }

    /// <summary>Parameters and result of a function in C, without a semicolon.</summary>
    public string Signature(Function function)
    {
        var parameters = new List<string> { "struct stap_context *c" };
        for (var i = 0; i < function.ParameterCount; i++)
        {
            var local = function.Locals[i];
            parameters.Add((local.Type == ScriptType.String ? "struct stap_str " : "s64 ") + "a" + C.Int(i) + "_" + C.Name(local.Name));
        }

        return $"static {ResultType(function.ReturnType)}{Name(function)}({string.Join(", ", parameters)})";
    }

    public static string ResultType(ScriptType type) => type switch
    {
        ScriptType.String => "struct stap_str ",
        ScriptType.Void => "void ",
        _ => "s64 ",
    };
}

/// <summary>Writes one body.</summary>
internal sealed partial class BodyEmitter
{
    private readonly EmitContext _context;
    private readonly CWriter _w;
    private readonly Function? _function;
    private readonly Probe? _probe;
    private readonly IReadOnlyList<Local> _locals;
    private readonly string[] _localNames;
    private readonly bool[] _isView;
    private readonly bool _counted;
    private string _failed = "out";
    private string _base = "base";
    private bool _outUsed, _failedUsed, _usedText, _fallible, _calls, _sorts, _usesBase;
    private int _number;
    private (SourceText? Source, int Line) _commented;

    private BodyEmitter(EmitContext context, CWriter writer, Function? function, Probe? probe)
    {
        _context = context;
        _w = writer;
        _function = function;
        _probe = probe;
        _locals = function?.Locals ?? probe!.Locals;
        _counted = function is not null ? context.Facts.IsCounted(function) : context.Facts.IsCounted(probe!);
        _localNames = new string[_locals.Count];
        _isView = new bool[_locals.Count];
        var names = new NamePool();
        var assigned = AssignmentCounter.In(function?.Body ?? probe!.Body);
        for (var i = 0; i < _locals.Count; i++)
        {
            var isParameter = function is not null && i < function.ParameterCount;
            _isView[i] = isParameter && _locals[i].Type == ScriptType.String && !assigned.ContainsKey(_locals[i]);
            _localNames[i] = isParameter && (_isView[i] || _locals[i].Type != ScriptType.String)
                ? "a" + C.Int(i) + "_" + C.Name(_locals[i].Name)
                : names.Take("l_" + _locals[i].Name);
        }
    }

    /// <summary>Writes a function's definition.</summary>
    public static void Write(EmitContext context, CWriter w, Function function)
    {
        var emitter = new BodyEmitter(context, w, function, null);
        w.Line($"/* function {C.Comment(function.Name)} at {C.Comment(function.Span.ToString())} */");
        w.Line(context.Signature(function));
        emitter.WriteWhole(function.Body);
        if (emitter._fallible || function.IsRecursive)
        {
            context.Fallible.Add(function);
        }
        else if (!emitter._calls && context.Program.Limits.MaxNesting == 0)
        {
            context.Quiet.Add(function);
        }
    }

    /// <summary>Writes a handler.</summary>
    public static void Write(EmitContext context, CWriter w, Probe probe, string name)
    {
        var emitter = new BodyEmitter(context, w, null, probe);
        w.Line($"/* probe {C.Comment(probe.PointText)} at {C.Comment(probe.Span.ToString())} */");
        w.Line($"static void {name}(struct stap_context *c)");
        emitter.WriteWhole(context.Locks.BodyOf(probe).Body);
    }

    private void WriteWhole(Stmt body)
    {
        _w.Open();
        var start = _w.Length;
        if (_function is { IsRecursive: true })
        {
            _w.Open("if (stap_stack_low(c))");
            Fail($"stap_fail(c, {_context.Data.Place(_function.Span)}, \"MAXNESTING exceeded\");");
            _w.Close();
        }

        for (var i = 0; i < _locals.Count; i++)
        {
            if (_locals[i].Type == ScriptType.String && !_isView[i])
            {
                _usedText = true;
                _w.Line($"{_localNames[i]} = stap_variable(c, STAP_MAXSTRINGLEN);");
                _w.Line($"if (!{_localNames[i]})");
                _w.Line($"\tgoto {Out()};");
                if (_function is not null && i < _function.ParameterCount)
                {
                    _w.Line($"stap_set({_localNames[i]}, a{C.Int(i)}_{C.Name(_locals[i].Name)});");
                }
            }
        }

        var afterLocals = _w.Length;
        Statement(body);
        if (_probe?.Spec is ProcfsSpec { IsWrite: false, Value: { } value })
        {
            _w.Line($"stap_set(c->procfs, {View(value)});");
            _w.Line("c->has_procfs = 1;");
        }

        // What the body turned out to need goes in front of it.
        var head = new CWriter { Indent = 1 };
        for (var i = 0; i < _locals.Count; i++)
        {
            var isParameter = _function is not null && i < _function.ParameterCount;
            if (_locals[i].Type == ScriptType.String && !_isView[i])
            {
                head.Line($"struct stap_buf *{_localNames[i]};");
            }
            else if (_locals[i].Type != ScriptType.String && !isParameter)
            {
                head.Line($"s64 {_localNames[i]} = 0;");
            }
        }

        var isText = _function is { ReturnType: ScriptType.String };
        if (_function is { ReturnType: not ScriptType.Void })
        {
            head.Line(isText ? "struct stap_str result = STAP_EMPTY;" : "s64 result = 0;");
        }

        var marks = _function is not null && (_usedText || isText);
        if (marks)
        {
            head.Line("const u32 mark = c->text_used;");
        }

        if (_sorts && _function is not null)
        {
            head.Line("struct stap_rank_list *orders = c->orders;");
        }

        if (_usesBase)
        {
            _w.InsertAt(afterLocals, "\tbase = c->text_used;\n");
            head.Line("u32 base;");
        }

        _w.InsertAt(start, head + (head.Length > 0 ? "\n" : ""));
        if (_outUsed)
        {
            _w.Label("out");
        }

        if (_sorts && _function is not null)
        {
            _w.Line("stap_sorted_done(c, orders);");
        }

        if (isText)
        {
            _w.Line("return stap_result(c, mark, result);");
        }
        else
        {
            if (marks)
            {
                _w.Line("c->text_used = mark;");
            }

            _w.Line(_function is { ReturnType: ScriptType.Long } ? "return result;" : "return;");
        }

        _w.Close();
        _w.Line();
    }

    private string Out()
    {
        _outUsed = true;
        return "out";
    }

    // Jumps to the innermost catch; from outside of any, the caller must look.
    private string FailLabel()
    {
        if (_failed == "out")
        {
            _outUsed = _fallible = true;
        }
        else
        {
            _failedUsed = true;
        }

        return _failed;
    }

    // The body of a braced block that raises an error.
    private void Fail(string call)
    {
        _w.Line(call);
        _w.Line($"goto {FailLabel()};");
    }

    private void FailIf(string condition, string call)
    {
        _w.Open($"if (STAP_UNLIKELY({condition}))");
        Fail(call);
        _w.Close();
    }

    private void CheckFailed()
    {
        _w.Line("if (STAP_UNLIKELY(c->failed))");
        _w.Line($"\tgoto {FailLabel()};");
    }

    private string Fresh(string prefix) => prefix + C.Int(++_number);

    private string P(SourceSpan span) => _context.Data.Place(span);

    // Gives back the text space of the statement's intermediate strings, if there were any.
    private void DropText()
    {
        if (_usedText && _textSinceDrop)
        {
            _ = _base == "base" ? _usesBase = true : _baseUsed = true;
            _w.Line($"c->text_used = {_base};");
            _textSinceDrop = false;
        }
    }

    private bool _textSinceDrop;
    private bool _baseUsed;
    private int _baseDeclared;
    private bool _declares;

    private void UsesText() => _usedText = _textSinceDrop = true;

    private void Comment(SourceSpan span)
    {
        if (span.Source is not { } source)
        {
            return;
        }

        var line = span.Position.Line;
        if (_commented != (source, line))
        {
            _commented = (source, line);
            _w.Line($"/* {C.Comment(System.IO.Path.GetFileName(source.Path))}:{C.Int(line)}: {C.Comment(source.LineText(line))} */");
        }
    }
}
