using System.Text;
using SystemTap.Targets;

namespace SystemTap.KernelModule.Building;

// From C text to a loadable module.
//
// A kbuild run over a script takes seconds, most of them for kernel headers the script does not need. So the run-time is built by kbuild once for each
// kernel build, compiler and run-time source (RuntimeImage), and a script, which includes one small header of ours, costs one gcc, one objtool and one ld.
// Rules found by trial, without which the kernel warns or refuses:
//   - gcc gets kbuild's own options, minus the tracing prologue (-pg …);
//   - objtool runs over each object with kbuild's own options: return thunks and unwind tables come from it;
//   - the final link uses the kernel's module.lds;
//   - __versions, vermagic and this_module come from kbuild's .mod.o, so the stub that stands for a script there must use every symbol gcc may call.
// The module's name is a fixed-width placeholder in the cached objects, written over in the result. That makes finished modules cacheable too: the same
// C text yields the same module whatever its name.

/// <summary>What to build.</summary>
public sealed record ModuleRequest
{
    /// <summary>The kernel.</summary>
    public required BuildTree Tree { get; init; }

    /// <summary>C text of the script; uses <see cref="ModuleBuilder.NamePlaceholder"/> for the module's name.</summary>
    public required string Script { get; init; }

    /// <summary>C text that includes kernel headers (embedded C), or null.</summary>
    public string? Embedded { get; init; }

    /// <summary>Name of the module: <c>[a-z0-9_]</c>, at most 55 bytes.</summary>
    public required string Name { get; init; }

    /// <summary>The folder <c>runtime/</c>.</summary>
    public required string RuntimeFolder { get; init; }

    /// <summary>Where things that can be made again are kept.</summary>
    public required string CacheFolder { get; init; }

    /// <summary>Where the work is done and the module is put.</summary>
    public required string WorkFolder { get; init; }

    /// <summary><c>-B NAME=VALUE</c>.</summary>
    public IReadOnlyList<string> Variables { get; init; } = [];

    /// <summary>Finished modules are taken from and put into the cache.</summary>
    public bool UseCache { get; init; } = true;

    /// <summary>Key and certificate (PEM or DER as the kernel's sign-file takes them) that sign the module; null: none.</summary>
    public (string Key, string Certificate)? Signing { get; init; }

    /// <summary>The run-time for <see cref="Tree"/>, if it was begun earlier; null: it is made now.</summary>
    public PreparedRuntime? Runtime { get; init; }

    /// <summary>Told each command; null: nobody.</summary>
    public Action<string>? Echo { get; init; }
}

/// <summary>
/// The run-time of one kernel build, being made on a thread of its own: the first script on a kernel waits seconds for it, and it needs nothing of the script, so it is begun
/// while the script is still being read.
/// </summary>
public sealed class PreparedRuntime
{
    private PreparedRuntime(Task<RuntimeImage> image) => Image = image;

    internal Task<RuntimeImage> Image { get; }

    /// <summary>Begins. What goes wrong is told by the build that uses it.</summary>
    public static PreparedRuntime Begin(BuildTree tree, string runtimeFolder, string cacheFolder, IReadOnlyList<string> variables, Action<string>? echo) =>
        new(Task.Run(() => RuntimeImage.Get(tree, ModuleBuilder.CompilerOf(tree, variables), runtimeFolder, cacheFolder, variables, echo)));

    /// <summary>Waits until nothing is under way any more.</summary>
    public void Settle() => Task.WaitAny(Image);
}

/// <summary>Builds modules.</summary>
public static class ModuleBuilder
{
    /// <summary>Stands for the module's name in C text.</summary>
    public static string NamePlaceholder => RuntimeImage.Placeholder;

    /// <summary>Builds <c>NAME.ko</c> in the work folder and yields its path.</summary>
    /// <exception cref="ModuleBuildException">It cannot be built.</exception>
    public static string Build(ModuleRequest request)
    {
        if (request.Name.Length is 0 or > 55 || request.Name.AsSpan().ContainsAnyExcept("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"))
        {
            throw new ModuleBuildException($"module name '{request.Name}' cannot be used", "use letters, digits and _, at most 55");
        }

        var image = request.Runtime is { } begun ? begun.Image.GetAwaiter().GetResult()
            : RuntimeImage.Get(request.Tree, CompilerOf(request.Tree, request.Variables), request.RuntimeFolder, request.CacheFolder, request.Variables, request.Echo);
        var cached = image.Folder + "-scripts/" + ContentKey.Of(request.Script + "\0" + request.Embedded) + ".ko";
        byte[] module;
        if (request.UseCache && File.Exists(cached))
        {
            request.Echo?.Invoke("from the cache: " + cached);
            module = File.ReadAllBytes(cached);
        }
        else
        {
            module = CompileAndLink(request, image);
            if (request.UseCache)
            {
                CacheDirectory.WriteAtomically(cached, module);
            }
        }

        WriteName(module, request.Name);
        var path = Path.Combine(request.WorkFolder, request.Name + ".ko");
        File.WriteAllBytes(path, module);
        if (request.Signing is { } signing)
        {
            Sign(request, signing, path);
        }

        return path;
    }

    /// <summary>Makes sure that there is a compiler for a tree.</summary>
    /// <exception cref="ModuleBuildException">There is none.</exception>
    public static void CheckCompiler(BuildTree tree, IReadOnlyList<string> variables) => _ = CompilerOf(tree, variables);

    internal static Compiler CompilerOf(BuildTree tree, IReadOnlyList<string> variables) =>
        Compiler.Find(tree, variables.FirstOrDefault(v => v.StartsWith("CC=", StringComparison.Ordinal))?[3..]);

    private static byte[] CompileAndLink(ModuleRequest request, RuntimeImage image)
    {
        var objects = new List<string> { image.Base, Compile(request, image, image.Compile, "script", request.Script) };
        if (request.Embedded is not null)
        {
            var embedded = Compile(request, image, image.CompileKernel, "embedded", request.Embedded);
            objects.Add(embedded);
            var used = ExportedSymbols.UsedBy(embedded, request.WorkFolder, request.Echo);
            used.ExceptWith(ExportedSymbols.DefinedBy(objects[1], request.WorkFolder, request.Echo));
            if (ExportedSymbols.Versions(request.Tree, used, "the script's embedded C") is { } versions)
            {
                var (failed, output) = RuntimeImage.CompileVersions(versions, image.Compile, request.WorkFolder, request.Echo);
                objects.Add(failed == 0 ? Path.Combine(request.WorkFolder, RuntimeImage.VersionsObject)
                    : throw new ModuleBuildException($"the versions of kernel symbols do not compile: {RuntimeImage.FirstLine(output)}", "use -v to see the commands, -k to keep the files"));
            }
        }

        var linked = Path.Combine(request.WorkFolder, "module.o");
        var (status, text) = Tool.Run([.. image.Link, "-o", linked, .. objects], request.WorkFolder, request.Echo);
        return status == 0 ? File.ReadAllBytes(linked)
            : throw new ModuleBuildException($"the module cannot be linked: {RuntimeImage.FirstLine(text)}", "use -v to see the commands, -k to keep the files");
    }

    private static string Compile(ModuleRequest request, RuntimeImage image, IReadOnlyList<string> command, string name, string source)
    {
        var (c, o) = (Path.Combine(request.WorkFolder, name + ".c"), Path.Combine(request.WorkFolder, name + ".o"));
        File.WriteAllText(c, source, Encoding.Latin1);
        var (status, text) = Tool.Run([.. command, "-c", "-o", o, c], request.Tree.Path, request.Echo);
        if (status != 0)
        {
            throw name == "embedded"
                ? new ModuleBuildException($"the script's embedded C does not compile: {RuntimeImage.FirstLine(text)}", "use -v to see the commands, -k to keep the files")
                : new ModuleBuildException($"the generated C does not compile, which is a defect of stap: {RuntimeImage.FirstLine(text)}", "report it with the script; -k keeps the files");
        }

        if (image.Objtool.Count > 0)
        {
            (status, text) = Tool.Run([.. image.Objtool, o], request.Tree.Path, request.Echo);
            if (status != 0)
            {
                throw new ModuleBuildException($"objtool refuses the {name}'s object: {RuntimeImage.FirstLine(text)}", "use -v to see the commands, -k to keep the files");
            }
        }

        return o;
    }

    private static void WriteName(byte[] module, string name)
    {
        var placeholder = Encoding.ASCII.GetBytes(RuntimeImage.Placeholder);
        var value = new byte[placeholder.Length];
        Encoding.ASCII.GetBytes(name, value);
        var rest = module.AsSpan();
        while (rest.IndexOf(placeholder) is >= 0 and var at)
        {
            value.CopyTo(rest[at..]);
            rest = rest[(at + value.Length)..];
        }
    }

    private static void Sign(ModuleRequest request, (string Key, string Certificate) signing, string path)
    {
        var tool = Path.Combine(request.Tree.Path, "scripts/sign-file");
        if (!File.Exists(tool))
        {
            throw new ModuleBuildException($"the module cannot be signed: '{tool}' does not exist", $"install the package '{BuildTree.PackageOf(request.Tree.Release)}' whole");
        }

        var (status, text) = Tool.Run([tool, request.Tree.Value("CONFIG_MODULE_SIG_HASH") ?? "sha256", signing.Key, signing.Certificate, path], request.WorkFolder, request.Echo);
        if (status != 0)
        {
            throw new ModuleBuildException($"the module cannot be signed with key '{signing.Key}': {RuntimeImage.FirstLine(text)}", "check key and certificate");
        }
    }
}
