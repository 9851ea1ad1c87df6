using System.Text;
using SystemTap.Language.Syntax;
using SystemTap.Semantics.Probes;

namespace SystemTap.Semantics.Listing;

/// <summary><c>--dump-probe-types</c>, <c>--dump-probe-aliases</c>, <c>--dump-functions</c>: sorted, one on each line.</summary>
public static class Dumps
{
    /// <summary>Every native form: <c>timer.s(number).randomize(number)</c>.</summary>
    public static void ProbeTypes(TextWriter output)
    {
        var lines = new List<string>();
        foreach (var family in ProbeFamilies.All)
        {
            if (!family.IsAvailable)
            {
                continue;
            }

            foreach (var form in family.Forms)
            {
                var text = new StringBuilder();
                foreach (var component in form)
                {
                    text.Append(text.Length == 0 ? "" : ".").Append(component.Name).Append(component.Argument switch
                    {
                        ComponentArgument.Number => "(number)",
                        ComponentArgument.String => "(string)",
                        _ => "",
                    });
                }

                lines.Add(text.ToString());
            }
        }

        Write(lines, output);
    }

    /// <summary>Every alias whose name does not begin with an underscore: <c>NAME = POINT, POINT</c>.</summary>
    public static void ProbeAliases(IEnumerable<ScriptFile> files, TextWriter output)
    {
        var lines = new List<string>();
        foreach (var file in files)
        {
            foreach (var item in file.Items)
            {
                if (item is not AliasDefinition alias)
                {
                    continue;
                }

                var points = new StringBuilder();
                foreach (var point in alias.Points)
                {
                    points.Append(points.Length == 0 ? "" : ", ").Append(point).Append(point.IsSufficient ? "!" : point.IsOptional ? "?" : "");
                }

                foreach (var name in alias.Names)
                {
                    var text = name.ToString();
                    if (text[0] != '_')
                    {
                        lines.Add(text + (alias.IsEpilogueStyle ? " += " : " = ") + points);
                    }
                }
            }
        }

        Write(lines, output);
    }

    /// <summary>Every public function whose name does not begin with an underscore: <c>name:type (parameter:type, …)</c>.</summary>
    public static void Functions(IEnumerable<ScriptFile> files, LightTypes types, TextWriter output)
    {
        var lines = new List<string>();
        foreach (var file in files)
        {
            foreach (var item in file.Items)
            {
                if (item is not FunctionDefinition { IsPrivate: false } function || function.Name[0] == '_')
                {
                    continue;
                }

                var signature = types.Of(function);
                var text = new StringBuilder(function.Name).Append(':').Append(Type(signature.Return)).Append(" (");
                for (var i = 0; i < signature.Parameters.Length; i++)
                {
                    text.Append(i == 0 ? "" : ", ").Append(function.Parameters[i].Name).Append(':').Append(Type(signature.Parameters[i]));
                }

                lines.Add(text.Append(')').ToString());
            }
        }

        Write(lines, output);
    }

    internal static string Type(TypeAnnotation type) => type switch
    {
        TypeAnnotation.Long => "long",
        TypeAnnotation.String => "string",
        _ => "unknown",
    };

    private static void Write(List<string> lines, TextWriter output)
    {
        lines.Sort(StringComparer.Ordinal);
        string? last = null;
        foreach (var line in lines)
        {
            if (line != last)
            {
                output.Write(line);
                output.Write('\n');
            }

            last = line;
        }
    }
}
