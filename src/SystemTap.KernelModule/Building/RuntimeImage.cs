using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using SystemTap.Targets;

namespace SystemTap.KernelModule.Building;

/// <summary>How the pieces of a module are made for one kernel build, compiler and run-time source: what the first build leaves in the cache.</summary>
/// <param name="Folder">Where <c>base.o</c> and the recipe lie.</param>
/// <param name="Compile">Compiler and options for script code; the file names are added.</param>
/// <param name="CompileKernel">Compiler and options for embedded C, which includes kernel headers; the file names are added.</param>
/// <param name="Objtool">The command for each object (its name is added); empty when this kernel needs none.</param>
/// <param name="Link">The linker's command up to and without <c>-o</c>.</param>
internal sealed record RuntimeImage(string Folder, IReadOnlyList<string> Compile, IReadOnlyList<string> CompileKernel, IReadOnlyList<string> Objtool, IReadOnlyList<string> Link)
{
    /// <summary>Module name in the cached objects; names are written over it. As long as the kernel allows a name to be.</summary>
    public static readonly string Placeholder = "stap_name_".PadRight(55, 'x');

    private const string StubObject = "stub/script.o";

    private const string DescriptionObject = "stub/module.o";

    /// <summary>The versions of kernel symbols that a module uses beside those of the run-time.</summary>
    public const string VersionsObject = "versions.o";

    private const string CoreObject = "core.o";

    /// <summary>The run-time's objects, linked to one, with the module's description.</summary>
    public string Base => Path.Combine(Folder, "base.o");

    /// <summary>
    /// Takes the image from the cache, or builds it: the kernel's build system is run once over the run-time and a stub of a script, and what it did is
    /// read from the command files it leaves.
    /// </summary>
    public static RuntimeImage Get(BuildTree tree, Compiler compiler, string runtimeFolder, string cacheFolder, IReadOnlyList<string> variables, Action<string>? echo)
    {
        var sources = Sources(runtimeFolder);
        var key = Key(tree, compiler, sources, variables);
        var folder = Path.Combine(cacheFolder, "module", tree.Release + "-" + key);
        if (Load(folder) is { } image)
        {
            return image;
        }

        Directory.CreateDirectory(Path.GetDirectoryName(folder)!);

        // Two builds at once: the second waits and finds the result.
        using var wait = Lock(folder + ".lock");
        if (Load(folder) is { } made)
        {
            return made;
        }

        var work = folder + ".new";
        if (Directory.Exists(work))
        {
            Directory.Delete(work, recursive: true);
        }

        Directory.CreateDirectory(work);
        Build(tree, compiler, sources, variables, work, folder, echo);
        if (Directory.Exists(folder))
        {
            Directory.Delete(folder, recursive: true);
        }

        Directory.Move(work, folder);
        File.Delete(folder + ".lock");
        return Load(folder) ?? throw new ModuleBuildException($"the cache '{folder}' cannot be read back", "remove it and try again");
    }

    private static FileStream Lock(string path)
    {
        for (var tries = 0; ; tries++)
        {
            try
            {
                return new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            }
            catch (IOException) when (tries < 6000)
            {
                Thread.Sleep(20);
            }
        }
    }

    private static List<(string Name, byte[] Bytes)> Sources(string folder)
    {
        var files = new List<(string, byte[])>();
        foreach (var part in (string[])["core", "include", "kernel", "stub"])
        {
            var path = Path.Combine(folder, part);
            if (!Directory.Exists(path))
            {
                throw new ModuleBuildException($"the module run-time is missing: no folder '{path}'", "set SYSTEMTAP_RUNTIME to the folder, or use -R");
            }

            foreach (var file in Directory.GetFiles(path).Order(StringComparer.Ordinal))
            {
                if (file.EndsWith(".c", StringComparison.Ordinal) || file.EndsWith(".h", StringComparison.Ordinal))
                {
                    files.Add((part + "/" + Path.GetFileName(file), File.ReadAllBytes(file)));
                }
            }
        }

        return files;
    }

    private static string Key(BuildTree tree, Compiler compiler, List<(string Name, byte[] Bytes)> sources, IReadOnlyList<string> variables)
    {
        var key = new ContentKey();
        key.Add("recipe 4");
        key.Add(tree.Identity);
        key.Add(compiler.Identity);
        foreach (var variable in variables)
        {
            key.Add(variable);
        }

        foreach (var (name, bytes) in sources)
        {
            key.Add(name + " " + bytes.Length.ToString(CultureInfo.InvariantCulture));
            key.Add(bytes);
        }

        return key.ToString();
    }

    private static RuntimeImage? Load(string folder)
    {
        try
        {
            // One word a line; empty lines divide the parts.
            var parts = File.ReadAllText(Path.Combine(folder, "recipe")).Split("\n\n");
            return parts.Length == 4 && File.Exists(Path.Combine(folder, "base.o"))
                ? new RuntimeImage(folder, Words(parts[0]), Words(parts[1]), Words(parts[2]), Words(parts[3])) : null;
        }
        catch (IOException)
        {
            return null;
        }

        static string[] Words(string part) => part.Split('\n', StringSplitOptions.RemoveEmptyEntries);
    }

    private static void Build(BuildTree tree, Compiler compiler, List<(string Name, byte[] Bytes)> sources, IReadOnlyList<string> variables, string work, string final, Action<string>? echo)
    {
        foreach (var (name, bytes) in sources)
        {
            Directory.CreateDirectory(Path.GetDirectoryName(Path.Combine(work, name))!);
            File.WriteAllBytes(Path.Combine(work, name), bytes);
        }

        File.WriteAllText(Path.Combine(work, "kernel", "syscall_names.h"), SyscallNames(tree));
        // The kernel side is one unit, which includes its other files, and so is the core.
        File.WriteAllText(Path.Combine(work, CoreObject[..^1] + "c"), string.Concat(sources
            .Where(s => s.Name.EndsWith(".c", StringComparison.Ordinal) && s.Name.StartsWith("core/", StringComparison.Ordinal)).Select(s => $"#include \"{s.Name}\"\n")));
        File.WriteAllText(Path.Combine(work, "Kbuild"), $"""
            obj-m := {Placeholder}.o
            {Placeholder}-y := {StubObject} {DescriptionObject}
            ccflags-remove-y := -pg -mrecord-mcount -mfentry
            ccflags-y := -g0 -I{work}/include -I{work}/core -Wno-declaration-after-statement -Wno-missing-prototypes -Wno-missing-declarations

            """);
        var cc = compiler.Command(work);
        List<string> make = ["make", "-C", tree.Path, "M=" + work, "CC=" + cc, "CONFIG_DEBUG_INFO_BTF_MODULES=", "-j", Environment.ProcessorCount.ToString(CultureInfo.InvariantCulture), .. variables.Where(v => !v.StartsWith("CC=", StringComparison.Ordinal)), "modules"];

        // As soon as the build system has compiled the stub, it is known how it compiles: the rest of its work and the run-time's compilation go on side by side.
        var stubCommand = Path.Combine(work, "stub", ".script.o.cmd");
        var building = Task.Run(() => Tool.Run(make, work, echo));
        while (!building.IsCompleted && !(File.Exists(stubCommand) && !File.Exists(Path.ChangeExtension(stubCommand, "d"))))
        {
            Thread.Sleep(2);
        }

        List<string> objects = ["kernel/run-time.o", CoreObject];
        var compiling = File.Exists(stubCommand) ? objects.ConvertAll(o => Task.Run(() => CompilePart(Split(SavedCommand(stubCommand)).First, o, tree, work, echo))) : [];
        var (status, text) = building.GetAwaiter().GetResult();
        Task.WaitAll([.. compiling]);
        if (status != 0)
        {
            throw Failure(tree, compiler, status, text, final);
        }

        foreach (var (failed, output) in compiling.Select(c => c.Result).Where(r => r.Status != 0))
        {
            throw Failure(tree, compiler, failed, output, final);
        }

        var scriptCommand = SavedCommand(stubCommand);
        var moduleCommand = SavedCommand(Path.Combine(work, $".{Placeholder}.o.cmd"));
        var linkCommand = SavedCommand(Path.Combine(work, $".{Placeholder}.ko.cmd"));
        var (compile, perObject) = Split(scriptCommand);
        var (_, whole) = Split(moduleCommand);
        var objtool = ObjtoolWords(perObject.Count > 0 ? perObject : whole, tree);
        var link = LinkWords(linkCommand, tree);

        // objtool sees the run-time as one object: functions whose address one part takes from another keep their entry marks.
        var (linker, runtime) = (link[0], Path.Combine(work, "runtime.o"));
        Check(Tool.Run([linker, "-m", "elf_x86_64", "-r", "-o", runtime, .. objects.Select(o => Path.Combine(work, o))], work, echo), "linking the run-time");
        if (objtool.Count > 0)
        {
            Check(Tool.Run([.. objtool, runtime], tree.Path, echo), "objtool on the run-time");
        }

        List<string> description = [Path.Combine(work, Placeholder + ".mod.o")];
        if (ExportedSymbols.Versions(tree, ExportedSymbols.UsedBy(runtime, work, echo), "the module run-time") is { } versions)
        {
            Check(CompileVersions(versions, ScriptWords(compile, compiler, work, work), work, echo), "compiling the versions of kernel symbols");
            description.Add(Path.Combine(work, VersionsObject));
        }

        if (linkCommand.Any(w => w.EndsWith(".module-common.o", StringComparison.Ordinal)))
        {
            description.Add(Path.Combine(work, ".module-common.o"));
        }

        var based = Path.Combine(work, "base.o");
        Check(Tool.Run([linker, "-m", "elf_x86_64", "-r", "-o", based, Path.Combine(work, "runtime.o"), .. description], work, echo), "linking the run-time");
        if (Tool.Find("objcopy") is { } objcopy)
        {
            Check(Tool.Run([objcopy, "--strip-debug", based], work, echo), "stripping the run-time");
        }

        // The folder is renamed at the end: what names it must name the final one.
        string Final(string word) => word.Replace(work, final, StringComparison.Ordinal);
        var recipe = new[] { ScriptWords(compile, compiler, work, final), KernelWords(compile, work), objtool, link };
        File.WriteAllText(Path.Combine(work, "recipe"), string.Join("\n\n", recipe.Select(r => string.Join('\n', r.Select(Final)))));
        if (compiler.IsOther)
        {
            File.WriteAllText(Path.Combine(work, "cc"), Final(File.ReadAllText(Path.Combine(work, "cc"))));
        }

        foreach (var entry in Directory.GetFileSystemEntries(work))
        {
            switch (Path.GetFileName(entry))
            {
                case "recipe" or "base.o" or "cc" or "cc.left-out" or "include" or "core" or "kernel": break;
                default:
                    if (Directory.Exists(entry))
                    {
                        Directory.Delete(entry, recursive: true);
                    }
                    else
                    {
                        File.Delete(entry);
                    }

                    break;
            }
        }
    }

    /// <summary>Compiles the text of <see cref="ExportedSymbols.Versions"/> to <see cref="VersionsObject"/> in a folder.</summary>
    public static (int Status, string Text) CompileVersions(string versions, IReadOnlyList<string> compile, string folder, Action<string>? echo)
    {
        var source = Path.Combine(folder, VersionsObject[..^1] + "c");
        File.WriteAllText(source, versions);
        return Tool.Run([.. compile, "-c", "-o", Path.Combine(folder, VersionsObject), source], folder, echo);
    }

    private static (int Status, string Text) CompilePart(List<string> stubCommand, string part, BuildTree tree, string work, Action<string>? echo)
    {
        var path = Path.Combine(work, part);
        return Tool.Run([.. KernelWords(stubCommand, work), "-I", Path.Combine(work, "core"), "-c", "-o", path, path[..^1] + "c"], tree.Path, echo);
    }

    /// <summary>Options for code that includes no kernel header: what decides about code, not paths, names and warnings; and no tracing prologue.</summary>
    private static List<string> ScriptWords(List<string> compile, Compiler compiler, string work, string final)
    {
        // What the wrapper of another compiler found out is known now: scripts need not go through it.
        var leftOut = compiler.IsOther && File.Exists(Path.Combine(work, "cc.left-out")) ? File.ReadAllLines(Path.Combine(work, "cc.left-out")) : [];
        var words = new List<string> { compiler.Program };
        for (var i = 1; i < compile.Count; i++)
        {
            var word = compiler.IsOther && compile[i].StartsWith("-fmin-function-alignment=", StringComparison.Ordinal)
                ? compile[i].Replace("-fmin-function-alignment", "-falign-functions", StringComparison.Ordinal) : compile[i];
            if (leftOut.Contains(word))
            {
                continue;
            }

            if (word is "-include" or "-o" or "-I" or "-isystem")
            {
                i++;
            }
            else if (word.StartsWith('-') && word is not ("-c" or "-pg" or "-mrecord-mcount" or "-mfentry" or "-g" or "-g0" or "-nostdinc")
                && !word.StartsWith("-W", StringComparison.Ordinal) && !word.StartsWith("-I", StringComparison.Ordinal) && !word.StartsWith("-D", StringComparison.Ordinal)
                && !word.StartsWith("-fmacro-prefix-map", StringComparison.Ordinal) && !word.StartsWith("-gdwarf", StringComparison.Ordinal))
            {
                words.Add(word);
            }
        }

        words.AddRange(["-w", "-ffreestanding", "-I", Path.Combine(final, "include")]);
        return words;
    }

    private static List<string> KernelWords(List<string> compile, string work)
    {
        var words = new List<string>();
        for (var i = 0; i < compile.Count; i++)
        {
            if (compile[i] is "-o")
            {
                i++;
            }
            else if (compile[i] is not ("-c" or "-pg" or "-mrecord-mcount" or "-mfentry") && !compile[i].StartsWith("-Wp,-M", StringComparison.Ordinal) && !compile[i].EndsWith("stub/script.c", StringComparison.Ordinal))
            {
                words.Add(compile[i]);
            }
        }

        words.AddRange(["-w", "-I", Path.Combine(work, "include")]);
        return words;
    }

    /// <summary>The command that made a target, from kbuild's <c>.TARGET.cmd</c> file, as words.</summary>
    private static List<string> SavedCommand(string file)
    {
        foreach (var line in File.ReadLines(file))
        {
            var match = Regex.Match(line, "^(?:saved)?cmd_[^ ]+ := (.*)$");
            if (match.Success)
            {
                return ShellWords(match.Groups[1].Value);
            }
        }

        throw new ModuleBuildException($"the build system's note '{Path.GetFileName(file)}' holds no command", "report this kernel release: its build system is not known yet");
    }

    /// <summary>Words as the shell reads them: quotes and backslashes; <c>;</c> is a word of its own.</summary>
    private static List<string> ShellWords(string text)
    {
        var words = new List<string>();
        var word = new StringBuilder();
        var any = false;
        void End()
        {
            if (any)
            {
                words.Add(word.ToString());
            }

            word.Clear();
            any = false;
        }

        for (var i = 0; i < text.Length; i++)
        {
            switch (text[i])
            {
                case ' ' or '\t': End(); break;
                case ';':
                    End();
                    words.Add(";");
                    break;
                case '\'':
                    any = true;
                    for (i++; i < text.Length && text[i] != '\''; i++)
                    {
                        word.Append(text[i]);
                    }

                    break;
                case '"':
                    any = true;
                    for (i++; i < text.Length && text[i] != '"'; i++)
                    {
                        word.Append(text[i] == '\\' && i + 1 < text.Length ? text[++i] : text[i]);
                    }

                    break;
                case '\\' when i + 1 < text.Length:
                    any = true;
                    word.Append(text[++i]);
                    break;
                default:
                    any = true;
                    word.Append(text[i]);
                    break;
            }
        }

        End();
        return words;
    }

    /// <summary>The first command and, if it is objtool, the second.</summary>
    private static (List<string> First, List<string> Objtool) Split(List<string> words)
    {
        var at = words.IndexOf(";");
        if (at < 0)
        {
            return (words, []);
        }

        var second = words[(at + 1)..];
        var end = second.IndexOf(";");
        second = end < 0 ? second : second[..end];
        return (words[..at], second.Count > 0 && Path.GetFileName(second[0]) == "objtool" ? second : []);
    }

    private static List<string> ObjtoolWords(List<string> command, BuildTree tree)
    {
        // The last word is the object.
        var words = command.Count > 0 ? command[..^1] : [];
        if (words.Count > 0 && !Path.IsPathRooted(words[0]))
        {
            words[0] = Path.GetFullPath(Path.Combine(tree.Path, words[0]));
        }

        return words;
    }

    private static List<string> LinkWords(List<string> command, BuildTree tree)
    {
        var words = new List<string>();
        for (var i = 0; i < command.Count && command[i] is not "-o"; i++)
        {
            words.Add(i > 0 && command[i - 1] == "-T" && !Path.IsPathRooted(command[i]) ? Path.GetFullPath(Path.Combine(tree.Path, command[i])) : command[i]);
        }

        return words;
    }

    private static void Check((int Status, string Text) result, string what)
    {
        if (result.Status != 0)
        {
            throw new ModuleBuildException($"{what} failed: {FirstLine(result.Text)}", "use -v to see the commands");
        }
    }

    internal static string FirstLine(string text) =>
        text.Split('\n').FirstOrDefault(l => l.Contains("error", StringComparison.OrdinalIgnoreCase)) ?? text.Split('\n').FirstOrDefault(l => l.Length > 0) ?? "no message";

    private static ModuleBuildException Failure(BuildTree tree, Compiler compiler, int status, string text, string final)
    {
        if (status == -1)
        {
            return new ModuleBuildException("the module run-time cannot be built: 'make' is not on PATH", "install the package 'make'");
        }

        var log = final + ".log";
        File.WriteAllText(log, text);
        if (compiler.IsOther && text.Contains("unrecognized", StringComparison.Ordinal))
        {
            return new ModuleBuildException($"kernel '{tree.Release}' was built with gcc {tree.GccMajor}, and '{compiler.Program}' cannot build for it", $"install the package 'gcc-{tree.GccMajor}'");
        }

        return text.Contains("GLIBC_", StringComparison.Ordinal) || text.Contains("Exec format error", StringComparison.Ordinal)
            ? new ModuleBuildException($"the build tools in '{tree.Path}' do not run on this machine", "build on a machine of that kernel's distribution")
            : new ModuleBuildException($"the module run-time cannot be built for kernel '{tree.Release}': {FirstLine(text)}", $"see the log '{log}'");
    }

    private static string SyscallNames(BuildTree tree)
    {
        var path = Path.Combine(tree.Path, "arch/x86/include/generated/uapi/asm/unistd_64.h");
        var text = new StringBuilder();
        if (File.Exists(path))
        {
            foreach (Match match in Regex.Matches(File.ReadAllText(path), "^#define __NR_([a-z0-9_]+) ([0-9]+)$", RegexOptions.Multiline))
            {
                text.Append(CultureInfo.InvariantCulture, $"[{match.Groups[2].Value}] = \"{match.Groups[1].Value}\",\n");
            }
        }

        return text.ToString();
    }
}
