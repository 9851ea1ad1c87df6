using SystemTap.Language.Syntax;

namespace SystemTap.Semantics.Tapsets;

/// <summary>
/// The library as binding sees it: files are parsed only when something in them is named. A file that is asked for belongs to the session from
/// then on (all its definitions become visible).
/// </summary>
public interface ITapsetLibrary
{
    /// <summary>Parsed files that define a function of this name (any arity); empty when none.</summary>
    IReadOnlyList<ScriptFile> FilesWithFunction(string name);

    /// <summary>Parsed files that declare a (non-private) global of this name.</summary>
    IReadOnlyList<ScriptFile> FilesWithGlobal(string name);

    /// <summary>Parsed files that define an alias whose first component is matched by <paramref name="firstComponent"/> (which may hold wildcards).</summary>
    IReadOnlyList<ScriptFile> FilesWithAlias(string firstComponent);

    /// <summary>
    /// Parsed files that define an alias which the point <paramref name="components"/> may mean: its name is matched by the point's first components.
    /// A library that cannot tell gives all of <see cref="FilesWithAlias(string)"/>.
    /// </summary>
    IReadOnlyList<ScriptFile> FilesWithAlias(IReadOnlyList<ProbeComponent> components) => FilesWithAlias(components[0].Name);

    /// <summary>All function names (for suggestions and --dump-functions), without those starting with an underscore.</summary>
    IEnumerable<string> FunctionNames { get; }

    /// <summary>All alias names, dotted, without arguments (for suggestions and listings).</summary>
    IEnumerable<string> AliasNames { get; }

    /// <summary>Number of files known and parsed, for <c>-v</c>.</summary>
    (int Known, int Parsed) FileCounts { get; }
}
