using System.Runtime.InteropServices;
using System.Text;
using SystemTap.Language.Text;
using SystemTap.Runtime.Native;

namespace SystemTap.Runtime.Sessions;

/// <summary>
/// The command of <c>-c</c>. It is started stopped, so that its pid is known and every probe is live before its first instruction: a shell stops
/// itself and execs the command when told to go on. The pid stays the same; what the probes see of the shell is the exec.
/// Deliberately not fork(): a managed process must not run code in a forked child.
/// </summary>
internal sealed class ChildCommand : IDisposable
{
    private bool _ended;

    private ChildCommand(int pid)
    {
        Pid = pid;

        // pidfd_open(2), 434 on every architecture, Linux 5.3: readable when the process ends.
        Descriptor = (int)Libc.syscall(434, pid, 0);
    }

    public int Pid { get; }

    /// <summary>Readable when the command has ended; −1 on kernels without pidfds.</summary>
    public int Descriptor { get; private set; }

    /// <summary>Wait status of the ended command.</summary>
    public int Status { get; private set; }

    /// <summary>Starts the command and waits until it stands still.</summary>
    /// <exception cref="IOException">It cannot be started.</exception>
    public static unsafe ChildCommand Start(string command)
    {
        // Words alone need no shell of their own; the starting shell just becomes the command.
        var simple = IsSimple(command);

        // Anything else runs in a shell started by exec, so that the shell is the target, and the command itself where the shell hands its process over.
        if (simple && IsBuiltin(command.Trim().Split((char[])[' ', '\t'], 2)[0]))
        {
            simple = false;
        }

        var script = simple ? $"kill -STOP $$; exec {command}" : $"kill -STOP $$; exec /bin/sh -c '{command.Replace("'", "'\\''", StringComparison.Ordinal)}'";
        if (simple)
        {
            RequireProgram(ByteText.ToText(command).Trim().Split((char[])[' ', '\t'], 2)[0]);
        }

        var pid = Spawn(script);
        int status;
        var waited = Libc.waitpid(pid, &status, 2 /* WUNTRACED */);
        return waited == pid && (status & 0xff) == 0x7f
            ? new ChildCommand(pid)
            : throw new IOException($"command \"{command}\" could not be held at its start (wait status {status}); check that /bin/sh works");
    }

    /// <summary>Runs a shell command in byte form, not waited for; the caller reaps it.</summary>
    /// <exception cref="IOException">No shell.</exception>
    public static unsafe int Spawn(string script)
    {
        var text = new byte[script.Length + 1];
        Encoding.Latin1.GetBytes(script, text);

        // The child must not inherit ignored SIGPIPE (.NET ignores it) or a blocked mask.
        var attributes = stackalloc byte[512];
        Libc.posix_spawnattr_init(attributes);
        var none = stackalloc ulong[16];
        var all = stackalloc ulong[16];
        for (var i = 0; i < 16; i++)
        {
            none[i] = 0;
            all[i] = i == 0 ? (1UL << (Libc.SigPipe - 1)) | (1UL << (Libc.SigInt - 1)) | (1UL << (Libc.SigQuit - 1)) | (1UL << (Libc.SigTerminate - 1)) | (1UL << (Libc.SigHup - 1)) : 0;
        }

        Libc.posix_spawnattr_setsigmask(attributes, none);
        Libc.posix_spawnattr_setsigdefault(attributes, all);
        Libc.posix_spawnattr_setflags(attributes, 0x04 | 0x08);
        int pid, error;
        fixed (byte* shell = "sh\0"u8, option = "-c\0"u8, command = text)
        {
            var arguments = stackalloc byte*[] { shell, option, command, null };
            error = Libc.posix_spawn(&pid, "/bin/sh", null, attributes, arguments, Libc.Environment());
        }

        return error == 0 ? pid : throw new IOException($"/bin/sh cannot be started: {Marshal.GetPInvokeErrorMessage(error)}");
    }

    /// <summary>Lets the command go.</summary>
    public void Release() => Libc.kill(Pid, Libc.SigContinue);

    /// <summary>True once the command has ended; <see cref="Status"/> is then valid.</summary>
    public unsafe bool HasEnded()
    {
        if (!_ended)
        {
            int status;
            if (Libc.waitpid(Pid, &status, 1 /* WNOHANG */) == Pid && (status & 0xff) != 0x7f)
            {
                (_ended, Status) = (true, status);
            }
        }

        return _ended;
    }

    /// <summary>What went wrong with the command, null when it ended well.</summary>
    public string? Complaint() => (Status & 0x7f) switch
    {
        0 when Status >> 8 == 0 => null,
        0 => $"Child process exited with status {Status >> 8}",
        var signal => $"Child process exited with signal {signal} ({SignalName(signal)})",
    };

    /// <summary>Ends a command that still runs, and closes.</summary>
    public unsafe void Dispose()
    {
        if (!HasEnded())
        {
            Libc.kill(Pid, Libc.SigTerminate);
            Libc.kill(Pid, Libc.SigContinue);
            for (var i = 0; i < 50 && !HasEnded(); i++)
            {
                Thread.Sleep(10);
            }

            if (!HasEnded())
            {
                Libc.kill(Pid, Libc.SigKill);
                int status;
                Libc.waitpid(Pid, &status, 0);
                _ended = true;
            }
        }

        if (Descriptor >= 0)
        {
            Libc.close(Descriptor);
            Descriptor = -1;
        }
    }

    /// <summary>True for words alone, quoted or not: the starting shell can become the command. Metacharacters inside quotes are text.</summary>
    private static bool IsSimple(string command)
    {
        var quote = '\0';
        for (var i = 0; i < command.Length; i++)
        {
            var c = command[i];
            if (c == '\\' && quote != '\'')
            {
                i++;
            }
            else if (quote != '\0')
            {
                quote = c == quote ? '\0' : quote;
            }
            else if (c is '"' or '\'')
            {
                quote = c;
            }
            else if (c is '|' or '&' or ';' or '<' or '>' or '(' or ')' or '{' or '}' or '\n' or '`')
            {
                return false;
            }
        }

        // "NAME=VALUE command" is the shell's to set up.
        var words = command.Trim().Split((char[])[' ', '\t'], 2);
        return quote == '\0' && words[0].Length > 0 && !words[0].Contains('=') && words[0].IndexOfAny(['"', '\'', '$', '\\', '*', '?', '~']) < 0;
    }

    /// <summary>Commands that only a shell has.</summary>
    private static bool IsBuiltin(string name) => name is "exit" or "cd" or "ulimit" or "umask" or "wait" or "exec" or "eval" or "." or "set" or "export" or "trap" or "read" or ":";

    private static void RequireProgram(string name)
    {
        if (name.Contains('/'))
        {
            if (File.Exists(name))
            {
                return;
            }
        }
        else
        {
            foreach (var folder in (Environment.GetEnvironmentVariable("PATH") ?? "/usr/bin:/bin").Split(':'))
            {
                if (File.Exists(Path.Combine(folder.Length == 0 ? "." : folder, name)))
                {
                    return;
                }
            }

        }

        throw new IOException($"command \"{name}\" of -c was not found; give its path");
    }

    private static string SignalName(int signal) => signal switch
    {
        1 => "Hangup",
        2 => "Interrupt",
        3 => "Quit",
        4 => "Illegal instruction",
        6 => "Aborted",
        7 => "Bus error",
        8 => "Floating point exception",
        9 => "Killed",
        11 => "Segmentation fault",
        13 => "Broken pipe",
        14 => "Alarm clock",
        15 => "Terminated",
        _ => "signal",
    };
}
