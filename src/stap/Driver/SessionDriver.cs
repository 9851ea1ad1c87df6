using System.Text;
using SystemTap.Cli.CommandLine;
using SystemTap.Language.Diagnostics;
using SystemTap.Language.Formatting;
using SystemTap.Language.Parsing;
using SystemTap.Language.Preprocessing;
using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Probes;
using SystemTap.Semantics.Elaboration;
using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Tapsets;
using SystemTap.Bpf.Plan;
using SystemTap.Runtime.Host;
using SystemTap.Runtime.Output;
using SystemTap.Runtime.Sessions;
using SystemTap.Targets;
using Linux.Bpf;

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
    private readonly List<int> _unusedArguments = [];
    private int _printed;

    public SessionDriver(Options options)
    {
        _options = options;
        _moduleReason = ModuleReason(options);
        _target = KernelChoice.Find(options);
        _target.IsForLaterBoots = UsesModule && options.LastPass == 4;
        if (options.Architecture is { } architecture && architecture != _target.Architecture.Name)
        {
            throw new UsageException($"option '-a': architecture '{architecture}' is not this machine's ({_target.Architecture.Name})", "leave out -a");
        }

        if (options.TargetPid != 0 && !Directory.Exists($"/proc/{options.TargetPid}"))
        {
            throw new UsageException($"process {options.TargetPid} of option '-x' does not exist", "see 'ps -e' for the processes");
        }

        if (options.NamespacesOf is { } container)
        {
            SessionFacts.NamespaceOf = Directory.Exists($"/proc/{container}") ? container
                : throw new UsageException($"process {container} of option '--target-namespaces' does not exist", "see 'ps -e' for the processes");
        }
    }

    /// <summary>Runs the passes asked for; the exit status.</summary>
    public int Run()
    {
        if (_options.FlightRecorder && _options.OutputFile is not null && _options.LastPass == 5 && _options.Mode == Mode.Run && !Background.IsBackground)
        {
            return Background.Start();
        }

        if (_moduleReason is not null && _options.Runtime == "auto")
        {
            Report(1, $"{_moduleReason} is why this becomes a kernel module");
        }

        _signing = UsesModule ? SigningKey() : null;
        _runtime = BeginRuntime();
        try
        {
            return RunPasses();
        }
        finally
        {
            // After an error in the script: what was begun is finished, so that the next try finds it.
            _runtime?.Settle();
        }
    }

    private int RunPasses()
    {
        if (Front(out var status) is not { } program)
        {
            return _cannot is not null ? RunAsModule() : status;
        }

        if (UsesModule)
        {
            return RunModule(program);
        }

        status = RunBpf(program);
        return _cannot is not null ? RunAsModule() : status;
    }

    /// <summary>Passes 1 and 2. Null when the session ends here, with its status.</summary>
    private LoweredProgram? Front(out int status)
    {
        status = 0;
        // Pass 1: parse the script; the library's files are parsed when pass 2 asks for them.
        var clock = new PassClock(_options.Verbose(1));
        var environment = PreprocessorEnvironment();
        var library = new TapsetLibrary(new TapsetOptions { Directories = TapsetDirectories(), Environment = environment, Diagnostics = _diagnostics });
        var files = Parse(environment, library.Macros);
        if (files is null)
        {
            status = Failed(1, "parse");
            return null;
        }

        if (_options.LastPass == 1 && _options.Mode == Mode.Run)
        {
            foreach (var file in files)
            {
                Write(ScriptPrinter.PrintDump(file));
            }

            return null;
        }

        WarnUnusedArguments(files);
        Report(1, $"parsed user script and {library.FileCounts.Parsed} library scripts {clock}");

        // Pass 2: elaborate.
        clock = new PassClock(_options.Verbose(2));
        var limits = Limits();
        var (resolver, input) = Prepare(files, library, limits);
        if (_options.Mode != Mode.Run)
        {
            status = List(resolver, input, library);
            return null;
        }

        var elaborated = Elaborator.Elaborate(input);
        if (NeedsModule())
        {
            return null;
        }

        ReportUnusedArguments(elaborated);
        if (PrintDiagnostics() || elaborated.Program is not { } program)
        {
            if (_options.SemanticKeepGoing)
            {
                ListSemanticErrors();
            }

            status = Failed(2, "elaboration");
            return null;
        }

        Report(2, $"analyzed script: {program.Probes.Count} probes, {program.Functions.Count} functions, {program.Globals.Count} globals, {library.FileCounts.Parsed} of {library.FileCounts.Known} library scripts {clock}");
        if (_options.LastPass == 2)
        {
            Write(ElaboratedPrinter.Print(elaborated, _options.Verbose(2)));
            return null;
        }

        return program;
    }

    /// <summary>Passes 3 to 5 of a BPF session.</summary>
    private int RunBpf(LoweredProgram program)
    {
        // Pass 3: translate to BPF.
        var clock = new PassClock(_options.Verbose(3));
        var tables = TapsetDirectories().ConvertAll(d => Path.Combine(d, "tables"));
        var plan = Translate(program, tables, KernelFeatures(program));
        if (NeedsModule())
        {
            return 1;
        }

        if (PrintDiagnostics() || plan is null)
        {
            return Failed(3, "translation");
        }

        Report(3, $"translated to BPF: {plan.Programs.Count} programs, {plan.Maps.Count} maps, {plan.HostProbes.Count} probes run by stap {clock}");
        if (_options.LastPass == 3)
        {
            Write(PlanPrinter.Print(plan, _options.Verbose(3)));
            return 0;
        }

        return LoadAndRun(plan, tables, program);
    }

    private void WarnUnusedArguments(List<ScriptFile> files)
    {
        if (_options.Mode != Mode.Run)
        {
            return;
        }

        for (var n = 1; n <= _options.ScriptArguments.Count; n++)
        {
            if (!files.Exists(f => f.UsedArguments.Contains(n)))
            {
                _unusedArguments.Add(n);
            }
        }
    }

    // The argv tapset uses every argument; that it joined is known after pass 2.
    private void ReportUnusedArguments(ElaborationResult elaborated)
    {
        if (!elaborated.TapsetFiles.Any(f => Path.GetFileName(f.Source.Path) == "argv.stp"))
        {
            foreach (var n in _unusedArguments)
            {
                _diagnostics.Warn("cli.unused-argument", null, $"unused command line option ${n}/@{n}: \"{_options.ScriptArguments[n - 1]}\"");
            }
        }
    }

    /// <summary>Passes 4 and 5.</summary>
    private int LoadAndRun(BpfPlan plan, IReadOnlyList<string> tables, SystemTap.Semantics.Lowered.LoweredProgram program)
    {
        var clock = new PassClock(_options.Verbose(4));
        Session session;
        try
        {
            session = Load(ref plan, tables, program);
        }
        catch (Exception e) when (e is BpfException or IOException)
        {
            KernelComplaint.Print(e, _options.Verbose(4, 3));
            return Failed(4, "loading");
        }

        using (session)
        {
            Report(4, $"loaded {plan.Programs.Count} programs {clock}");
            if (_options.Verbose(4, 3))
            {
                foreach (var (loaded, facts) in plan.Programs.Zip(session.ProgramFacts()))
                {
                    Report(4, $"program {loaded.Name}: {loaded.Code.Slots.Length} instructions, {facts.VerifiedInstructions} walked by the verifier, {facts.JitedBytes} bytes of machine code");
                }
            }

            if (_options.LastPass == 4)
            {
                return 0;
            }

            clock = new PassClock(_options.Verbose(5));
            Report(5, "starting run.");
            try
            {
                var status = session.Run();
                Report(5, $"run completed {clock}");
                return status == 0 ? 0 : Failed(5, "run");
            }
            catch (Exception e) when (e is BpfException or IOException)
            {
                KernelComplaint.Print(e, _options.Verbose(5, 3));
                return Failed(5, "run");
            }
        }
    }

    /// <summary>Loads the programs. Where a function has no place for a trampoline, kprobes are tried instead: which have one is known to the kernel only.</summary>
    private Session Load(ref BpfPlan plan, IReadOnlyList<string> tables, SystemTap.Semantics.Lowered.LoweredProgram program)
    {
        try
        {
            return new Session(plan, SessionOptions(tables));
        }
        catch (BpfException) when (plan.Programs.Any(p => p.Attach is AttachPlan.Trampoline))
        {
            if (Translate(program, tables, KernelFeatures(program) with { Trampolines = false }) is not { } other)
            {
                throw;
            }

            plan = other;
            return new Session(plan, SessionOptions(tables));
        }
    }

    private SessionOptions SessionOptions(IReadOnlyList<string> tables) => new()
    {
        Command = _options.Command,
        TargetPid = _options.TargetPid,
        OutputFile = _options.OutputFile,
        RotateBytes = _options.RotateBytes,
        RotateKeep = _options.RotateKeep,
        Timeout = _options.TimeoutSeconds > 0 ? TimeSpan.FromSeconds(_options.TimeoutSeconds) : null,
        Timing = _options.Timing,
        Verbosity = _options.Verbosity[4],
        SuppressWarnings = _options.SuppressWarnings,
        SuppressHandlerErrors = _options.SuppressHandlerErrors,
        ShowGlobals = _options.ShowGlobals,
        InBackground = Background.IsBackground,
        Arguments = _options.ScriptArguments,
        ModuleName = ModuleName,
        TableFolders = tables,
        RingBytes = RingBytes(),
        Target = _target,
        SyscallName = number => _target.Architecture.Syscalls.Name(number),
        Diagnostics = _options.Verbose(5) ? Console.Error.WriteLine : null,
    };

    private void Report(int pass, string text)
    {
        if (_options.Verbose(pass))
        {
            Console.Error.WriteLine($"Pass {pass}: {text}");
        }
    }

    /// <summary>Pass 1: the user's scripts to syntax trees. Null after errors.</summary>
    private List<ScriptFile>? Parse(PreprocessorEnvironment environment, MacroTable macros)
    {
        var options = new ParseOptions
        {
            Arguments = _options.ScriptArguments,
            GuruMode = _options.Guru,
            Environment = environment,
            Macros = macros,
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
        Runtime = RuntimeName,
        Privilege = _options.Privilege switch { Privilege.User => "stapusr", Privilege.System => "stapsys", _ => "stapdev" },
        GuruMode = _options.Guru,
        CompatibleVersion = _options.CompatibleVersion,
        VersionDependent = _options.CheckVersion ? WarnVersionDependent : null,
        ConfigLookup = name => _target.KernelConfig[name],
    };

    // The library is made for the current version: only the user's scripts are of interest.
    private void WarnVersionDependent(SourceSpan span, string message)
    {
        if (!span.Source.IsTapset)
        {
            _diagnostics.Warn("cli.version-dependent", span, message, "--compatible=VERSION chooses the version");
        }
    }

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
            yield return ReadScript(_options.Example ? ExamplePath(path) : path);
        }

        foreach (var extra in _options.AdditionalScripts)
        {
            yield return new SourceText("<input>", extra);
        }
    }

    /// <summary>The example script of a name, with or without its ending.</summary>
    private static string ExamplePath(string name)
    {
        var folder = Path.Combine(Path.GetDirectoryName(Path.GetFullPath(BuiltInTapset()))!, "examples");
        var file = Path.HasExtension(name) ? name : name + ".stp";
        return Directory.Exists(folder) && Directory.EnumerateFiles(folder, Path.GetFileName(file), SearchOption.AllDirectories).FirstOrDefault() is { } found ? found
            : throw new UsageException($"no example is named '{name}'", $"see the scripts in '{folder}'");
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
        var (fatal, errors) = (false, false);
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

            errors |= diagnostic.Severity != Severity.Warning;
            printer.Print(diagnostic);
        }

        if (fatal && !errors)
        {
            Console.Error.WriteLine("ERROR: with -W a warning ends the session");
        }

        return fatal;
    }

    /// <summary>The errors of pass 2 once more, for programs that read them: one line each, fields apart by tabs.</summary>
    private void ListSemanticErrors()
    {
        var errors = _diagnostics.All.Where(d => d.Severity != Severity.Warning).ToList();
        Console.Error.WriteLine($"SEMANTIC_ERRORS: {errors.Count}");
        foreach (var error in errors)
        {
            var (path, (line, column), token) = error.Span is { } span ? (span.Source.Path, span.Position, span.Source.Content.Substring(span.Start, span.Length)) : ("", (0, 0), "");
            Console.Error.WriteLine($"SEMANTIC_ERROR\t{path}\t{line}\t{column}\t{token.ReplaceLineEndings(" ").Replace('\t', ' ')}\t{error.Message}");
        }

        Console.Error.WriteLine("SEMANTIC_ERRORS_END");
    }

    private int Failed(int pass, string what)
    {
        Console.Error.WriteLine($"Pass {pass}: {what} failed.");
        return 1;
    }

    /// <summary>Writes byte text to standard output.</summary>
    private static void Write(string text)
    {
        StandardStreams.Output().Write(ByteText.ForTerminal(text));
    }
}
