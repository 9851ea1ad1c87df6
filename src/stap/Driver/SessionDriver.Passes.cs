using SystemTap.Bpf;
using SystemTap.Bpf.Plan;
using SystemTap.Cli.CommandLine;
using SystemTap.Language.Diagnostics;
using SystemTap.Language.Syntax;
using SystemTap.Runtime.Host;
using SystemTap.Semantics.Elaboration;
using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Probes;
using SystemTap.Semantics.Probes.User;
using SystemTap.Semantics.Tapsets;
using SystemTap.Semantics.Targeting;

namespace SystemTap.Cli.Driver;

internal sealed partial class SessionDriver
{
    private static readonly string[] KnownLimits =
    [
        "MAXSTRINGLEN", "MAXACTION", "MAXACTION_INTERRUPTIBLE", "MAXNESTING", "MAXMAPENTRIES", "MAXERRORS", "MAXSKIPPED", "MAXTRYLOCK", "TRYLOCKDELAY",
        "HIST_WIDTH", "HIST_ELISION", "MAXBACKTRACE", "STP_PROCFS_BUFSIZE",
    ];

    private bool HasTarget => _options.Command is not null || _options.TargetPid != 0;

    /// <summary>Folder of the library: beside the program (<c>out/stap</c> and <c>tapset/</c> in a checkout), or where it is installed.</summary>
    private static string BuiltInTapset()
    {
        if (Environment.GetEnvironmentVariable("SYSTEMTAP_TAPSET") is { Length: > 0 } own)
        {
            return own;
        }

        foreach (var candidate in (string[])["../tapset", "tapset", "../share/systemtap-cs/tapset"])
        {
            var path = Path.GetFullPath(Path.Combine(AppContext.BaseDirectory, candidate));
            if (Directory.Exists(path))
            {
                return path;
            }
        }

        throw new UsageException($"the tapset library is missing: no folder 'tapset' near '{AppContext.BaseDirectory}'", "set SYSTEMTAP_TAPSET to the folder");
    }

    private List<string> TapsetDirectories()
    {
        if (Environment.GetEnvironmentVariable("SYSTEMTAP_TAPSET") is { Length: > 0 } own && !Directory.Exists(own))
        {
            _diagnostics.Warn("cli.no-tapset-folder", null, $"folder '{own}' of SYSTEMTAP_TAPSET does not exist: the library is missing");
        }

        foreach (var directory in _options.IncludeDirectories)
        {
            if (!Directory.Exists(directory))
            {
                _diagnostics.Warn("cli.no-include-folder", null, $"folder '{directory}' of option '-I' does not exist");
            }
        }

        return TapsetPaths.Default(BuiltInTapset(), _options.IncludeDirectories);
    }

    /// <summary>The limits after <c>-D</c>.</summary>
    private Limits Limits()
    {
        var values = new Dictionary<string, long>();
        var defines = new Dictionary<string, string>();
        foreach (var (name, value) in _options.Defines)
        {
            defines[name] = value;
            if (Array.IndexOf(KnownLimits, name) >= 0)
            {
                values[name] = long.TryParse(value, out var number) && number is >= int.MinValue and <= int.MaxValue
                    ? number
                    : throw new UsageException($"option '-D': the value of {name}, '{value}', is not a number", $"write for instance -D{name}=1000");
            }
            else if (Suggestions.Nearest(name, KnownLimits) is { } near)
            {
                // Any other name is a macro for embedded C.
                _diagnostics.Warn("cli.unknown-limit", null, $"option '-D': there is no limit '{name}'", $"did you mean '{near}'?");
            }
        }

        int Get(string name, int standard, int min, int max)
        {
            if (!values.TryGetValue(name, out var value))
            {
                return standard;
            }

            return value >= min && value <= max ? (int)value
                : throw new UsageException($"option '-D': {name}={value} is out of range", $"use {min} to {max}");
        }

        var action = Get("MAXACTION", 1000, 1, int.MaxValue / 10);
        return new Limits
        {
            MaxStringLength = Get("MAXSTRINGLEN", 512, 8, 16384),
            MaxAction = Get("MAXACTION_INTERRUPTIBLE", action * 10, 1, int.MaxValue),
            MaxNesting = Get("MAXNESTING", 0, 1, 1000),
            MaxMapEntries = Get("MAXMAPENTRIES", 2048, 1, int.MaxValue / 64),
            MaxErrors = Get("MAXERRORS", 0, 0, int.MaxValue) is var errors && _options.SuppressHandlerErrors ? int.MaxValue : errors,
            MaxSkipped = Get("MAXSKIPPED", 100, 0, int.MaxValue),
            MaxTryLock = Get("MAXTRYLOCK", 100, 1, 1 << 20),
            TryLockDelay = Get("TRYLOCKDELAY", 10, 1, 1 << 20),
            HistWidth = Get("HIST_WIDTH", 50, 1, 1000),
            HistElision = Get("HIST_ELISION", 2, -1, 1000),
            MaxBackTrace = Get("MAXBACKTRACE", 20, 1, 127),
            ProcfsBufferSize = Get("STP_PROCFS_BUFSIZE", 0, 0, 1 << 24),
            SuppressTimeLimits = _options.SuppressTimeLimits,
            Defines = defines,
        };
    }

    /// <summary>Pass 2: everything the listing modes and elaboration share.</summary>
    private (ProbeResolver Resolver, ElaborationInput Input) Prepare(IReadOnlyList<ScriptFile> files, TapsetLibrary library, Limits limits)
    {
        var resolver = new ProbeResolver(new ResolveScope(_target, _diagnostics, HasTarget, RuntimeName) { Granted = _options.Privilege, TargetProgram = TargetProgram(), Obstacle = Obstacle }, library, files);
        var input = new ElaborationInput
        {
            Files = files,
            Library = library,
            Expander = new ResolverExpander(resolver),
            TargetBinder = new TargetBinder(_target, _diagnostics, limits.MaxStringLength),
            Target = _target,
            Diagnostics = _diagnostics,
            Options = new ElaborationOptions
            {
                GuruMode = _options.Guru,
                Privilege = _options.Privilege,
                Unoptimized = _options.Unoptimized,
                NoWarnings = _options.SuppressWarnings,
                CompatibleVersion = _options.CompatibleVersion is { } version ? Version.Parse(version.Contains('.') ? version : version + ".0") : null,
                Runtime = RuntimeName,
                HasTargetProcess = HasTarget,
                Limits = limits,
                GlobalOverrides = _options.Globals.GroupBy(g => g.Name).ToDictionary(g => g.Key, g => g.Last().Value),
                ScriptArguments = _options.ScriptArguments,
                SkipBadVars = _options.SkipBadVariables,
            },
        };
        return (resolver, input);
    }

    /// <summary>The program of -x or -c, as an ELF file; null without one.</summary>
    private string? TargetProgram() =>
        _options.TargetPid != 0 ? TargetPrograms.OfProcess(_target, _options.TargetPid)
        : _options.Command is { } command ? TargetPrograms.OfCommand(command) : null;

    /// <summary>Pass 3. Null after a located "cannot".</summary>
    private BpfPlan? Translate(LoweredProgram program, IReadOnlyList<string> tableFolders, BpfFeatures features)
    {
        try
        {
            return BpfCompiler.Compile(program, _target, new BpfOptions
            {
                Features = features,
                HasTarget = HasTarget,
                StapPid = Environment.ProcessId,
                SessionUid = SessionFacts.SessionUid,
                PidNamespace = SessionFacts.Namespace("pid"),
                UserNamespace = SessionFacts.Namespace("user"),
                UserIds = SessionFacts.UserIds,
                GroupIds = SessionFacts.GroupIds,
                ModuleName = ModuleName,
                Arguments = _options.ScriptArguments,
                TimeZoneOffset = -(long)TimeZoneInfo.Local.GetUtcOffset(DateTime.UtcNow).TotalSeconds,
                TimeZoneName = LocalZone.Abbreviation(),
                ReadTable = name => ReadTable(tableFolders, name),
                RingBytes = RingBytes(),
            });
        }
        catch (BpfCannotException e)
        {
            _diagnostics.Add(new Diagnostic("bpf.cannot", Severity.SemanticError, e.Message, e.Span)
            {
                Hint = e.Hint ?? ModuleHint(),
            });
            return null;
        }
    }

    private string ModuleName => _options.ModuleName ?? $"stap_{Environment.ProcessId}";

    /// <summary><c>-s</c> megabytes for each CPU as one ring: a power of two.</summary>
    private int RingBytes()
    {
        if (_options.BufferMegabytes == 0)
        {
            return 4 << 20;
        }

        var wanted = Math.Min(((long)_options.BufferMegabytes << 20) * _target.OnlineCpus.Count, 1 << 30);
        return (int)System.Numerics.BitOperations.RoundUpToPowerOf2((ulong)wanted);
    }

    private static string? ReadTable(IReadOnlyList<string> folders, string name)
    {
        foreach (var folder in folders)
        {
            var path = Path.Combine(folder, name + ".tbl");
            if (File.Exists(path))
            {
                return File.ReadAllText(path);
            }
        }

        return null;
    }
}
