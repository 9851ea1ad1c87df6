using System.Globalization;
using SystemTap.Runtime.Native;

namespace SystemTap.Runtime.Sessions;

// A session in the background (-F -o FILE). A managed process must not fork, so stap starts itself once more with the same words: the second process
// runs the session, keeps the terminal for errors of passes 1 to 4, and says by one byte in a pipe that all probes are live. Then the first prints the
// second's pid and ends with 0. When the pipe closes without that byte, the session is over already and its status is the first's too.

/// <summary>Flight recorder mode: a session that outlives the command that started it.</summary>
public static unsafe class Background
{
    private const string Variable = "STAP_BACKGROUND";

    private static readonly int Pipe = Take();

    /// <summary>True in the process that runs the session.</summary>
    public static bool IsBackground => Pipe >= 0;

    /// <summary>True when the terminal is left: messages go into the output file.</summary>
    public static bool HasLeft { get; private set; }

    /// <summary>Starts the session in a process of its own and waits until it is live.</summary>
    /// <returns>Exit status of this process.</returns>
    /// <exception cref="IOException">No pipe, no process.</exception>
    public static int Start()
    {
        var ends = stackalloc int[2];
        if (Libc.pipe2(ends, 0) != 0)
        {
            throw new IOException("the session in the background cannot be started: no more files can be opened");
        }

        // Only the writing end is for the other process.
        _ = Libc.fcntl(ends[0], 2 /* F_SETFD */, 1);
        var pid = ChildCommand.Spawn($"{Variable}={ends[1].ToString(CultureInfo.InvariantCulture)} exec {Self.Command([])} </dev/null >/dev/null");
        Libc.close(ends[1]);
        byte live;
        nint n;
        do
        {
            n = Libc.read(ends[0], &live, 1);
        }
        while (n < 0 && System.Runtime.InteropServices.Marshal.GetLastPInvokeError() == Libc.ErrorInterrupted);
        if (n == 1)
        {
            Console.Out.WriteLine(pid.ToString(CultureInfo.InvariantCulture));
            return 0;
        }

        int status;
        Libc.waitpid(pid, &status, 0);
        return (status & 0x7f) == 0 ? (status >> 8) & 0xff : 1;
    }

    /// <summary>Called when all probes are live: leaves the terminal and lets the first process end.</summary>
    public static void Live()
    {
        if (!IsBackground || HasLeft)
        {
            return;
        }

        Libc.setsid();
        var nothing = Libc.open("/dev/null", Libc.OpenReadWrite | Libc.OpenCloseOnExec, 0);
        _ = Libc.dup2(nothing, 2);
        Libc.close(nothing);
        HasLeft = true;
        byte one = 1;
        _ = Libc.write(Pipe, &one, 1);
        Libc.close(Pipe);
    }

    // The variable is for this process alone, not for commands of the script.
    private static int Take()
    {
        var text = Environment.GetEnvironmentVariable(Variable);
        Libc.unsetenv(Variable);
        if (!int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var fd))
        {
            return -1;
        }

        _ = Libc.fcntl(fd, 2 /* F_SETFD */, 1);
        return fd;
    }
}
