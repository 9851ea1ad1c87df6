using SystemTap.Language.Diagnostics;
using SystemTap.Language.Lexing;
using SystemTap.Language.Text;

namespace SystemTap.Language.Preprocessing;

/// <summary>One <c>@define</c>.</summary>
public sealed class MacroDefinition
{
    internal MacroDefinition(string name, SourceSpan span, IReadOnlyList<string> parameters, Token[] body, bool isLibrary)
    {
        Name = name;
        Span = span;
        Parameters = parameters;
        Body = body;
        IsLibrary = isLibrary;
    }

    /// <summary>The name without <c>@</c>.</summary>
    public string Name { get; }

    /// <summary>Where the name stands in its definition.</summary>
    public SourceSpan Span { get; }

    public IReadOnlyList<string> Parameters { get; }

    /// <summary>From a <c>.stpm</c> file: the body sees library macros only.</summary>
    public bool IsLibrary { get; }

    internal Token[] Body { get; }
}

/// <summary>The library macros, fetched by name when a script first uses one. Not safe for concurrent use.</summary>
public sealed class MacroTable(Func<string, MacroDefinition?>? find = null)
{
    private readonly Dictionary<string, MacroDefinition?> _known = new(StringComparer.Ordinal);

    /// <summary>A table without macros that cannot get any.</summary>
    public static MacroTable Empty { get; } = new();

    /// <summary>The macro of a name (without <c>@</c>), or null.</summary>
    public MacroDefinition? Find(string name)
    {
        if (find is null)
        {
            return _known.GetValueOrDefault(name);
        }

        // Library files are parsed by two threads. The lock is re-entrant: a library macro may need another one.
        lock (_known)
        {
            if (!_known.TryGetValue(name, out var definition))
            {
                _known[name] = definition = find(name);
            }

            return definition;
        }
    }

    /// <summary>Adds a macro. False when the name is taken: duplicates across library files are an error of the second file.</summary>
    public bool TryAdd(MacroDefinition definition)
    {
        if (this == Empty)
        {
            throw new InvalidOperationException("MacroTable.Empty is shared and stays empty.");
        }

        return _known.TryAdd(definition.Name, definition);
    }

    /// <summary>Names fetched or added so far, for suggestions.</summary>
    public IEnumerable<string> KnownNames
    {
        get
        {
            foreach (var (name, definition) in _known)
            {
                if (definition is not null)
                {
                    yield return name;
                }
            }
        }
    }

    /// <summary>
    /// Reads a library macro file (<c>.stpm</c>): nothing but <c>@define</c>s, which may stand in conditionals.
    /// Errors go to the bag; the definitions before and after them are still returned.
    /// </summary>
    public static IReadOnlyList<MacroDefinition> ParseLibrary(SourceText source, PreprocessorEnvironment environment, MacroTable library, DiagnosticBag diagnostics, IReadOnlyList<string>? arguments = null)
    {
        var lexer = new Lexer(source, arguments, environment.CompatibleVersion, diagnostics);
        var preprocessor = new Preprocessor(lexer.All(), environment, library, diagnostics, isLibrary: true);
        var rest = preprocessor.Run();
        var first = rest.Items[0];
        if (first.Kind != TokenKind.EndOfFile && first.Junk != JunkReason.AlreadyReported)
        {
            diagnostics.Add(new Diagnostic("parse.library-macro-only", Severity.ParseError,
                "library macro file '" + source.Path + "' holds something other than '@define'", first.Span) { Saw = first.Describe() });
        }

        return preprocessor.Definitions;
    }
}
