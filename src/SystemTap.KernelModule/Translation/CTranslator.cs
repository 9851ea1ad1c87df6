using System.Globalization;
using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;

namespace SystemTap.KernelModule.Translation;

/// <summary>Pass 3 of the kernel-module runtime: the lowered program to C.</summary>
public static class CTranslator
{
    /// <summary>Translates a program.</summary>
    /// <exception cref="ModuleCannotException">Something in the script has no form in this runtime.</exception>
    public static CTranslation Translate(LoweredProgram program, TranslationOptions options)
    {
        var context = new EmitContext(program, options);

        // Bodies first: they tell which tables, places and sort buffers there must be.
        var bodies = new CWriter();
        foreach (var function in program.Functions)
        {
            if (function.EmbeddedCode is null)
            {
                BodyEmitter.Write(context, bodies, function);
            }
            else
            {
                context.Embedded.Function(context, function);
            }
        }

        var probes = new ProbeTable(context);
        foreach (var probe in program.Probes)
        {
            BodyEmitter.Write(context, bodies, probe, ProbeTable.HandlerName(probe));
            probes.WriteCondition(bodies, probe);
        }

        var tables = new CWriter();
        probes.Write(tables);

        var w = new CWriter();
        w.Line($"/* Made by stap from {C.Comment(FirstSource(program))}. */");
        w.Raw($"#define STAP_MAXSTRINGLEN {program.Limits.MaxStringLength}");
        w.Raw("#include \"stap.h\"");
        w.Line();
        foreach (var global in program.Globals)
        {
            WriteGlobal(w, context, global);
        }

        WriteGlobalTable(w, context);
        context.Data.Write(w);
        foreach (var function in program.Functions)
        {
            if (function.EmbeddedCode is null)
            {
                w.Line(context.Signature(function) + ";");
            }
        }

        context.Embedded.WritePrototypes(w);
        if (program.Functions.Count > 0)
        {
            w.Line();
        }

        return new CTranslation(w + bodies.ToString() + tables + ScriptTable(context), context.Embedded.Unit(program));
    }

    private static string FirstSource(LoweredProgram program)
    {
        foreach (var probe in program.Probes)
        {
            if (probe.Span.Source is { IsTapset: false } source)
            {
                return ByteText.FromText(source.Path);
            }
        }

        return "a script";
    }

    private static void WriteGlobal(CWriter w, EmitContext context, Global global)
    {
        var name = context.Name(global);
        var linkage = context.Embedded.Shares(global) ? "" : "static ";
        if (global.Shape is { } shape)
        {
            var histogram = shape.Histogram switch { HistogramKind.Linear => "STAP_HIST_LINEAR", HistogramKind.Log => "STAP_HIST_LOG", _ => "STAP_HIST_NONE" };
            w.Line($"static const struct stap_shape {name}_shape = {{");
            w.Line($"\t.histogram = {histogram}, .variance = {Bit(shape.Variance)}, .shift = {shape.VarianceShift},");
            w.Line($"\t.show_sum = {Bit(shape.Sum)}, .show_min = {Bit(shape.Min)}, .show_max = {Bit(shape.Max)}, .buckets = {shape.BucketCount},");
            w.Line($"\t.low = {C.Long(shape.Low)}, .high = {C.Long(shape.High)}, .step = {C.Long(shape.Step)},");
            w.Line("};");
        }

        if (global.IsArray)
        {
            uint texts = 0;
            for (var i = 0; i < global.KeyTypes.Count; i++)
            {
                texts |= global.KeyTypes[i] == ScriptType.String ? 1u << i : 0;
            }

            var sorts = context.Sorts.GetValueOrDefault(global) + (global.ShowAtEnd ? 1 : 0);
            w.Line($"{linkage}struct stap_array {name} = {{");
            w.Line($"\t.name = {C.Literal(global.Name)}, .keys = {global.KeyTypes.Count}, .text_keys = 0x{texts:x}, .value = {TypeName(global.Type)},");
            w.Line($"\t.capacity = {global.MaxEntries}, .wraps = {Bit(global.Wraps)}, .orders = {Math.Min(sorts, 65535)}, .owned = {Bit(context.Locks.Of(global) == Access.Owned)}, .shape = {(global.Shape is null ? "NULL" : "&" + name + "_shape")},");
            w.Line("};");
            return;
        }

        switch (global.Type)
        {
            case ScriptType.Statistics:
                w.Line($"{linkage}struct stap_stats {name} = {{ &{name}_shape, NULL }};");
                break;
            case ScriptType.String:
                var most = context.Program.Limits.MaxStringLength - 1;
                var text = global.InitialString.Length > most ? global.InitialString[..most] : global.InitialString;
                w.Line($"{linkage}STAP_BUF({name}) = {{ .room = {{ {text.Length}, {C.Literal(text)} }} }};");
                break;
            default:
                w.Line($"{linkage}s64 {name} = {C.Long(global.InitialLong)};");
                break;
        }
    }

    private static void WriteGlobalTable(CWriter w, EmitContext context)
    {
        if (context.Program.Globals.Count == 0)
        {
            return;
        }

        w.Line();
        w.Open("static const struct stap_global globals[] =");
        foreach (var global in context.Program.Globals)
        {
            var name = context.Name(global);
            var flags = new List<string>();
            void Flag(bool set, string flag)
            {
                if (set)
                {
                    flags.Add(flag);
                }
            }

            Flag(global.ShowAtEnd, "STAP_SHOW");
            Flag(global.HoldsPointers, "STAP_HEX");
            Flag(context.Locks.IsLocked(global), "STAP_LOCKED");
            Flag(global.IsTapset, "STAP_TAPSET");
            var place = global.IsArray ? $".array = &{name}"
                : global.Type switch { ScriptType.String => $".text = &{name}.buf", ScriptType.Statistics => $".stats = &{name}", _ => $".number = &{name}" };
            w.Line($"{{ .name = {C.Literal(global.Name)}, .type = {TypeName(global.Type)}, .flags = {(flags.Count == 0 ? "0" : string.Join(" | ", flags))}, {place} }},");
        }

        w.Close(";");
        w.Line();
    }

    private static string ScriptTable(EmitContext context)
    {
        var program = context.Program;
        var limits = program.Limits;
        var w = new CWriter();
        var arguments = context.Options.Arguments;
        if (arguments.Count > 0)
        {
            w.Open("static const struct stap_str arguments[] =");
            foreach (var argument in arguments)
            {
                w.Line($"{{ {C.Literal(argument)}, {argument.Length} }},");
            }

            w.Close(";");
            w.Line();
        }

        w.Open("const struct stap_script stap_script =");
        w.Line($".name = {C.Literal(context.Options.ModuleName)},");
        w.Line(".api = STAP_API,");
        w.Line($".text_space = {new TextSpace(program, context.Facts.MaxNesting).Bytes()},");
        w.Line($".regex_scratch = {context.Data.RegexScratch},");
        w.Line($".regex_groups = {context.Data.RegexGroups},");
        w.Line($".global_count = {program.Globals.Count},");
        w.Line($".probe_count = {program.Probes.Count},");
        w.Line($".argument_count = {arguments.Count},");
        w.Line($".user_stacks = {Bit(context.Stacks.AsksForPrograms)},");
        w.Line($".globals = {(program.Globals.Count > 0 ? "globals" : "NULL")},");
        w.Line($".probes = {(program.Probes.Count > 0 ? "probes" : "NULL")},");
        w.Line($".arguments = {(arguments.Count > 0 ? "arguments" : "NULL")},");
        w.Open(".limits =");
        w.Line($".max_string = {limits.MaxStringLength},");
        w.Line($".max_action = {(limits.SuppressTimeLimits ? int.MaxValue : limits.MaxAction)},");
        w.Line($".max_nesting = {context.Facts.MaxNesting},");
        w.Line($".max_errors = {limits.MaxErrors},");
        w.Line($".max_skipped = {limits.MaxSkipped},");
        w.Line($".max_try_lock = {limits.MaxTryLock},");
        w.Line($".try_lock_delay = {limits.TryLockDelay},");
        w.Line($".hist_width = {limits.HistWidth},");
        w.Line($".hist_elision = {limits.HistElision},");
        w.Line($".max_back_trace = {limits.MaxBackTrace},");
        w.Line($".suppress_errors = {Bit(context.Options.SuppressHandlerErrors)},");
        w.Line($".hide_globals = {Bit(!context.Options.ShowGlobals)},");
        w.Line($".bulk = {Bit(context.Options.Bulk)},");
        w.Line($".overload_threshold = {(limits.SuppressTimeLimits || limits.Defines.ContainsKey("STP_NO_OVERLOAD") ? 0 : Cycles(limits, "STP_OVERLOAD_THRESHOLD", 500_000_000))}ull,");
        w.Line($".overload_interval = {Cycles(limits, "STP_OVERLOAD_INTERVAL", 1_000_000_000)}ull,");
        w.Close(",");
        w.Close(";");
        return w.ToString();
    }

    private static string TypeName(ScriptType type) => type switch
    {
        ScriptType.String => "STAP_STRING",
        ScriptType.Statistics => "STAP_STAT",
        _ => "STAP_LONG",
    };

    /// <summary>A number of cycles given with <c>-D</c>, or the usual one.</summary>
    private static long Cycles(Limits limits, string name, long usual) =>
        limits.Defines.TryGetValue(name, out var text) && long.TryParse(text.TrimEnd('L', 'U', 'l', 'u'), NumberStyles.None, CultureInfo.InvariantCulture, out var value) && value > 0 ? value : usual;

    private static string Bit(bool set) => set ? "1" : "0";
}
