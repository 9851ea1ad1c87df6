using System.Diagnostics;

namespace SystemTap.KernelModule.Building;

/// <summary>Runs programs of the build.</summary>
internal static class Tool
{
    /// <summary>Runs a program to its end. Status −1: it could not be started.</summary>
    /// <param name="words">Program and arguments.</param>
    /// <param name="folder">Where it runs.</param>
    /// <param name="echo">Told the command line first (<c>-v</c>); null: nobody.</param>
    public static (int Status, string Text) Run(IReadOnlyList<string> words, string folder, Action<string>? echo)
    {
        echo?.Invoke(string.Join(' ', words));
        var start = new ProcessStartInfo(words[0]) { WorkingDirectory = folder, RedirectStandardOutput = true, RedirectStandardError = true, RedirectStandardInput = true };
        for (var i = 1; i < words.Count; i++)
        {
            start.ArgumentList.Add(words[i]);
        }

        // Messages are looked at, so they must not be translated; and an outer make must not reach into ours.
        start.Environment["LC_ALL"] = "C";
        foreach (var name in (string[])["MAKEFLAGS", "MAKELEVEL", "MFLAGS", "ARCH", "CROSS_COMPILE", "KBUILD_OUTPUT", "V"])
        {
            start.Environment.Remove(name);
        }

        // Debian's build tools are front ends that ask for the architecture here.
        start.Environment["SRCARCH"] = System.Runtime.InteropServices.RuntimeInformation.ProcessArchitecture == System.Runtime.InteropServices.Architecture.Arm64 ? "arm64" : "x86";
        Process? process;
        try
        {
            process = Process.Start(start);
        }
        catch (System.ComponentModel.Win32Exception)
        {
            process = null;
        }

        if (process is null)
        {
            return (-1, "");
        }

        using (process)
        {
            process.StandardInput.Close();
            var errors = process.StandardError.ReadToEndAsync();
            var text = process.StandardOutput.ReadToEnd();
            text += errors.GetAwaiter().GetResult();
            process.WaitForExit();
            return (process.ExitCode, text);
        }
    }

    /// <summary>The path of a program on PATH; null when there is none.</summary>
    public static string? Find(string name)
    {
        if (name.Contains('/'))
        {
            return File.Exists(name) ? name : null;
        }

        foreach (var folder in (Environment.GetEnvironmentVariable("PATH") ?? "/usr/bin:/bin").Split(':', StringSplitOptions.RemoveEmptyEntries))
        {
            var path = Path.Combine(folder, name);
            if (File.Exists(path))
            {
                return path;
            }
        }

        return null;
    }
}
