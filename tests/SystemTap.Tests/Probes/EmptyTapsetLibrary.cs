using SystemTap.Language.Syntax;
using SystemTap.Semantics.Tapsets;

namespace SystemTap.Tests.Probes;

/// <summary>A library without files.</summary>
internal sealed class EmptyTapsetLibrary : ITapsetLibrary
{
    public IEnumerable<string> FunctionNames => [];

    public IEnumerable<string> AliasNames => [];

    public (int Known, int Parsed) FileCounts => (0, 0);

    public IReadOnlyList<ScriptFile> FilesWithFunction(string name) => [];

    public IReadOnlyList<ScriptFile> FilesWithGlobal(string name) => [];

    public IReadOnlyList<ScriptFile> FilesWithAlias(string firstComponent) => [];
}
