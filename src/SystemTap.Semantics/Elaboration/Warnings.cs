using SystemTap.Language.Diagnostics;
using SystemTap.Semantics.Binding;

namespace SystemTap.Semantics.Elaboration;

/// <summary>What SystemTap warns about once all bodies are known: unused things and variables that never get a value.</summary>
internal static class Warnings
{
    public static void Report(BindingSession session)
    {
        if (session.Options.NoWarnings)
        {
            return;
        }

        foreach (var unit in session.Probes)
        {
            NeverAssigned(session, unit);
        }

        foreach (var unit in session.Functions)
        {
            NeverAssigned(session, unit);
        }

        foreach (var global in session.Symbols.Globals)
        {
            if (global.IsTapset)
            {
                continue;
            }

            if (!global.IsUsed && session.IsOptimizing)
            {
                session.Diagnostics.Warn("semantic.elided-variable", global.Span, $"Eliding unused variable '{global.Name}'");
            }
            else if (global is { IsRead: true, IsWritten: false, Override: null } && global.Definition.Initializer is null)
            {
                session.Diagnostics.Warn("semantic.never-assigned", global.Span, $"never-assigned global variable '{global.Name}'");
            }
        }

        foreach (var function in session.Symbols.UserFunctions)
        {
            if (function.Unit is null && function.Copies is null && session.IsOptimizing)
            {
                session.Diagnostics.Warn("semantic.elided-function", function.Definition.Span, $"Eliding unused function '{function.Name}'");
            }
        }
    }

    private static void NeverAssigned(BindingSession session, BodyUnit unit)
    {
        foreach (var local in unit.Locals)
        {
            if (local is not { IsRead: true, IsWritten: false, IsParameter: false } || local.Span.Source is { IsTapset: true })
            {
                continue;
            }

            session.Diagnostics.Warn("semantic.never-assigned", local.Span, $"never-assigned local variable '{local.Name}'", HintFor(session, unit, local));
        }
    }

    private static string? HintFor(BindingSession session, BodyUnit unit, LocalSymbol local)
    {
        var (source, start) = (local.Span.Source.Content, local.Span.Start);
        if (source[start] == '$' && start + 1 < source.Length && char.IsAsciiDigit(source[start + 1]))
        {
            return "$N puts the argument into the script as it is; @N is its text";
        }

        // What the aliases of a probe assign counts, whether or not it is used and so became a variable.
        var names = new HashSet<string>(unit.Locals.Where(l => l.IsWritten).Select(l => l.Name).Concat(session.Symbols.GlobalNames));
        foreach (var alias in unit.Probe?.Aliases ?? [])
        {
            SyntaxFacts.AddWritten(alias.Prologue, names);
        }

        return session.Symbols.FunctionNames.Contains(local.Name) ? $"did you mean the function, '{local.Name}()'?" : Suggestions.DidYouMean(local.Name, names);
    }
}
