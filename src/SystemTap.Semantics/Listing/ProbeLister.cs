using System.Text;
using SystemTap.Language.Diagnostics;
using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Probes;
using SystemTap.Semantics.Tapsets;

namespace SystemTap.Semantics.Listing;

/// <summary>
/// <c>-l</c> and <c>-L</c>: the probe points a pattern stands for, one on each line, with <c>-L</c> followed by what a handler there can use:
/// variables of the aliases passed (<c>name:string</c>), then context variables (<c>$prev:struct task_struct*</c>). Nothing is bound or attached.
/// </summary>
public sealed class ProbeLister
{
    private readonly ProbeResolver _resolver;
    private readonly LightTypes _types;
    private readonly List<ScriptFile> _userFiles;
    private readonly Dictionary<SourceText, HashSet<string>> _globals = [];

    /// <param name="resolver">Knows all points.</param>
    /// <param name="library">Knows the functions, for types.</param>
    /// <param name="userFiles">Additional scripts (<c>-E</c>).</param>
    public ProbeLister(ProbeResolver resolver, ITapsetLibrary library, IEnumerable<ScriptFile> userFiles)
    {
        _resolver = resolver;
        _userFiles = [.. userFiles];
        _types = new LightTypes(library, _userFiles);
    }

    /// <summary>
    /// Writes what the points stand for. Returns stap's exit code: 0, or 1 when nothing matches; then the reason is in
    /// <paramref name="diagnostics"/>. Warnings are dropped.
    /// </summary>
    public int List(IReadOnlyList<ProbePoint> points, bool withVariables, TextWriter output, DiagnosticBag diagnostics)
    {
        var seen = new HashSet<string>(StringComparer.Ordinal);
        var complaints = new DiagnosticBag();
        foreach (var point in points)
        {
            foreach (var probe in _resolver.TryExpand(point, complaints))
            {
                var line = withVariables ? probe.Name + Variables(probe) : probe.Name;
                if (seen.Add(line))
                {
                    output.Write(line);
                    output.Write('\n');
                }
            }
        }

        if (seen.Count > 0)
        {
            return 0;
        }

        foreach (var complaint in complaints.All)
        {
            if (complaint.Severity != Severity.Warning)
            {
                diagnostics.Add(complaint);
            }
        }

        return 1;
    }

    /// <summary>Variables as <c>-L</c> shows them, each with a space in front.</summary>
    private string Variables(ExpandedProbe probe)
    {
        var text = new StringBuilder();
        var blocks = new List<BlockStatement>();
        for (var i = probe.Aliases.Count - 1; i >= 0; i--)
        {
            if (probe.Aliases[i].Prologue is { } prologue)
            {
                blocks.Add(prologue);
            }
        }

        if (blocks.Count > 0)
        {
            foreach (var (name, type) in _types.Locals(blocks, Globals(probe)))
            {
                if (!name.StartsWith("__", StringComparison.Ordinal))
                {
                    text.Append(' ').Append(name).Append(':').Append(Dumps.Type(type));
                }
            }
        }

        foreach (var variable in probe.Point.Context.Variables)
        {
            text.Append(' ').Append(variable.Name).Append(':').Append(variable.TypeText);
        }

        return text.ToString();
    }

    /// <summary>Globals of the files the aliases stand in and of the user's: assigning one makes no local.</summary>
    private HashSet<string> Globals(ExpandedProbe probe)
    {
        var source = probe.Aliases[^1].Alias.Span.Source;
        if (source is not null && _globals.TryGetValue(source, out var known) && probe.Aliases.Count == 1)
        {
            return known;
        }

        var names = new HashSet<string>(StringComparer.Ordinal);
        foreach (var file in (IEnumerable<ScriptFile>)[.. _userFiles, .. _resolver.JoinedFiles])
        {
            foreach (var item in file.Items)
            {
                if (item is GlobalDefinition global && (!global.IsPrivate || Passes(probe, file.Source)))
                {
                    names.Add(global.Name);
                }
            }
        }

        if (source is not null && probe.Aliases.Count == 1)
        {
            _globals[source] = names;
        }

        return names;
    }

    private static bool Passes(ExpandedProbe probe, SourceText source)
    {
        foreach (var step in probe.Aliases)
        {
            if (ReferenceEquals(step.Alias.Span.Source, source))
            {
                return true;
            }
        }

        return false;
    }
}
