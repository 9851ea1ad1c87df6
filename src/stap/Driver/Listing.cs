using SystemTap.Cli.CommandLine;
using SystemTap.Language.Diagnostics;
using SystemTap.Language.Parsing;
using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Runtime.Output;
using SystemTap.Semantics.Elaboration;
using SystemTap.Semantics.Listing;
using SystemTap.Semantics.Probes;
using SystemTap.Semantics.Tapsets;

namespace SystemTap.Cli.Driver;

internal sealed partial class SessionDriver
{
    /// <summary><c>-l -L --dump-…</c>: prints the list; status 1 when nothing matches.</summary>
    private int List(ProbeResolver resolver, ElaborationInput input, TapsetLibrary library)
    {
        var output = new StreamWriter(StandardStreams.Output(), System.Text.Encoding.Latin1, 1 << 16);
        switch (_options.Mode)
        {
            case Mode.DumpProbeTypes:
                Dumps.ProbeTypes(output);
                output.Flush();
                return 0;
            case Mode.DumpProbeAliases:
                Dumps.ProbeAliases(library.AllFiles(), output);
                output.Flush();
                return 0;
            case Mode.DumpFunctions:
                Dumps.Functions(library.AllFiles(), new LightTypes(library, library.AllFiles()), output);
                output.Flush();
                return 0;
        }

        var source = new SourceText("<input>", "probe " + _options.ListPattern + " { }");
        var options = new ParseOptions { Environment = PreprocessorEnvironment(), Macros = library.Macros, Arguments = _options.ScriptArguments };
        var points = new List<ProbePoint>();
        if (Parser.Parse(source, options, _diagnostics) is { } file)
        {
            foreach (var item in file.Items)
            {
                if (item is ProbeDefinition probe)
                {
                    points.AddRange(probe.Points);
                }
            }
        }

        if (PrintDiagnostics())
        {
            return Failed(1, "parse");
        }

        var quiet = new DiagnosticBag();
        var status = new ProbeLister(resolver, library, input.Files).List(points, _options.Mode == Mode.ListWithVariables, output, quiet);
        output.Flush();
        if (status == 0)
        {
            return 0;
        }

        foreach (var diagnostic in quiet.All)
        {
            _diagnostics.Add(diagnostic);
        }

        if (!PrintDiagnostics())
        {
            Console.Error.WriteLine($"ERROR: no probe point matches '{_options.ListPattern}'");
        }

        return 1;
    }
}
