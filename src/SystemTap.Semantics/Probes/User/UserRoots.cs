using System.Text;
using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Probes.Families;
using SystemTap.Targets;

namespace SystemTap.Semantics.Probes.User;

/// <summary>A file that a point's first components name.</summary>
/// <param name="File">The ELF file probed.</param>
/// <param name="Filter">Which processes.</param>
/// <param name="Point">The point with the paths found in place of patterns.</param>
/// <param name="End">Index of the first component behind the root: <c>function</c>, <c>mark</c>, ….</param>
internal sealed record UserRoot(UserFile File, ProcessFilter Filter, ProbePoint Point, int End);

/// <summary>
/// From <c>process</c>, <c>process("PATH")</c>, <c>process(PID)</c>, each with or without <c>.library("NAME")</c>, to files. A path means whoever maps the
/// file (uprobes belong to inodes, so also under other names, later, and in containers); with a library only processes that run the program.
/// </summary>
internal static class UserRoots
{
    /// <summary>How the roots are spelled; a form's number is <c>root * ends + end</c>.</summary>
    public static readonly string[] Spellings = ["process", "process(S)", "process(N)", "process.library(S)", "process(S).library(S)", "process(N).library(S)"];

    /// <summary>The forms of a family whose points end so.</summary>
    public static IReadOnlyList<IReadOnlyList<ComponentPattern>> Forms(string[] ends)
    {
        var texts = new List<string>();
        foreach (var root in Spellings)
        {
            foreach (var end in ends)
            {
                texts.Add(root + "." + end);
            }
        }

        return ProbeForms.Of([.. texts]);
    }

    /// <summary>The files; reports why there are none.</summary>
    public static List<UserRoot> Find(ProbeMatch match, int endCount, ResolveScope scope)
    {
        var kind = match.FormIndex / endCount;
        var result = new List<UserRoot>();
        var point = match.Point;
        var programs = (kind % 3) switch
        {
            0 => Target(point, scope),
            1 => ByPath(point, scope),
            _ => ByPid(point, (int)Math.Clamp(match.Number(0), 0, int.MaxValue), scope),
        };
        if (kind < 3)
        {
            foreach (var (_, file, filter, text) in programs)
            {
                result.Add(new UserRoot(file, filter, text, 1));
            }

            return result;
        }

        var pattern = match.Text(1);
        foreach (var (_, program, filter, text) in programs)
        {
            foreach (var (listed, library) in Libraries.Of(program, pattern, filter, scope.Target))
            {
                // The library is everybody's: only the program's processes are meant.
                var whose = filter is ProcessFilter.All && program.Elf.IsProgram && kind != 3 ? new ProcessFilter.Executable(program.Path) : filter;
                result.Add(new UserRoot(library, whose, Literal.WithText(text, 1, listed), 2));
            }
        }

        if (result.Count == 0 && programs.Count > 0 && !scope.Diagnostics.HasErrors)
        {
            var names = new List<string>();
            foreach (var (_, program, filter, _) in programs)
            {
                foreach (var (listed, _) in Libraries.Of(program, "*", filter, scope.Target))
                {
                    names.Add(Path.GetFileName(listed));
                }
            }

            scope.Diagnostics.Error("probe.no-library", Literal.ArgumentSpan(point, 1), $"program \"{programs[0].Item2.Path}\" uses no library \"{pattern}\"",
                Names.Hint(Names.Similar(pattern, names)) ?? (names.Count > 0 ? "it uses: " + string.Join(", ", names) : "name the library by its path"));
        }

        return result;
    }

    private static List<(string Listed, UserFile File, ProcessFilter Filter, ProbePoint Point)> Target(ProbePoint point, ResolveScope scope)
    {
        if (scope.TargetProgram is { } path && Open(path, scope) is { } file)
        {
            return [(path, file, new ProcessFilter.All(), WithPath(point, path))];
        }

        scope.Diagnostics.Error("probe.no-process", point.Components[0].Span, scope.HasTargetProcess
            ? $"probe point '{point}' means the program of -c or -x, which could not be found as an ELF file"
            : $"probe point '{point}' names no program", "write process(\"PATH\"), or use -c CMD or -x PID");
        return [];
    }

    private static List<(string, UserFile, ProcessFilter, ProbePoint)> ByPath(ProbePoint point, ResolveScope scope)
    {
        var result = new List<(string, UserFile, ProcessFilter, ProbePoint)>();
        var written = ByteText.ToText(((StringLiteral)point.Components[0].Argument!).Value);
        var unreadable = "";
        foreach (var (listed, filter) in Programs.Find(point, 0, scope))
        {
            var real = ((ProcessFilter.Executable)filter).Path;
            if (Open(real, scope) is { } file)
            {
                result.Add((listed, file, new ProcessFilter.All(), Literal.WithText(point, 0, real)));
            }
            else
            {
                unreadable = real;
            }
        }

        if (result.Count == 0 && scope.Target.IsLive)
        {
            foreach (var path in Libraries.Search(written, point.Components[0].Span.Source?.ProcessPathPrefix))
            {
                if (Programs.RealPath(path) is { } real && Open(real, scope) is { } file)
                {
                    result.Add((path, file, new ProcessFilter.All(), Literal.WithText(point, 0, real)));
                }
            }
        }

        if (result.Count == 0 && scope.Target.IsLive && BuildIds.IsOne(written))
        {
            foreach (var real in BuildIds.Find(written, scope))
            {
                if (Open(real, scope) is { } file)
                {
                    result.Add((real, file, new ProcessFilter.All(), Literal.WithText(point, 0, real)));
                    break;
                }
            }

            if (result.Count == 0 && !scope.Diagnostics.HasErrors)
            {
                scope.Diagnostics.Error("probe.build-id", Literal.ArgumentSpan(point, 0), $"no program or library with build id {written} is installed under /usr/lib/debug/.build-id, in $PATH, or running",
                    "give its path");
                return result;
            }
        }

        if (result.Count == 0 && !scope.Diagnostics.HasErrors && !Globs.IsPattern(written))
        {
            var looked = unreadable.Length > 0 ? unreadable : written;
            var (problem, hint) = File.Exists(looked)
                ? ($"\"{looked}\" is no program or library: it is not an ELF file", "a script runs in its interpreter: probe that")
                : scope.Target.IsLive && Directory.Exists(written) ? ($"\"{written}\" is a folder", $"for all programs in it write process(\"{written.TrimEnd('/')}/*\")")
                : ($"program or library \"{written}\" does not exist" + (written.Contains('/') ? "" : " in $PATH or the library folders"),
                    Names.Hint(Names.Similar(Path.GetFileName(written), written.Contains('/') ? Neighbours(written) : Programs.Names(scope))) ?? "check the path");
            scope.Diagnostics.Error("probe.process-path", Literal.ArgumentSpan(point, 0), problem, hint);
        }

        return result;
    }

    /// <summary>Names in the folder where a file was looked for.</summary>
    private static IEnumerable<string> Neighbours(string path)
    {
        try
        {
            return [.. Directory.EnumerateFiles(Path.GetDirectoryName(path) ?? "/").Take(10_000).Select(static p => Path.GetFileName(p))];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }

    private static List<(string, UserFile, ProcessFilter, ProbePoint)> ByPid(ProbePoint point, int pid, ResolveScope scope)
    {
        if (pid is <= 0 or > 4194304)
        {
            scope.Diagnostics.Error("probe.process-pid", Literal.ArgumentSpan(point, 0), $"process id '{pid}' is out of range: it must lie between 1 and 4194304");
            return [];
        }

        if (scope.Target.Processes.Find(pid) is not { } process)
        {
            scope.Diagnostics.Error("probe.process-pid", Literal.ArgumentSpan(point, 0), $"process '{pid}' does not exist", "give the id of a running process");
            return [];
        }

        if (process.Executable is not { } path || Open(InOurView(process, path), scope) is not { } file)
        {
            scope.Diagnostics.Error("probe.process-pid", Literal.ArgumentSpan(point, 0), $"process '{pid}' runs no program that can be read", "run as root; kernel threads have no program");
            return [];
        }

        return [(path, file, new ProcessFilter.Pid(pid), point)];
    }

    /// <summary>A path of a process as this program must say it: processes in other mount namespaces are looked at through <c>/proc/PID/root</c>.</summary>
    internal static string InOurView(ProcessInfo process, string path)
    {
        try
        {
            var other = new FileInfo(process.RootLink[..^"root".Length] + "ns/mnt").LinkTarget != new FileInfo("/proc/self/ns/mnt").LinkTarget;
            return other ? process.RootLink + path : File.Exists(path) ? path : process.ExecutableLink;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return path;
        }
    }

    internal static UserFile? Open(string path, ResolveScope scope) => scope.Target.UserFiles.Open(path);

    private static ProbePoint WithPath(ProbePoint point, string path)
    {
        var components = new List<ProbeComponent>(point.Components);
        components[0] = new ProbeComponent(components[0].Span, components[0].Name, new StringLiteral(components[0].Span, ByteText.FromText(path)));
        return new ProbePoint(point.Span, components, point.IsOptional, point.IsSufficient, point.Condition);
    }
}
