using SystemTap.Language.Text;
using SystemTap.Semantics.Tapsets;

namespace SystemTap.KernelModule.Translation;

/// <summary>What pass 3 makes for the kernel-module runtime: C text, to be compiled against <c>runtime/include/stap.h</c>.</summary>
/// <param name="Script">The script's translation unit; includes <c>stap.h</c> and nothing else, exports <c>stap_script</c>.</param>
/// <param name="Embedded">The unit of embedded C (<c>%{ … %}</c>), which includes kernel headers; null when the script has none.</param>
public sealed record CTranslation(string Script, string? Embedded);

/// <summary>What the translator must know beside the program.</summary>
public sealed record TranslationOptions
{
    /// <summary>Name of the module.</summary>
    public string ModuleName { get; init; } = "stap_module";

    /// <summary>Script arguments, for <c>argv</c>.</summary>
    public IReadOnlyList<string> Arguments { get; init; } = [];

    /// <summary><c>--suppress-handler-errors</c>: part of the module, as in SystemTap, so that it holds for <c>staprun</c> too.</summary>
    public bool SuppressHandlerErrors { get; init; }

    /// <summary>False for <c>--no-global-var-display</c>; part of the module too.</summary>
    public bool ShowGlobals { get; init; } = true;

    /// <summary><c>-b</c>: staprun writes a file for each CPU; part of the module too.</summary>
    public bool Bulk { get; init; }

    /// <summary>Embedded C uses <c>THIS->x</c> and <c>THIS->__retvalue</c> without asking for them (<c>--compatible</c> below 1.8).</summary>
    public bool OldEmbeddedNames { get; init; }

    /// <summary>A table of the tapset by name; throws <see cref="IOException"/> when there is none.</summary>
    public Func<string, NameTable> Table { get; init; } = static name => throw new IOException($"table '{name}' does not exist");
}

/// <summary>The kernel-module runtime cannot run this script; the message names the place and the reason.</summary>
public sealed class ModuleCannotException(string message, SourceSpan span, string? hint = null) : Exception(message)
{
    public SourceSpan Span { get; } = span;

    public string? Hint { get; } = hint;
}
