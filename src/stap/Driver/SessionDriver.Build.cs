using SystemTap.Cli.CommandLine;
using SystemTap.KernelModule.Building;
using SystemTap.KernelModule.Translation;
using SystemTap.Language.Diagnostics;
using SystemTap.Runtime.Host;
using SystemTap.Runtime.Modules;
using SystemTap.Targets;

namespace SystemTap.Cli.Driver;

// Which runtime a session gets, and passes 4 and 5 of the kernel-module runtime.
//
// auto: BPF, unless the command line asks for a module: -B, -b, -r with another kernel, -p4 with -m or -k. (A BPF session has no temporary folder: -k alone keeps nothing.) A script that BPF cannot run – a located "cannot" of pass 2
// or 3 – starts again as a module when the kernel's headers and a compiler are there; -v says so. When they are not, the refusal's hint says what is missing.
internal sealed partial class SessionDriver
{
    private string? _cannot;
    private PreparedRuntime? _runtime;
    private readonly string? _moduleReason;
    private (string Key, string Certificate)? _signing;

    /// <summary>What asks for a module before anything of the script is known; null: nothing does.</summary>
    private static string? ModuleReason(Options options)
    {
        if (options.Runtime != "auto" || options.Mode != Mode.Run || options.LastPass < 3)
        {
            return options.Runtime == "kernel" ? "option '--runtime=kernel'" : null;
        }

        return options.Bulk ? "option '-b', a file of output for each CPU,"
            : options.MustSign ? "option '--sign-module'"
            : options.BuildVariables.Count > 0 && HasBuildTree(options) ? "option '-B'"
            : options.ModuleName is not null && options.LastPass == 4 ? "option '-m' with '-p4'"
            : options.KeepTemporary && options.LastPass == 4 ? "option '-k' with '-p4'"
            : options.KernelRelease is { } release && release != Target.Live().Release ? "option '-r', another kernel than the running one,"
            : null;
    }

    // What -B says of a build means nothing where nothing can be built: BPF sessions have no use for it.
    private static bool HasBuildTree(Options options)
    {
        try
        {
            _ = BuildTree.Find(options.KernelRelease, Target.Live().Release);
            return true;
        }
        catch (ModuleBuildException)
        {
            return options.LastPass == 4;
        }
    }

    /// <summary>Why the module runtime cannot build on this machine; null when it can.</summary>
    private string? ModuleObstacle()
    {
        try
        {
            ModuleBuilder.CheckCompiler(Tree(), _options.BuildVariables);
            return null;
        }
        catch (ModuleBuildException e)
        {
            return $"{e.Message}; {e.Hint}";
        }
    }

    private string ModuleHint() => _options.Runtime == "bpf" ? "the kernel-module runtime could: leave out --runtime=bpf"
        : $"the kernel-module runtime could, but {ModuleObstacle() ?? "it was not chosen"}";

    /// <summary>True when all errors so far are things that only BPF cannot do and the session can go on as a module.</summary>
    private bool NeedsModule()
    {
        if (UsesModule || _options.Runtime != "auto" || _options.Mode != Mode.Run)
        {
            return false;
        }

        var errors = _diagnostics.All.Skip(_printed).Where(d => d.Severity != Severity.Warning).ToList();
        if (errors.Count == 0 || errors.Exists(d => !d.Code.Contains("cannot", StringComparison.Ordinal)) || ModuleObstacle() is not null)
        {
            return false;
        }

        _cannot = errors[0].Message;
        return true;
    }

    private int RunAsModule()
    {
        Report(3, $"the BPF runtime cannot run this script ({_cannot}); it becomes a kernel module");
        _options.Runtime = "kernel";
        return new SessionDriver(_options).Run();
    }

    private BuildTree Tree() => BuildTree.Find(_options.KernelRelease ?? Environment.GetEnvironmentVariable("SYSTEMTAP_RELEASE"), _target.Release);

    /// <summary>Begins with the module's run-time, beside passes 1 to 3. Nothing is said here of what stands in the way: pass 4 does.</summary>
    private PreparedRuntime? BeginRuntime()
    {
        try
        {
            return UsesModule && _options.Mode == Mode.Run && _options.LastPass >= 4
                ? PreparedRuntime.Begin(Tree(), RuntimeFolder(), KernelChoice.CacheFolder, _options.BuildVariables, _options.Verbose(4, 2) ? Console.Error.WriteLine : null) : null;
        }
        catch (ModuleBuildException)
        {
            return null;
        }
    }

    /// <summary>Pass 4 and, unless it is the last, 5.</summary>
    private int BuildAndRun(CTranslation translation)
    {
        var clock = new PassClock(_options.Verbose(4));
        var work = WorkFolder();
        try
        {
            string module, release;
            try
            {
                var tree = Tree();
                release = tree.Release;
                module = ModuleBuilder.Build(new ModuleRequest
                {
                    Tree = tree,
                    Script = translation.Script + string.Concat(_options.ModuleInformation.Select((text, n) =>
                        $"static const char stap_information_{n}[] __attribute__((used, section(\".modinfo\"), aligned(1))) = \"{text}\";\n")),
                    Embedded = translation.Embedded,
                    Name = OwnModuleName(translation),
                    RuntimeFolder = RuntimeFolder(),
                    CacheFolder = KernelChoice.CacheFolder,
                    WorkFolder = work,
                    Variables = _options.BuildVariables,
                    UseCache = _options.UseModuleCache && !_options.KeepTemporary,
                    Signing = _signing,
                    Runtime = _runtime,
                    Echo = _options.Verbose(4, 2) ? Console.Error.WriteLine : null,
                });
            }
            catch (ModuleBuildException e)
            {
                Console.Error.WriteLine($"ERROR: {(_options.Runtime == "auto" ? $"{_moduleReason} needs the kernel-module runtime: " : "")}{e.Message}\nhint: {e.Hint}");
                return Failed(4, "compilation");
            }

            if (_options.ModuleName is not null || _options.LastPass == 4)
            {
                module = Publish(module, release);
            }

            Report(4, $"compiled C into \"{Path.GetFileName(module)}\" {clock}");
            if (_options.LastPass == 4)
            {
                Console.Out.WriteLine(module);
                return 0;
            }

            return RunModuleFile(module);
        }
        finally
        {
            if (_options.KeepTemporary)
            {
                Console.Error.WriteLine($"Keeping temporary directory \"{work}\"");
            }
            else
            {
                Directory.Delete(work, recursive: true);
            }
        }
    }

    private int RunModuleFile(string module)
    {
        var clock = new PassClock(_options.Verbose(5));
        Report(5, "starting run.");
        try
        {
            int status;
            using (var session = ModuleSession.Load(module, SessionOptions([]) with { TimeZoneName = LocalZone.Abbreviation(), RingBytes = Math.Min(_options.BufferMegabytes, 1024) << 20 }))
            {
                status = session.Run(detach: _options.FlightRecorder && _options.OutputFile is null);
            }

            Report(5, $"run completed {clock}");
            return status == 0 ? 0 : Failed(5, "run");
        }
        catch (ModuleException e)
        {
            Console.Error.WriteLine(e.Hint is null ? $"ERROR: {e.Message}" : $"ERROR: {e.Message}\nhint: {e.Hint}");
            return Failed(5, "run");
        }
        catch (IOException e)
        {
            Console.Error.WriteLine($"ERROR: {e.Message}");
            return Failed(5, "run");
        }
    }

    private static string WorkFolder()
    {
        try
        {
            return Directory.CreateTempSubdirectory("stap").FullName;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UsageException($"no folder can be made in '{Path.GetTempPath()}' to build the module in", "set TMPDIR to a folder that you may write, with room");
        }
    }

    /// <summary>With <c>-m</c> the module goes into the current folder, else, for <c>-p4</c>, into the cache, apart for each kernel: their names are alike.</summary>
    private string Publish(string module, string release)
    {
        var folder = _options.ModuleName is not null ? Directory.GetCurrentDirectory() : Directory.CreateDirectory(Path.Combine(KernelChoice.CacheFolder, "modules", release)).FullName;
        var path = Path.Combine(folder, Path.GetFileName(module));
        File.Copy(module, path, overwrite: true);
        return path;
    }

    /// <summary>The name of <c>-m</c>; for <c>-p4</c> one that depends on the script alone; else one for this process.</summary>
    private string OwnModuleName(CTranslation translation) => _options.ModuleName
        ?? (_options.LastPass == 4
            ? "stap_" + ContentKey.Of(translation.Script + translation.Embedded)
            : $"stap_{Environment.ProcessId}");

    /// <summary>The C run-time: <c>-R</c>, SYSTEMTAP_RUNTIME, or beside the tapset library.</summary>
    private string RuntimeFolder()
    {
        if (_options.RuntimeDirectory is { } given)
        {
            return given;
        }

        return Environment.GetEnvironmentVariable("SYSTEMTAP_RUNTIME") is { Length: > 0 } own ? own : Path.GetFullPath(Path.Combine(BuiltInTapset(), "..", "runtime"));
    }

    /// <summary><c>SYSTEMTAP_SIGN_KEY</c> and <c>SYSTEMTAP_SIGN_CERT</c>, or <c>signing_key.pem</c> and <c>signing_key.x509</c> in SYSTEMTAP_DIR.</summary>
    /// <exception cref="UsageException">There is none, and <c>--sign-module</c> asks for one.</exception>
    private (string, string)? SigningKey()
    {
        if (Environment.GetEnvironmentVariable("SYSTEMTAP_NOSIGN") is { Length: > 0 })
        {
            return null;
        }

        if (Environment.GetEnvironmentVariable("SYSTEMTAP_SIGN_KEY") is { Length: > 0 } key && Environment.GetEnvironmentVariable("SYSTEMTAP_SIGN_CERT") is { Length: > 0 } certificate)
        {
            return (key, certificate);
        }

        var folder = Environment.GetEnvironmentVariable("SYSTEMTAP_DIR") is { Length: > 0 } own ? own : Path.Combine(Environment.GetEnvironmentVariable("HOME") ?? "/", ".systemtap");
        var (pem, x509) = (Path.Combine(folder, "signing_key.pem"), Path.Combine(folder, "signing_key.x509"));
        return File.Exists(pem) && File.Exists(x509) ? (pem, x509)
            : !_options.MustSign ? null
            : throw new UsageException($"option '--sign-module': there is no key: neither SYSTEMTAP_SIGN_KEY and SYSTEMTAP_SIGN_CERT nor '{pem}' with its '{Path.GetFileName(x509)}'",
                "make a key and its certificate with 'openssl req -new -x509 -newkey rsa:2048 -nodes', and make the certificate known with 'mokutil --import'");
    }
}
