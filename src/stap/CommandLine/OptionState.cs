using System.Globalization;
using SystemTap.Language.Text;
using SystemTap.Semantics.Probes;

namespace SystemTap.Cli.CommandLine;

internal static partial class OptionParser
{
    /// <summary>What each option does to <see cref="Options"/>, and the checks that need more than one option.</summary>
    private sealed class State(Options options)
    {
        private bool _hasScriptSource;
        private bool _privilegeGiven;

        public void Word(string word)
        {
            if (_hasScriptSource || options.Mode is Mode.List or Mode.ListWithVariables)
            {
                options.ScriptArguments.Add(word);
            }
            else
            {
                options.ScriptFile = ByteText.ToText(word);
                _hasScriptSource = true;
            }
        }

        public void Flag(char c)
        {
            switch (c)
            {
                case 'h': options.Mode = Mode.Help; break;
                case 'V': options.Mode = Mode.Version; break;
                case 'v':
                    for (var i = 0; i < options.Verbosity.Length; i++)
                    {
                        options.Verbosity[i]++;
                    }

                    break;
                case 't': options.Timing = true; break;
                case 'k': options.KeepTemporary = true; break;
                case 'g': options.Guru = true; break;
                case 'b': options.Bulk = true; break;
                case 'u': options.Unoptimized = true; break;
                case 'w': options.SuppressWarnings = true; break;
                case 'W': options.WarningsAreErrors = true; break;
                case 'F': options.FlightRecorder = true; break;
                case 'P': break; // Parameters are looked for behind the prologue wherever the debug information tells where that is.
                case 'q': throw new UsageException("option '-q': coverage of the tapset library is not recorded", "leave it out; -v tells how many library scripts were used");
                case 'i': options.Mode = Mode.Interactive; break;
                default: throw new UsageException($"option '-{c}' has no function", "leave it out");
            }
        }

        public void Valued(char c, string value)
        {
            switch (c)
            {
                case 'p': options.LastPass = (int)Number("-p", value, 1, 5); break;
                case 'I': options.IncludeDirectories.Add(ByteText.ToText(value)); break;
                case 'e': Script(value); break;
                case 'E': options.AdditionalScripts.Add(value); break;
                case 'o': options.OutputFile = ByteText.ToText(value); break;
                case 'R': options.RuntimeDirectory = ByteText.ToText(value); break;
                case 'r': options.KernelRelease = ByteText.ToText(value); break;
                case 'a': options.Architecture = value; break;
                case 'm': options.ModuleName = CheckModuleName(value); break;
                case 'c': options.Command = value.Length > 0 ? value : throw new UsageException("option '-c': the command is empty", "give a command, such as -c 'ls -l'"); break;
                case 'x': options.TargetPid = (int)Number("-x", value, 1, int.MaxValue); break;
                case 'D': Define(value); break;
                case 's': options.BufferMegabytes = (int)Number("-s", value, 1, 4095); break;
                case 'S': Rotation(value); break;
                case 'B': options.BuildVariables.Add(BuildVariable(value)); break;
                case 'd': options.DebugObjects.Add(ByteText.ToText(value)); break;
                case 'l': List(Mode.List, value); break;
                case 'L': List(Mode.ListWithVariables, value); break;
                case 'G': Global(value); break;
                case 'T':
                    options.TimeoutSeconds = double.TryParse(value, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var seconds) && seconds > 0 && seconds < 1e9
                        ? seconds
                        : throw new UsageException($"option '-T': '{value}' is not a number of seconds above 0", "write for instance -T 10 or -T 0.5");
                    break;
            }
        }

        public void Long(string name, string? value)
        {
            switch (name)
            {
                case "help": options.Mode = Mode.Help; break;
                case "version": options.Mode = Mode.Version; break;
                case "vp": PassVerbosity(value!); break;
                case "runtime":
                    options.Runtime = value is "auto" or "bpf" or "kernel" ? value
                        : value == "dyninst" ? throw Later("--runtime=dyninst", "the dyninst runtime")
                        : throw new UsageException($"option '--runtime': '{value}' is no runtime", "use auto, bpf or kernel");
                    break;
                case "bpf": options.Runtime = "bpf"; break;
                case "dump-probe-types": options.Mode = Mode.DumpProbeTypes; break;
                case "dump-probe-aliases": options.Mode = Mode.DumpProbeAliases; break;
                case "dump-functions": options.Mode = Mode.DumpFunctions; break;
                case "privilege": SetPrivilege(ParsePrivilege(value!)); break;
                case "unprivileged": SetPrivilege(Privilege.User); break;
                case "compatible": options.CompatibleVersion = CheckVersion(value!); break;
                case "check-version": options.CheckVersion = true; break;
                case "skip-badvars": options.SkipBadVariables = true; break;
                case "suppress-handler-errors": options.SuppressHandlerErrors = true; break;
                case "suppress-time-limits":
                    options.SuppressTimeLimits = options.Guru ? true : throw new UsageException("option '--suppress-time-limits' needs '-g' before it", "write -g --suppress-time-limits");
                    break;
                case "no-global-var-display": options.ShowGlobals = false; break;
                case "color" or "colour":
                    options.Color = (value ?? "always") switch
                    {
                        "always" => true,
                        "never" => false,
                        "auto" => !Console.IsErrorRedirected,
                        _ => throw new UsageException($"option '--color': '{value}' is unknown", "use never, always or auto"),
                    };
                    break;
                case "clean-cache": options.Mode = Mode.CleanCache; break;
                case "target-namespaces": options.NamespacesOf = (int)Number("--target-namespaces", value!, 1, int.MaxValue); break;
                case "example": options.Example = true; break;
                case "interactive": options.Mode = Mode.Interactive; break;
                case "monitor": throw new UsageException("option '--monitor': there is no status screen", "leave it out; -t tells at the end how often and how long each probe ran");
                case "remote" when value == "direct://": break; // This machine, by this process: what happens anyway.
                case "remote": throw new UsageException($"option '--remote': stap does not reach other hosts itself ('{value}')", "run stap there, for instance: ssh HOST stap - < SCRIPT; a module for another kernel is made by -p4 -r RELEASE");
                case "remote-prefix": break;
                case "use-server-on-error" when value == "no": break;
                case "use-server" or "use-server-on-error" or "list-servers" or "trust-servers" or "use-http-server": throw Later("--" + name, "the compile server");
                case "sign-module": options.MustSign = true; break;
                case "build-as": throw new UsageException("option '--build-as': stap builds modules as the user who runs it", "run stap -p4 as that user and staprun as root");
                case "debug": throw new UsageException("option '--debug': modules keep no debug information of their own", "use -k to keep the C text and -vv to see the commands that build it");
                case "sysroot" or "sysenv": throw Later("--" + name, "running scripts for another system");
                case "dyninst": throw Later("--dyninst", "the dyninst runtime");
                case "all-modules": options.AllModules = true; break;
                case "ldd": options.Ldd = true; break;

                case "rlimit-as" or "rlimit-cpu" or "rlimit-nproc" or "rlimit-stack" or "rlimit-fsize":
                    options.ResourceLimits.Add((name["rlimit-".Length..], Number("--" + name, value!, 0, long.MaxValue)));
                    break;
                case "semantic-keep-going": options.SemanticKeepGoing = true; break;
                case "disable-cache": options.UseModuleCache = false; break;
                case "prologue-searching":
                    if (value is not (null or "never" or "always" or "auto"))
                    {
                        throw new UsageException($"option '--prologue-searching': '{value}' is unknown", "use never, always or auto");
                    }

                    break;
                case "download-debuginfo":
                    if (value is not (null or "yes" or "no" or "ask") && !uint.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out _))
                    {
                        throw new UsageException($"option '--download-debuginfo': '{value}' is unknown", "use yes, no, ask or a number of seconds; DEBUGINFOD_URLS says from where");
                    }

                    break;

                // Nothing to do: finished modules only are cached, uprobes are the kernel's, temporary files go where TMPDIR says.
                case "poison-cache" or "save-uprobes": break;
                case "tmpdir":
                    var folder = ByteText.ToText(value!);
                    Environment.SetEnvironmentVariable("TMPDIR", Directory.Exists(folder) ? folder : throw new UsageException($"option '--tmpdir': '{value}' is no folder", "make it first"));
                    break;
                case "modinfo": ModuleInformation(value!); break;
                case "language-server": throw new UsageException("option '--language-server': stap is no language server", "check a script with -p2");
                default: throw Later("--" + name, "this option");
            }
        }

        public void Finish()
        {
            if (options.Command is not null && options.TargetPid != 0)
            {
                throw new UsageException("options '-c' and '-x' exclude each other: both name the target process", "give one of them");
            }

            if (options.RotateBytes > 0 && options.OutputFile is null)
            {
                throw new UsageException("option '-S' needs '-o'", "name the output file: -o FILE");
            }

            if (options.Bulk && options.Runtime == "bpf")
            {
                throw new UsageException("option '-b': a BPF session writes one stream, in the order it was made", "leave it out, or use --runtime=kernel, which can write a file for each CPU");
            }

            if (options.Mode == Mode.Interactive && _hasScriptSource)
            {
                throw new UsageException("option '-i' takes no script", "start 'stap -i' and say: load FILE");
            }

            if (options.Mode == Mode.Run && !_hasScriptSource)
            {
                throw new UsageException("A script must be specified.", "for example: stap -e 'probe begin { println(\"hello\") exit() }'");
            }

            if (options.FlightRecorder && options.OutputFile is null && options.Runtime != "kernel")
            {
                throw new UsageException("option '-F' needs '-o': a session in the background writes into a file", "give -o FILE, and -S SIZE,N to bound it; or --runtime=kernel, which keeps its output in memory until staprun -A asks for it");
            }
        }

        private static UsageException Later(string option, string what) =>
            new($"option '{option}': {what} is not available in this version", "leave it out");

        private static string CheckModuleName(string name)
        {
            foreach (var c in name)
            {
                if (c is not ((>= 'a' and <= 'z') or (>= '0' and <= '9') or '_'))
                {
                    throw new UsageException($"option '-m': '{name}' is no module name", "use the letters a to z, digits and underscores");
                }
            }

            return name.Length is > 0 and <= 56 ? name : throw new UsageException($"option '-m': '{name}' must have 1 to 56 characters", "choose another name");
        }

        private static string CheckVersion(string version)
        {
            var parts = version.Split('.');
            if (parts.Length is < 1 or > 3 || !parts.All(p => p.Length is > 0 and < 4 && p.All(char.IsAsciiDigit)))
            {
                throw new UsageException($"option '--compatible': '{version}' is no version", "write for instance --compatible=4.2");
            }

            var major = int.Parse(parts[0], CultureInfo.InvariantCulture);
            var minor = parts.Length > 1 ? int.Parse(parts[1], CultureInfo.InvariantCulture) : 0;
            return (major, minor).CompareTo((5, 6)) <= 0 ? version
                : throw new UsageException($"option '--compatible': version {version} is newer than the language of this stap (5.6)", "use 5.6 or an older version");
        }

        private void SetPrivilege(Privilege privilege)
        {
            if (_privilegeGiven)
            {
                throw new UsageException("the privilege may be given once only", "leave out one of --privilege and --unprivileged");
            }

            _privilegeGiven = true;
            options.Privilege = privilege;
        }

        private void Script(string text)
        {
            if (_hasScriptSource)
            {
                throw new UsageException("only one script can be given by '-e' or as a file", "use '-E' for additional scripts");
            }

            options.ScriptText = text;
            _hasScriptSource = true;
        }

        private void List(Mode mode, string pattern)
        {
            if (options.ListPattern is not null)
            {
                throw new UsageException("only one of '-l' and '-L' can be given", "run stap twice");
            }

            options.Mode = mode;
            options.ListPattern = pattern;
        }

        private void Define(string text)
        {
            var equals = text.IndexOf('=');
            var name = equals < 0 ? text : text[..equals];
            var value = equals < 0 ? "1" : text[(equals + 1)..];
            if (name.Length == 0 || char.IsAsciiDigit(name[0]) || !name.All(c => char.IsAsciiLetterOrDigit(c) || c == '_')
                || !value.All(c => char.IsAsciiLetterOrDigit(c) || c is '_' or '-'))
            {
                throw new UsageException($"option '-D': '{text}' is not NAME or NAME=VALUE", "write for instance -DMAXACTION=5000");
            }

            options.Defines.Add((name, value));
        }

        private void Global(string text)
        {
            var equals = text.IndexOf('=');
            if (equals <= 0 || !text[..equals].All(c => char.IsAsciiLetterOrDigit(c) || c == '_'))
            {
                throw new UsageException($"option '-G': '{text}' is not VARIABLE=VALUE", "write for instance -G limit=10");
            }

            options.Globals.Add((text[..equals], text[(equals + 1)..]));
        }

        private static string BuildVariable(string text)
        {
            var equals = text.IndexOf('=');
            return equals > 0 && text[..equals].TrimEnd('+', ':').All(c => char.IsAsciiLetterOrDigit(c) || c is '_' or '-')
                ? text : throw new UsageException($"option '-B': '{text}' is not NAME=VALUE", "write for instance -B CC=gcc-12");
        }

        private void ModuleInformation(string text)
        {
            var equals = text.IndexOf('=');
            if (equals <= 0 || equals == text.Length - 1 || !text[..equals].All(c => char.IsAsciiLetterOrDigit(c) || c == '_') || text.Any(c => c is < ' ' or '"' or '\\' or > '~'))
            {
                throw new UsageException($"option '--modinfo': '{text}' is not NAME=VALUE", "write for instance --modinfo=vendor=me");
            }

            options.ModuleInformation.Add(text);
        }

        private void Rotation(string text)
        {
            var comma = text.IndexOf(',');
            options.RotateBytes = Number("-S", comma < 0 ? text : text[..comma], 1, 1 << 20) << 20;
            options.RotateKeep = comma < 0 ? 0 : (int)Number("-S", text[(comma + 1)..], 1, 1 << 20);
        }

        private void PassVerbosity(string digits)
        {
            if (digits.Length is < 1 or > 5 || !digits.All(char.IsAsciiDigit))
            {
                throw new UsageException($"option '--vp': '{digits}' is not one to five digits", "one digit for each pass, for instance --vp 02000");
            }

            for (var i = 0; i < digits.Length; i++)
            {
                options.Verbosity[i] += digits[i] - '0';
            }
        }
    }
}
