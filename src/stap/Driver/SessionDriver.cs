using System.Text;
using SystemTap.Cli.CommandLine;
using SystemTap.Language.Diagnostics;
using SystemTap.Language.Formatting;
using SystemTap.Language.Parsing;
using SystemTap.Language.Preprocessing;
using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Probes;
using SystemTap.Targets;

namespace SystemTap.Cli.Driver;

/// <summary>
/// A session in five passes (docs/architecture.md): parse, elaborate, translate, load, run. Each pass is one method; a pass that
/// fails prints its diagnostics and ends the session with status 1.
/// </summary>
internal sealed partial class SessionDriver
{
    private readonly Options _options;
    private readonly DiagnosticBag _diagnostics = new();
    private readonly Target _target;
    private int _printed;

    public SessionDriver(Options options)
    {
        _options = options;
        _target = options.KernelRelease is { } release && release != Target.Live().Release
            ? throw new UsageException($"option '-r': kernel '{release}' is not the running one", "BPF sessions run on this kernel; leave out -r")
            : Target.Live();
        if (options.Architecture is { } architecture && architecture != _target.Architecture.Name)
        {
            throw new UsageException($"option '-a': architecture '{architecture}' is not this machine's ({_target.Architecture.Name})", "leave out -a");
        }

        if (options.Runtime == "kernel")
        {
            throw new UsageException("the kernel-module runtime is not available in this version", "use --runtime=bpf or leave the option out");
        }
    }

    public int Run()
    {
        var files = Parse();
        if (files is null)
        {
            return Failed(1, "parse");
        }

        if (_options.LastPass == 1 && _options.Mode == Mode.Run)
        {
            foreach (var file in files)
            {
                Write(ScriptPrinter.PrintDump(file));
            }

            return 0;
        }

        return 0;
    }

    /// <summary>Pass 1: the user's scripts to syntax trees. Null after errors.</summary>
    private List<ScriptFile>? Parse()
    {
        var options = new ParseOptions
        {
            Arguments = _options.ScriptArguments,
            GuruMode = _options.Guru,
            Environment = PreprocessorEnvironment(),
        };
        var files = new List<ScriptFile>();
        foreach (var source in Sources())
        {
            if (Parser.Parse(source, options, _diagnostics) is { } file)
            {
                files.Add(file);
            }
        }

        return PrintDiagnostics() ? null : files;
    }

    private PreprocessorEnvironment PreprocessorEnvironment() => new()
    {
        KernelVersion = _target.Version,
        KernelRelease = _target.Release,
        Architecture = _target.Architecture.Name,
        Runtime = "bpf",
        Privilege = _options.Privilege switch { Privilege.User => "stapusr", Privilege.System => "stapsys", _ => "stapdev" },
        GuruMode = _options.Guru,
        CompatibleVersion = _options.CompatibleVersion,
        ConfigLookup = name => _target.KernelConfig[name],
    };

    private IEnumerable<SourceText> Sources()
    {
        if (_options.ScriptText is { } text)
        {
            yield return new SourceText("<input>", text);
        }
        else if (_options.ScriptFile == "-")
        {
            using var input = Console.OpenStandardInput();
            using var buffer = new MemoryStream();
            input.CopyTo(buffer);
            yield return new SourceText("<input>", Encoding.Latin1.GetString(buffer.GetBuffer(), 0, (int)buffer.Length));
        }
        else if (_options.ScriptFile is { } path)
        {
            yield return ReadScript(path);
        }

        foreach (var extra in _options.AdditionalScripts)
        {
            yield return new SourceText("<input>", extra);
        }
    }

    private static SourceText ReadScript(string path)
    {
        try
        {
            return Directory.Exists(path)
                ? throw new UsageException($"script '{path}' is a folder", "name a file")
                : SourceText.Load(path);
        }
        catch (FileNotFoundException)
        {
            throw new UsageException($"script '{path}' does not exist", "give the name of a file, '-' for standard input, or -e SCRIPT");
        }
        catch (DirectoryNotFoundException)
        {
            throw new UsageException($"script '{path}' does not exist", "give the name of a file, '-' for standard input, or -e SCRIPT");
        }
        catch (UnauthorizedAccessException)
        {
            throw new UsageException($"script '{path}' cannot be read: permission denied", "check the file's permissions");
        }
        catch (IOException e)
        {
            throw new UsageException($"script '{path}' cannot be read: {e.Message}", "check the file");
        }
    }

    /// <summary>Prints what came in since the last call. True when the session must end.</summary>
    private bool PrintDiagnostics()
    {
        var printer = new DiagnosticPrinter(Console.Error, _options.Color ? DiagnosticColors.Parse(Environment.GetEnvironmentVariable("SYSTEMTAP_COLORS")) : null);
        var fatal = false;
        for (; _printed < _diagnostics.All.Count; _printed++)
        {
            var diagnostic = _diagnostics.All[_printed];
            if (diagnostic.Severity == Severity.Warning)
            {
                if (_options.SuppressWarnings)
                {
                    continue;
                }

                fatal |= _options.WarningsAreErrors;
            }
            else
            {
                fatal = true;
            }

            printer.Print(diagnostic);
        }

        return fatal;
    }

    private int Failed(int pass, string what)
    {
        Console.Error.WriteLine($"Pass {pass}: {what} failed.");
        return 1;
    }

    /// <summary>Writes byte text to standard output.</summary>
    private static void Write(string text)
    {
        using var output = Console.OpenStandardOutput();
        output.Write(Encoding.Latin1.GetBytes(text));
    }
}
