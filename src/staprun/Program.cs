using System.Globalization;
using SystemTap.Runtime.Host;
using SystemTap.Runtime.Modules;
using SystemTap.Runtime.Sessions;

namespace SystemTap.RunModule;

/// <summary>The <c>staprun</c> command: loads, runs, attaches to and removes script modules.</summary>
internal static class Program
{
    private const string Usage = """
        usage: staprun [options] MODULE.ko      load and run
               staprun [options] -A NAME        attach to a running module
               staprun -d NAME                  remove a module
          -c CMD     run CMD; target() is its pid; end with it
          -x PID     target() is PID
          -o FILE    output to FILE (strftime directives); -S SIZE[,N] changes files at SIZE MB and keeps N
          -b MB      output buffer of each CPU
          -L         load and leave running; output is kept until somebody attaches
          -D         run in the background, print the process id; needs -o
          -T SECS    end after SECS
          -N PID, --target-namespaces=PID   ns_pid(), ns_uid() … tell ids as the container of process PID sees them
          -v -w -V -h;  -C WHEN and -u[PATH] are taken for other versions' sake and change nothing

        """;

    private static int Main(string[] words)
    {
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
        var (target, megabytes, keep, rotate) = (0, 0, 0, 0L);
        TimeSpan? timeout = null;
        for (var i = 0; i < words.Length; i++)
        {
            var word = words[i];
            if (word.Length < 2 || word[0] != '-')
            {
                module = module is null ? word : throw new ModuleException($"'{word}' comes after the module: setting of globals here is not supported", "set them with 'stap -G NAME=VALUE' when the module is built");
                continue;
            }

            string Value() => word.Length > 2 ? word[2..] : ++i < words.Length ? words[i] : throw new ModuleException($"option '-{word[1]}' needs a value", "see 'staprun -h'");
            int Number(string what) => int.TryParse(Value(), NumberStyles.None, CultureInfo.InvariantCulture, out var n) && n > 0 ? n : throw new ModuleException($"option '-{word[1]}' needs {what}", "see 'staprun -h'");
            switch (word[1])
            {
                case '-' when word.StartsWith("--target-namespaces=", StringComparison.Ordinal): SessionFacts.NamespaceOf = Namespace(word, word[(word.IndexOf('=') + 1)..]); break;
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
                case 'L' or 'A' or 'd': mode = word[1]; break;
                case 'c': command = Value(); break;
                case 'x' or 't': target = Number("a process id"); break;
                case 'o': output = Value(); break;
                case 'b': megabytes = Number("megabytes, 1 to 4095"); break;
                case 'T':
                    timeout = double.TryParse(Value(), NumberStyles.Float, CultureInfo.InvariantCulture, out var seconds) && seconds > 0 ? TimeSpan.FromSeconds(seconds)
                        : throw new ModuleException("option '-T' needs seconds", "see 'staprun -h'");
                    break;
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

        if (daemon && (output is null || mode is 'L' or 'd' || command is not null))
        {
            throw new ModuleException("option '-D' needs '-o', and excludes '-L', '-d' and '-c'", "give a file name for the output");
        }

        if (command is not null && (target != 0 || mode is 'A' or 'L') || (mode == 'A' && target != 0))
        {
            throw new ModuleException("options '-c', '-x', '-A' and '-L' exclude each other", "use one of them");
        }

        if (target != 0 && !Directory.Exists($"/proc/{target}"))
        {
            throw new ModuleException($"process {target} of option '-x' does not exist", "see 'ps -e' for the processes");
        }

        if (mode == 'd')
        {
            ModuleLoader.Remove(Name(module));
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
            RingBytes = Math.Min(megabytes, 1024) << 20, SuppressWarnings = !warnings, Verbosity = verbosity,
        };
        using var session = mode == 'A' ? ModuleSession.Attach(Name(module), options) : ModuleSession.Load(module, options);
        return session.Run(detach: mode == 'L');
    }

    private static int Namespace(string option, string process) =>
        int.TryParse(process, NumberStyles.None, CultureInfo.InvariantCulture, out var container) && Directory.Exists($"/proc/{container}")
            ? container : throw new ModuleException($"option '{option}': there is no such process", "see 'ps -e' for the processes");

    /// <summary>A module's name from a name or a file's path.</summary>
    private static string Name(string word) => Path.GetFileNameWithoutExtension(word);
}
