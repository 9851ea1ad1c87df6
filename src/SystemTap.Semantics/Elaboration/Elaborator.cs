using SystemTap.Language.Lexing;
using SystemTap.Language.Syntax;
using SystemTap.Semantics.Binding;
using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Lowering;
using SystemTap.Semantics.Probes;

namespace SystemTap.Semantics.Elaboration;

// Pass 2 from expanded probes to the lowered program, in steps:
//
//   expand     each written probe becomes bodies, one for each event (prologues + handler + epilogues)
//   discover   liveness on syntax drops what nothing needs; names get their meaning; functions and library files are found
//   infer      one type for each variable, to a fixpoint
//   lower      typed trees without sugar; trivial library functions take the place of their calls
//   finish     recursion, purity, foreach and privilege checks, order of functions
//
// The syntax trees are shared by all expansions and never annotated: facts are kept by body, so 350 expansions of syscall.*
// cost 350 small walks and nothing else.

/// <summary>Pass 2.</summary>
public static class Elaborator
{
    /// <summary>Elaborates a script. All complaints go into the input's diagnostics; the program is null when there are errors.</summary>
    public static ElaborationResult Elaborate(ElaborationInput input)
    {
        var session = new BindingSession(input);
        Expand(session);
        Discover(session);
        ApplyOverrides(session);
        Warnings.Report(session);
        if (!input.Diagnostics.HasErrors)
        {
            new TypeInference(session).Run();
        }

        if (input.Diagnostics.HasErrors)
        {
            return new ElaborationResult((LoweredProgram?)null) { TapsetFiles = session.Symbols.TapsetFiles };
        }

        var program = new ProgramBuilder(session);
        var handlers = new HandlerAssembly(program);
        foreach (var unit in session.Probes)
        {
            handlers.Add(unit);
        }

        if (!session.IsOptimizing)
        {
            foreach (var unit in session.Functions)
            {
                program.FunctionOf(unit.Function!);
            }
        }

        program.LowerFunctions();
        var result = Finish.Run(program);
        return new ElaborationResult(input.Diagnostics.HasErrors ? null : result.Program)
        {
            Origins = result.Origins,
            TapsetFiles = session.Symbols.TapsetFiles,
        };
    }

    private static void Expand(BindingSession session)
    {
        var any = false;
        foreach (var file in session.Input.Files)
        {
            foreach (var item in file.Items)
            {
                if (item is ProbeDefinition probe)
                {
                    any = true;
                    Expand(session, probe);
                }
            }
        }

        if (session.Probes.Count == 0 && !session.Diagnostics.HasErrors)
        {
            session.Diagnostics.Add(new Language.Diagnostics.Diagnostic("semantic.no-probes", Language.Diagnostics.Severity.SemanticError,
                "no probes found" + (any ? ": every optional probe point is absent" : ": the script has none")));
        }
    }

    private static void Expand(BindingSession session, ProbeDefinition definition)
    {
        foreach (var point in definition.Points)
        {
            var expanded = session.Input.Expander.Expand(point, session.Diagnostics);
            foreach (var probe in expanded)
            {
                session.AddProbe(MakeUnit(session, definition, probe));
            }

            if (point.IsSufficient && expanded.Count > 0)
            {
                break;
            }
        }
    }

    /// <summary>Prologues nearest the event first, the user's handler, epilogues outermost first.</summary>
    private static BodyUnit MakeUnit(BindingSession session, ProbeDefinition definition, ExpandedProbe probe)
    {
        IReadOnlyList<BlockStatement> blocks = [definition.Body];
        if (probe.Aliases.Count > 0)
        {
            var all = new List<BlockStatement>(probe.Aliases.Count + 1);
            for (var i = probe.Aliases.Count - 1; i >= 0; i--)
            {
                session.Symbols.JoinAlias(probe.Aliases[i].Alias);
                if (probe.Aliases[i].Prologue is { } prologue)
                {
                    all.Add(prologue);
                }
            }

            all.Add(definition.Body);
            foreach (var step in probe.Aliases)
            {
                if (step.Epilogue is { } epilogue)
                {
                    all.Add(epilogue);
                }
            }

            blocks = all;
        }

        if (probe.Point.Guard is { } guard && !session.Options.Limits.Defines.ContainsKey("STAP_CALLEE_MATCHALL"))
        {
            var leave = new IfStatement(guard.Span, new UnaryExpression(guard.Span, UnaryOperator.Not, guard), new NextStatement(guard.Span), null);
            blocks = [new BlockStatement(guard.Span, [leave]), .. blocks];
        }

        return new BodyUnit
        {
            Probe = probe,
            Definition = definition,
            Context = probe.Point.Context,
            Blocks = blocks,
            UserBlock = definition.Body,
            Conditions = probe.Conditions,
        };
    }

    private static void Discover(BindingSession session)
    {
        if (!session.IsOptimizing)
        {
            foreach (var function in session.Symbols.UserFunctions)
            {
                if (function.Unit is null && !session.Effects.NeedsContext(function))
                {
                    // Builds the chain of overloads first, so that result types are shared.
                    session.Symbols.FindFunction(function.Name, function.Definition.Parameters.Count, function.Definition.Span.Source);
                    session.UnitOf(function, ProbeContext.None);
                }
            }
        }

        while (true)
        {
            while (session.NextUndiscovered() is { } unit)
            {
                Discovery.Run(session, unit);
            }

            if (!session.Symbols.PendingProbes.TryDequeue(out var probe))
            {
                break;
            }

            Expand(session, probe);
        }
    }

    private static void ApplyOverrides(BindingSession session)
    {
        foreach (var (name, value) in session.Options.GlobalOverrides)
        {
            if (session.Symbols.FindUserGlobal(name) is { } global)
            {
                global.Override = value;
                if (global.Slot.Type is null && global.Definition.Initializer is null && ScriptNumber.Parse(value) is null)
                {
                    global.Slot.Set(ScriptType.String, global.Span);
                }
            }
            else
            {
                session.Diagnostics.Add(new Language.Diagnostics.Diagnostic("semantic.global-override", Language.Diagnostics.Severity.SemanticError,
                    $"global '{name}' given by -G does not exist")
                {
                    Hint = Language.Diagnostics.Suggestions.DidYouMean(name, session.Symbols.GlobalNames, 1),
                });
            }
        }

        foreach (var global in session.Symbols.Globals)
        {
            if (global.Slot.Type is null && global.Definition.Initializer is { } literal)
            {
                global.Slot.Set(literal is StringLiteral ? ScriptType.String : ScriptType.Long, literal.Span);
            }
        }
    }
}
