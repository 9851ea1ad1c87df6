using System.Text;
using SystemTap.Language.Text;
using SystemTap.Runtime.Native;

namespace SystemTap.Runtime.Sessions;

/// <summary>Starting the program that runs once more.</summary>
public static unsafe class Self
{
    /// <summary>Words this process was given, in byte form, without the program's name (and without those of a host that runs it).</summary>
    public static IReadOnlyList<string> Words
    {
        get
        {
            var words = Encoding.Latin1.GetString(File.ReadAllBytes("/proc/self/cmdline")).Split('\0');
            var hosted = Path.GetFileName(Environment.ProcessPath) == "dotnet" ? 2 : 1;
            return words.Length > hosted ? words[hosted..^1] : [];
        }
    }

    /// <summary>A shell command, in byte form, that starts this program with words; none: those of this process.</summary>
    public static string Command(IReadOnlyList<string> words)
    {
        var text = new StringBuilder(Quoted(ByteText.FromText(Environment.ProcessPath ?? "/proc/self/exe")));
        if (Path.GetFileName(Environment.ProcessPath) == "dotnet")
        {
            text.Append(' ').Append(Quoted(ByteText.FromText(Path.Combine(AppContext.BaseDirectory, "stap.dll"))));
        }

        foreach (var word in words.Count > 0 ? words : Words)
        {
            text.Append(' ').Append(Quoted(word));
        }

        return text.ToString();
    }

    /// <summary>Runs this program with words in the foreground and waits; an interrupt from the terminal is for it, not for us.</summary>
    /// <returns>Its exit status.</returns>
    public static int Run(IReadOnlyList<string> words) => RunShell("exec " + Command(words));

    /// <summary>Runs a shell command the same way.</summary>
    public static int RunShell(string command)
    {
        _ = Libc.signal(Libc.SigInt, 1);
        _ = Libc.signal(Libc.SigQuit, 1);
        try
        {
            var pid = ChildCommand.Spawn(command);
            int status;
            while (Libc.waitpid(pid, &status, 0) < 0 && System.Runtime.InteropServices.Marshal.GetLastPInvokeError() == Libc.ErrorInterrupted)
            {
            }

            return (status & 0x7f) == 0 ? (status >> 8) & 0xff : 1;
        }
        finally
        {
            InheritedSignals.Reset();
        }
    }

    /// <summary>A word as a shell reads it back.</summary>
    public static string Quoted(string word) => "'" + word.Replace("'", "'\\''", StringComparison.Ordinal) + "'";
}
