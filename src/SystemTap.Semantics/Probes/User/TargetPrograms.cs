using SystemTap.Semantics.Probes.Families;
using SystemTap.Targets;

namespace SystemTap.Semantics.Probes.User;

/// <summary>The program that <c>process</c> without argument means.</summary>
public static class TargetPrograms
{
    /// <summary>The program a command line starts: its first word that is no assignment, looked up as the shell does; null when that is no file.</summary>
    public static string? OfCommand(string command)
    {
        foreach (var word in command.Split([' ', '\t', '\n'], StringSplitOptions.RemoveEmptyEntries))
        {
            var text = word.Trim('"', '\'');
            if (text.Contains('=') && !text.Contains('/') || text is "exec" or "env" or "nice" or "nohup")
            {
                continue;
            }

            if (text.Contains('/'))
            {
                return Programs.Resolve(Path.GetFullPath(text));
            }

            foreach (var folder in (Environment.GetEnvironmentVariable("PATH") ?? "/usr/bin:/bin").Split(':', StringSplitOptions.RemoveEmptyEntries))
            {
                if (Programs.Resolve(Path.Combine(folder, text)) is { } found)
                {
                    return found;
                }
            }

            return null;
        }

        return null;
    }

    /// <summary>The program a process runs, by a path this program can open; null for kernel threads and what is gone.</summary>
    public static string? OfProcess(Target target, int pid) =>
        target.Processes.Find(pid) is { } process && process.Executable is { } path ? UserRoots.InOurView(process, path) : null;
}
