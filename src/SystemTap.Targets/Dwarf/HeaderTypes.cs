using System.Diagnostics;

namespace SystemTap.Targets;

/// <summary>
/// Types of headers, for <c>@cast(p, "struct tm", "&lt;time.h&gt;")</c>: a C file that includes them is compiled to an object file with debug information,
/// whose types are then read. Needs a C compiler.
/// </summary>
public static class HeaderTypes
{
    private static readonly Dictionary<string, DwarfFile?> Known = new(StringComparer.Ordinal);

    /// <summary>Why the last header could not be used.</summary>
    public static string? Problem { get; private set; }

    /// <summary>Types of <c>&lt;a.h&gt;&lt;b.h&gt;</c>; null with <see cref="Problem"/> when they cannot be had.</summary>
    public static DwarfFile? Open(string headers)
    {
        lock (Known)
        {
            if (!Known.TryGetValue(headers, out var file))
                Known[headers] = file = Compile(headers);
            return file;
        }
    }

    private static DwarfFile? Compile(string headers)
    {
        var folder = Directory.CreateTempSubdirectory("stap-header-");
        try
        {
            var source = Path.Combine(folder.FullName, "types.c");
            var result = Path.Combine(folder.FullName, "types.o");
            using (var text = new StreamWriter(source))
            {
                foreach (var header in headers.Split('>', StringSplitOptions.RemoveEmptyEntries))
                {
                    var name = header.TrimStart('<', ' ');
                    if (name.Length == 0 || name.AsSpan().IndexOfAny("\"\\\n") >= 0)
                        return Fail("its name is malformed");
                    text.WriteLine($"#include <{name}>");
                }
            }
            var start = new ProcessStartInfo("cc") { RedirectStandardError = true, RedirectStandardInput = true, UseShellExecute = false };
            foreach (var argument in (string[])["-g", "-fno-eliminate-unused-debug-types", "-D_GNU_SOURCE", "-c", "-o", result, source])
                start.ArgumentList.Add(argument);
            using var process = Process.Start(start);
            if (process is null)
                return Fail("no C compiler is installed");
            process.StandardInput.Close();
            var complaint = process.StandardError.ReadToEnd();
            process.WaitForExit();
            if (process.ExitCode != 0)
                return Fail("the C compiler says: " + complaint.Split('\n')[0]);
            var file = DwarfFile.TryOpen(result);
            // Everything is read before the file goes: libdw maps it.
            return file ?? Fail("elfutils' libdw is not installed (package libdw1)");
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return Fail("it needs a C compiler: install gcc");
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    private static DwarfFile? Fail(string why)
    {
        Problem = why;
        return null;
    }
}
