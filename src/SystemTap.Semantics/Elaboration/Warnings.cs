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

            var names = new List<string>();
            foreach (var other in unit.Locals)
            {
                if (!ReferenceEquals(other, local) && other.IsWritten)
                {
                    names.Add(other.Name);
                }
            }

            names.AddRange(session.Symbols.GlobalNames);
            var near = Suggestions.Find(local.Name, names);
            session.Diagnostics.Warn("semantic.never-assigned", local.Span, $"never-assigned local variable '{local.Name}'",
                near.Count > 0 ? "did you mean '" + string.Join("', '", near) + "'?" : null);
        }
    }
}
