using System.Globalization;
using System.Text;
using SystemTap.Language.Syntax;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Semantics.Elaboration;

/// <summary>
/// The text of <c>-p2</c>: sections for embedded code, globals, functions and probes, each only when there is something in it. Bodies follow when verbose; they are
/// the lowered ones, so an inlined library call shows as the built-in it became.
/// </summary>
public static class ElaboratedPrinter
{
    /// <summary>Prints a successful elaboration.</summary>
    public static string Print(ElaborationResult result, bool verbose)
    {
        var program = result.Program ?? throw new ArgumentException("nothing was elaborated", nameof(result));
        var text = new StringBuilder();
        if (program.EmbeddedC.Count > 0)
        {
            text.Append("# global embedded code\n");
            foreach (var block in program.EmbeddedC)
            {
                text.Append("%{").Append(block.Code).Append("%}\n");
            }
        }

        if (program.Globals.Count > 0)
        {
            text.Append("# globals\n");
            foreach (var global in program.Globals)
            {
                PrintGlobal(text, global, program.Limits);
            }
        }

        if (program.Functions.Count > 0)
        {
            text.Append("# functions\n");
            foreach (var function in program.Functions)
            {
                PrintFunction(text, function, verbose);
            }
        }

        text.Append("# probes\n");
        for (var i = 0; i < program.Probes.Count; i++)
        {
            PrintProbe(text, program.Probes[i], result.Origins[i], verbose);
        }

        return text.ToString();
    }

    private static string TypeName(ScriptType type) => type switch
    {
        ScriptType.Long => "long",
        ScriptType.String => "string",
        ScriptType.Statistics => "stats",
        _ => "unknown",
    };

    private static void PrintGlobal(StringBuilder text, Global global, Limits limits)
    {
        text.Append(global.Name);
        if (global.Wraps)
        {
            text.Append('%');
        }

        if (global.IsArray && global.MaxEntries != limits.MaxMapEntries)
        {
            text.Append('[').Append(global.MaxEntries).Append(']');
        }

        text.Append(':').Append(TypeName(global.Type));
        if (global.IsArray)
        {
            text.Append(" [");
            for (var i = 0; i < global.KeyTypes.Count; i++)
            {
                text.Append(i > 0 ? ", " : "").Append(TypeName(global.KeyTypes[i]));
            }

            text.Append(']');
        }
        else if (global is { Type: ScriptType.Long, InitialLong: not 0 })
        {
            text.Append(" = ").Append(global.InitialLong.ToString(CultureInfo.InvariantCulture));
        }
        else if (global is { Type: ScriptType.String, InitialString.Length: > 0 })
        {
            text.Append(" = ").Append(StringEscapes.Quote(global.InitialString));
        }

        text.Append('\n');
    }

    private static void PrintFunction(StringBuilder text, Function function, bool verbose)
    {
        text.Append(function.Name).Append(':').Append(TypeName(function.ReturnType)).Append(" (");
        for (var i = 0; i < function.ParameterCount; i++)
        {
            text.Append(i > 0 ? ", " : "").Append(function.Locals[i].Name).Append(':').Append(TypeName(function.Locals[i].Type));
        }

        text.Append(")\n");
        PrintLocals(text, function.Locals, function.ParameterCount);
        if (!verbose)
        {
            return;
        }

        if (function.EmbeddedCode is { } code)
        {
            text.Append("%{").Append(code).Append("%}\n");
        }
        else
        {
            PrintBody(text, function.Body);
        }
    }

    private static void PrintLocals(StringBuilder text, IReadOnlyList<Local> locals, int from)
    {
        if (from >= locals.Count)
        {
            return;
        }

        text.Append("  # locals\n");
        for (var i = from; i < locals.Count; i++)
        {
            text.Append("  ").Append(locals[i].Name).Append(':').Append(TypeName(locals[i].Type)).Append('\n');
        }
    }

    private static void PrintBody(StringBuilder text, Stmt body)
    {
        text.Append("{\n");
        var lines = LoweredPrinter.Print(body);
        if (lines.Length > 0)
        {
            text.Append("  ").Append(lines.Replace("\n", "\n  ")).Append('\n');
        }

        text.Append("}\n");
    }

    private static void PrintProbe(StringBuilder text, Probe probe, ProbeOrigin origin, bool verbose)
    {
        text.Append(probe.PointText);
        if (origin.IsSynthetic)
        {
            text.Append(" /* entry of ").Append(probe.Name).Append(" */");
        }
        else
        {
            text.Append(" /* <- ");
            for (var i = origin.Aliases.Count - 1; i >= 0; i--)
            {
                text.Append(i == 0 ? probe.Name : origin.Aliases[i]).Append(i > 0 ? " <- " : "");
            }

            text.Append(origin.Aliases.Count == 0 ? probe.Name : "").Append(" */");
        }

        text.Append('\n');
        PrintLocals(text, probe.Locals, 0);
        if (verbose)
        {
            PrintBody(text, probe.Body);
        }
    }
}
