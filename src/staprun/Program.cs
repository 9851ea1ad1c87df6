using System.Globalization;
using SystemTap.Runtime.Host;
using SystemTap.Runtime.Modules;
using SystemTap.Runtime.Output;
using SystemTap.Runtime.Sessions;

namespace SystemTap.RunModule;

/// <summary>The <c>staprun</c> command: loads, runs, attaches to and removes script modules.</summary>
internal static class Program
{
    private const string Usage = """
        usage: staprun [options] MODULE.ko [NAME=VALUE ...]   load and run; globals of the script get these values first
               staprun [options] -A NAME   attach to a module that was left running
               staprun [-o FILE] -O NAME   print what such a module has kept, and leave it running
               staprun -d NAME             remove a module; '*': all that nobody uses
        MODULE.ko may be a name: of a module in /lib/modules/RELEASE/systemtap
          -c CMD     run CMD; target() is its pid; end with it
          -x PID     target() is PID
          -o FILE    output to FILE (strftime directives); -S SIZE[,N] changes files at SIZE MB and keeps N
          -b MB      output buffer of each CPU
          -L         load and leave running; the newest output is kept until somebody attaches
          -D         run in the background, print the process id; needs -o
          -T MS      output waits at most so long in the buffers (50)
          --timeout=SECS   end after SECS
          -N PID, --target-namespaces=PID   ns_pid(), ns_uid() … tell ids as the container of process PID sees them
          -v -w -V -h;  -C WHEN and -u[PATH] are taken for other versions' sake and change nothing

        """;

    private static int Main(string[] words)
    {
        StandardStreams.Prepare();
        InheritedSignals.Reset();
        try
        {
            return Run(words);
        }
        catch (ModuleException e)
        {
            Console.Error.WriteLine($"ERROR: {e.Message}");
            if (e.Hint is not null)
            {
                Console.Error.WriteLine($"hint: {e.Hint}");
            }
        }
        catch (OutputException e)
        {
            if (e.IsQuiet)
            {
                return 0;
            }

            Console.Error.WriteLine($"ERROR: {e.Message}");
        }
        catch (IOException e)
        {
            Console.Error.WriteLine($"ERROR: {e.Message}");
        }

        return 1;
    }

    private static int Run(string[] words)
    {
        var (mode, module, warnings, verbosity) = ('r', (string?)null, true, 0);
        var daemon = false;
        string? command = null, output = null;
        var (target, megabytes, keep, rotate, delay) = (0, 0, 0, 0L, 0);
        TimeSpan? timeout = null;
        var values = new List<string>();
        for (var i = 0; i < words.Length; i++)
        {
            var word = words[i];
            if (word.Length < 2 || word[0] != '-')
            {
                if (module is null)
                {
                    module = word;
                }
                else if (word.IndexOf('=') > 0)
                {
                    values.Add(word);
                }
                else
                {
                    throw new ModuleException($"'{word}' after the module is no NAME=VALUE", "give one module, and values of its globals as NAME=VALUE");
                }

                continue;
            }

            string Value() => word.Length > 2 ? word[2..] : ++i < words.Length ? words[i] : throw new ModuleException($"option '-{word[1]}' needs a value", "see 'staprun -h'");
            int Number(string what) => int.TryParse(Value(), NumberStyles.None, CultureInfo.InvariantCulture, out var n) && n > 0 ? n : throw new ModuleException($"option '-{word[1]}' needs {what}", "see 'staprun -h'");
            switch (word[1])
            {
                case '-' when word.StartsWith("--target-namespaces=", StringComparison.Ordinal): SessionFacts.NamespaceOf = Namespace(word, word[(word.IndexOf('=') + 1)..]); break;
                case '-' when word.StartsWith("--timeout=", StringComparison.Ordinal):
                    timeout = double.TryParse(word["--timeout=".Length..], NumberStyles.Float, CultureInfo.InvariantCulture, out var seconds) && seconds is > 0 and < 1e9 ? TimeSpan.FromSeconds(seconds)
                        : throw new ModuleException("option '--timeout' needs seconds", "see 'staprun -h'");
                    break;
                case 'N': SessionFacts.NamespaceOf = Namespace("-N", Value()); break;
                case 'D': daemon = true; break;

                // Messages here have no colours, and user probes need no module of their own.
                case 'C': _ = Value(); break;
                case 'u': break;
                case 'R': throw new ModuleException("option '-R': a module keeps the name it was built with", "build it with another: 'stap -p4 -m NAME'");
                case 'M': throw new ModuleException("option '-M' is not supported: there is no monitor here", "use 'stap --monitor' with the script");
                case 'r' or 'i' or 'F': throw new ModuleException($"option '-{word[1]}' is not supported: it is between stap and staprun of other versions", "see 'staprun -h'");
                case 'h': Console.Out.Write(Usage); return 0;
                case 'V': Console.Out.WriteLine($"staprun of SystemTap in C#, version {typeof(Program).Assembly.GetName().Version?.ToString(3)}"); return 0;
                case 'v': verbosity += word.Length - 1; break;
                case 'w': warnings = false; break;
                case 'L' or 'A' or 'O' or 'd':
                    mode = mode == 'r' || mode == word[1] ? word[1] : throw new ModuleException($"options '-{mode}' and '-{word[1]}' exclude each other", "use one of them");
                    break;
                case 'c': command = Value(); break;
                case 'x' or 't': target = Number("a process id"); break;
                case 'o': output = Value(); break;
                case 'b': megabytes = Number("megabytes, 1 to 4095"); break;
                case 'T': delay = Number("milliseconds"); break;
                case 'S':
                    var parts = Value().Split(',');
                    if (!long.TryParse(parts[0], NumberStyles.None, CultureInfo.InvariantCulture, out rotate) || (parts.Length > 1 && !int.TryParse(parts[1], NumberStyles.None, CultureInfo.InvariantCulture, out keep)))
                    {
                        throw new ModuleException("option '-S' needs SIZE[,N] in megabytes and files", "see 'staprun -h'");
                    }

                    break;
                default: throw new ModuleException($"option '{word}' is not known", "see 'staprun -h'");
            }
        }

        if (module is null)
        {
            throw new ModuleException("no module is given", "see 'staprun -h'");
        }

        if (rotate > 0 && output is null)
        {
            throw new ModuleException("option '-S' needs '-o'", "give a file name");
        }

        if (daemon && (output is null || mode is 'L' or 'O' or 'd' || command is not null))
        {
            throw new ModuleException("option '-D' needs '-o', and excludes '-L', '-d' and '-c'", "give a file name for the output");
        }

        if (command is not null && (target != 0 || mode != 'r') || (mode is 'A' or 'O' && target != 0))
        {
            throw new ModuleException("options '-c', '-x', '-A', '-O' and '-L' exclude each other, but '-L' goes with '-x'", "use one of them");
        }

        if (mode is not ('r' or 'L') && values.Count > 0)
        {
            throw new ModuleException($"'{values[0]}' comes too late: globals are set when a module is loaded", "end the session and load the module again");
        }

        if (mode is 'A' or 'O' && megabytes > 0)
        {
            throw new ModuleException($"option '-b' has no meaning with '-{mode}'", "the buffers are those that the module was loaded with");
        }

        if (target != 0 && !Directory.Exists($"/proc/{target}"))
        {
            throw new ModuleException($"process {target} of option '-x' does not exist", "see 'ps -e' for the processes");
        }

        if (mode == 'd')
        {
            if (module == "*")
            {
                ModuleLoader.RemoveUnused();
            }
            else
            {
                ModuleLoader.Remove(Name(module));
            }

            return 0;
        }

        if (daemon && !Background.IsBackground)
        {
            return Background.Start();
        }

        var options = new SessionOptions
        {
            InBackground = Background.IsBackground,
            Command = command, TargetPid = target, OutputFile = output, RotateBytes = rotate << 20, RotateKeep = keep, Timeout = timeout,
            RingBytes = Math.Min(megabytes, 1024) << 20, BufferOption = "-b", SuppressWarnings = !warnings, Verbosity = verbosity, GlobalValues = values, LongestDelay = delay, TimeZoneName = LocalZone.Abbreviation(),
        };
        using var session = mode is 'A' or 'O' ? ModuleSession.Attach(Name(module), options) : ModuleSession.Load(ModuleFile.Find(module), options);
        return mode == 'O' ? session.WriteUnread() : session.Run(detach: mode == 'L');
    }

    private static int Namespace(string option, string process) =>
        int.TryParse(process, NumberStyles.None, CultureInfo.InvariantCulture, out var container) && Directory.Exists($"/proc/{container}")
            ? container : throw new ModuleException($"option '{option}': there is no such process", "see 'ps -e' for the processes");

    /// <summary>A module's name from a name or a file's path.</summary>
    private static string Name(string word) => Path.GetFileNameWithoutExtension(word);
}
