using System.Text;

namespace SystemTap.KernelModule.Building;

// What modpost does for a module: the version (a checksum of the declaration) of each kernel symbol it uses goes into its section __versions, as
// struct modversion_info, a long and 56 bytes of name, since Linux 2.6. Doing it here lets the run-time be compiled beside the build system's own steps,
// and gives embedded C, which is compiled later, the versions of what it uses.

/// <summary>The symbols a kernel exports to modules: the Module.symvers of its build tree.</summary>
internal static class ExportedSymbols
{
    private const int NameBytes = 56;

    /// <summary>C text whose object holds the versions of these symbols; null when the kernel has no versions. Symbols with <c>stap_</c> are the modules' own, and the build system describes the module itself.</summary>
    /// <exception cref="ModuleBuildException">One is not exported; <paramref name="user"/> uses it.</exception>
    public static string? Versions(BuildTree tree, IReadOnlyCollection<string> used, string user)
    {
        var wanted = used.Where(s => s != "__this_module" && !s.StartsWith("stap_", StringComparison.Ordinal)).ToHashSet(StringComparer.Ordinal);
        var text = new StringBuilder("static const struct { unsigned long crc; char name[56]; } versions[] __attribute__((used, section(\"__versions\"))) = {\n");
        foreach (var line in File.ReadLines(Path.Combine(tree.Path, "Module.symvers")))
        {
            var columns = line.Split('\t', 3);
            if (columns.Length == 3 && wanted.Remove(columns[1]) && columns[1].Length < NameBytes)
            {
                text.Append("\t{ ").Append(columns[0]).Append(", \"").Append(columns[1]).Append("\" },\n");
            }
        }

        if (wanted.Count > 0)
        {
            throw new ModuleBuildException($"{user} uses '{wanted.Order(StringComparer.Ordinal).First()}', which kernel '{tree.Release}' does not export to modules", "use something that stands in the build tree's Module.symvers");
        }

        return tree.Value("CONFIG_MODVERSIONS") == "y" ? text.Append("};\n").ToString() : null;
    }

    /// <summary>The symbols an object uses and does not define.</summary>
    public static HashSet<string> UsedBy(string path, string folder, Action<string>? echo) => Names(["nm", "-u", path], folder, echo);

    /// <summary>The symbols an object has for others.</summary>
    public static HashSet<string> DefinedBy(string path, string folder, Action<string>? echo) => Names(["nm", "-g", "--defined-only", path], folder, echo);

    private static HashSet<string> Names(string[] command, string folder, Action<string>? echo)
    {
        var (status, text) = Tool.Run(command, folder, echo);
        return status == 0 ? [.. text.Split('\n').Select(l => l.Trim().Split(' ')[^1]).Where(w => w.Length > 0)]
            : throw new ModuleBuildException("the symbols of an object cannot be read: 'nm' " + (status == -1 ? "is not on PATH" : "failed"), "install the package 'binutils'");
    }
}
