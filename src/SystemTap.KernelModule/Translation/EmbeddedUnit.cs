using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;

namespace SystemTap.KernelModule.Translation;

// Embedded C (guru mode) goes into a translation unit of its own that includes kernel headers, so that other scripts do not pay for them.
//
// Each function with a body %{ … %}, and each expression %{ … %}, becomes an external function there, called from the script's unit with the same
// types as any script function. What the text inside may say (STAP_ARG_x, STAP_RETVALUE, STAP_RETURN, STAP_ERROR, STAP_PRINTF, STAP_NEXT, kread, …) is
// defined by runtime/include/stap_embedded.h; names that depend on the function are variables or macros around its body.
//
// `/* unmangled */` asks for the oldest names: THIS->x and THIS->__retvalue. Such a function has its parameters and result in a structure, and the newer
// names stand for its members.
//
// Globals named by `/* pragma:read:VAR */` and `/* pragma:write:VAR */` lose their `static` in the script's unit and get STAP_GLOBAL_GET_VAR and
// STAP_GLOBAL_SET_VAR here.

/// <summary>Collects the embedded C of a program.</summary>
internal sealed class EmbeddedUnit
{
    private readonly CWriter _bodies = new();
    private readonly List<string> _prototypes = [];
    private readonly Dictionary<Global, string> _shared = new(ReferenceEqualityComparer.Instance);
    private readonly Dictionary<EmbeddedCExpr, string> _expressions = new(ReferenceEqualityComparer.Instance);

    /// <summary>The global is reached from embedded C.</summary>
    public bool Shares(Global global) => _shared.ContainsKey(global);

    /// <summary>Adds a function whose body is C.</summary>
    public void Function(EmitContext context, Function function)
    {
        var code = function.EmbeddedCode!;
        foreach (var (wanted, _) in EmbeddedPragmas.Globals(code))
        {
            foreach (var global in context.Program.Globals)
            {
                if (global.Name == wanted)
                {
                    _shared[global] = context.Name(global);
                }
            }
        }

        var signature = context.Signature(function)["static ".Length..];
        _prototypes.Add(signature);
        _bodies.Line($"/* function {C.Comment(function.Name)} at {C.Comment(function.Span.ToString())} */");
        if (context.Options.OldEmbeddedNames || code.Contains("/* unmangled */", StringComparison.Ordinal))
        {
            Unmangled(signature, function, code);
            return;
        }

        Begin(signature, function.ReturnType);
        for (var i = 0; i < function.ParameterCount; i++)
        {
            var (type, value) = Parameter(function, i);
            _bodies.Line($"{type}STAP_ARG_{C.Name(function.Locals[i].Name)} = {value};");
        }

        End(code, function.Span, function.ReturnType);
    }

    // A parameter as C text: a string is a NUL-terminated copy.
    private static (string Type, string Value) Parameter(Function function, int i)
    {
        var name = "a" + C.Int(i) + "_" + C.Name(function.Locals[i].Name);
        return function.Locals[i].Type == ScriptType.String ? ("char *", $"stap_c_text(c, {name})") : ("s64 ", name);
    }

    private void Unmangled(string signature, Function function, string code)
    {
        var names = new List<string>();
        var (members, values) = ("", "");
        for (var i = 0; i < function.ParameterCount; i++)
        {
            var (type, value) = Parameter(function, i);
            var name = C.Name(function.Locals[i].Name);
            names.Add(name);
            members += $"{type}{name}; ";
            values += $".{name} = {value}, ";
        }

        Begin(signature, function.ReturnType, inStructure: true);
        if (function.ReturnType != ScriptType.Void)
        {
            members += function.ReturnType == ScriptType.String ? "char *__retvalue; " : "s64 __retvalue; ";
            values += function.ReturnType == ScriptType.String ? ".__retvalue = stap_embedded_result(c), " : ".__retvalue = 0, ";
        }

        _bodies.Line($"struct {{ {members}}} stap_this = {{ {values}}}, *const THIS = &stap_this;");
        _bodies.Line("(void)THIS;");
        _bodies.Raw("#define STAP_RETVALUE (THIS->__retvalue)");
        foreach (var name in names)
        {
            _bodies.Raw($"#define STAP_ARG_{name} (THIS->{name})");
        }

        End(code, function.Span, function.ReturnType);
        foreach (var name in names)
        {
            _bodies.Raw("#undef STAP_ARG_" + name);
        }

        _bodies.Raw("#undef STAP_RETVALUE");
    }

    /// <summary>Adds text used as a statement, for its effect; yields the call of the function it became.</summary>
    public string Statement(EmbeddedCExpr e)
    {
        var name = "embedded_" + C.Int(_expressions.Count);
        _expressions.Add(e, name);
        var signature = $"void {name}(struct stap_context *c)";
        _prototypes.Add(signature);
        _bodies.Line($"/* statement at {C.Comment(e.Span.ToString())} */");
        Begin(signature, ScriptType.Void);
        End(e.Code, e.Span, ScriptType.Void, after: "\n;");
        return name + "(c);";
    }

    /// <summary>Adds an expression; yields the call of the function it became.</summary>
    public string Expression(EmbeddedCExpr e)
    {
        if (!_expressions.TryGetValue(e, out var name))
        {
            _expressions.Add(e, name = "embedded_" + C.Int(_expressions.Count));
            var signature = $"{EmitContext.ResultType(e.Type)}{name}(struct stap_context *c)";
            _prototypes.Add(signature);
            _bodies.Line($"/* expression at {C.Comment(e.Span.ToString())} */");
            Begin(signature, e.Type);

            // The text is an expression, or statements whose last is one.
            var text = e.Type == ScriptType.String;
            End(e.Code, e.Span, e.Type, text ? "stap_embedded_copy(STAP_RETVALUE, ({ " : "STAP_RETVALUE = (s64)({ ", text ? "\n; }));" : "\n; });");
        }

        return name + "(c)";
    }

    public void WritePrototypes(CWriter w)
    {
        foreach (var prototype in _prototypes)
        {
            w.Line(prototype + ";");
        }
    }

    /// <summary>The whole unit; null when the script has no embedded C.</summary>
    public string? Unit(LoweredProgram program)
    {
        if (_prototypes.Count == 0 && program.EmbeddedC.Count == 0)
        {
            return null;
        }

        var w = new CWriter();
        w.Raw("#define STAP_KERNEL_HEADERS");
        w.Raw($"#define STAP_MAXSTRINGLEN {program.Limits.MaxStringLength}");
        w.Raw("#include \"stap_embedded.h\"");
        w.Line();
        foreach (var (global, name) in _shared)
        {
            WriteAccess(w, global, name);
        }

        foreach (var block in program.EmbeddedC)
        {
            if (!IsSuffix(block))
            {
                Located(w, block.Code, block.Span);
            }
        }

        foreach (var prototype in _prototypes)
        {
            w.Line(prototype + ";");
        }

        w.Line();
        w.Raw(_bodies.ToString());
        foreach (var block in program.EmbeddedC)
        {
            if (IsSuffix(block))
            {
                Located(w, block.Code, block.Span);
            }
        }

        return w.ToString();
    }

    private static bool IsSuffix(EmbeddedBlock block) => block.Code.Contains("/* pragma:suffix */", StringComparison.Ordinal);

    // With the script's line numbers, so that the compiler's messages name the script's places. Code that macros made stands nowhere in the script.
    private static void Located(CWriter w, string code, SourceSpan span, string before = "", string after = "")
    {
        var at = span.Source.Content.IndexOf(code, span.Start, StringComparison.Ordinal);
        if (at < 0)
        {
            w.Raw(before + code + after);
            return;
        }

        w.Raw($"#line {C.Int(span.Source.Position(at).Line)} \"{C.Comment(span.Source.Path).Replace("\\", "", StringComparison.Ordinal).Replace("\"", "", StringComparison.Ordinal)}\"");
        w.Raw(before + code + after);
        w.Raw("#line 1 \"around embedded C\"");
    }

    private void Begin(string signature, ScriptType type, bool inStructure = false)
    {
        _bodies.Raw(type switch
        {
            ScriptType.String => "#define STAP_RETURN(v) do { stap_embedded_copy(STAP_RETVALUE, (v)); goto stap_out; } while (0)",
            ScriptType.Void => "#define STAP_RETURN(...) goto stap_out",
            _ => "#define STAP_RETURN(v) do { STAP_RETVALUE = (s64)(v); goto stap_out; } while (0)",
        });
        _bodies.Line(signature);
        _bodies.Open();
        _bodies.Line("const u32 stap_mark = c->text_used;");
        if (inStructure)
        {
            return;
        }

        if (type == ScriptType.String)
        {
            _bodies.Line("char *STAP_RETVALUE = stap_embedded_result(c);");
        }
        else if (type != ScriptType.Void)
        {
            _bodies.Line("s64 STAP_RETVALUE = 0;");
        }
    }

    private void End(string code, SourceSpan span, ScriptType type, string before = "", string after = "")
    {
        _bodies.Line("if (c->failed)");
        _bodies.Line("\tgoto stap_out;");
        _bodies.Raw("#define return goto stap_out");
        _bodies.Open();
        Located(_bodies, code, span, before, after);
        _bodies.Close();
        _bodies.Raw("#undef return");
        _bodies.Line("goto stap_out;");
        _bodies.Label("stap_out");
        if (type != ScriptType.String)
        {
            _bodies.Line("c->text_used = stap_mark;");
        }

        _bodies.Line(type switch
        {
            ScriptType.String => "return stap_embedded_string_result(c, stap_mark, STAP_RETVALUE);",
            ScriptType.Void => "return;",
            _ => "return STAP_RETVALUE;",
        });
        _bodies.Close();
        _bodies.Raw("#undef STAP_RETURN");
        _bodies.Line();
    }

    private static void WriteAccess(CWriter w, Global global, string name)
    {
        if (global.Type == ScriptType.Statistics)
        {
            return;
        }

        var text = global.Type == ScriptType.String;
        if (!global.IsArray)
        {
            w.Line(text ? $"extern STAP_BUF({name});" : $"extern s64 {name};");
            w.Raw(text ? $"#define STAP_GLOBAL_GET_{global.Name}() stap_c_text(c, stap_view(&{name}.buf))" : $"#define STAP_GLOBAL_GET_{global.Name}() ({name})");
            w.Raw(text ? $"#define STAP_GLOBAL_SET_{global.Name}(v) stap_set(&{name}.buf, stap_c_string(v))" : $"#define STAP_GLOBAL_SET_{global.Name}(v) ({name} = (s64)(v))");
            return;
        }

        var keys = Enumerable.Range(1, global.KeyTypes.Count).Select(i => "k" + C.Int(i)).ToArray();
        var parts = string.Join(", ", keys.Select((k, i) => global.KeyTypes[i] == ScriptType.String ? $"{{ .t = stap_c_string({k}) }}" : $"{{ .n = (s64)({k}) }}"));
        var key = $"(const union stap_key[]){{ {parts} }}";
        var list = string.Join(", ", keys);
        w.Line($"extern struct stap_array {name};");
        w.Raw($"#define STAP_GLOBAL_GET_{global.Name}({list}) " + (text ? $"stap_c_text(c, stap_get_text(&{name}, {key}))" : $"stap_get_long(&{name}, {key})"));
        w.Raw($"#define STAP_GLOBAL_SET_{global.Name}({list}, v) " + (text ? $"stap_set_text(&{name}, {key}, stap_c_string(v))" : $"stap_set_long(&{name}, {key}, (s64)(v))"));
    }
}
