using SystemTap.Language.Preprocessing;

namespace SystemTap.Language.Parsing;

/// <summary>What a parse depends on besides the text.</summary>
public sealed class ParseOptions
{
    /// <summary>For conditionals and for <c>--compatible</c>.</summary>
    public PreprocessorEnvironment Environment { get; init; } = new();

    /// <summary>The library macros.</summary>
    public MacroTable Macros { get; init; } = MacroTable.Empty;

    /// <summary>Script arguments, one char for each byte.</summary>
    public IReadOnlyList<string> Arguments { get; init; } = [];

    /// <summary>Embedded C is allowed (<c>-g</c>). Tapset sources are always in guru mode.</summary>
    public bool GuruMode { get; init; }
}
