using SystemTap.Cli.CommandLine;
using SystemTap.KernelModule.Building;
using SystemTap.KernelModule.Translation;
using SystemTap.Language.Diagnostics;
using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Tapsets;

namespace SystemTap.Cli.Driver;

// Passes 3 to 5 of the kernel-module runtime.
internal sealed partial class SessionDriver
{
    private bool UsesModule => _moduleReason is not null;

    /// <summary>What <c>%( runtime == … %)</c> sees.</summary>
    private string RuntimeName => UsesModule ? "kernel" : "bpf";

    /// <summary>Passes 1 to 3 alone, for tests of the C engine. Null after errors, which are printed.</summary>
    internal (LoweredProgram Program, CTranslation C)? ToC() => Front(out _) is { } program && TranslateModule(program) is { } c ? (program, c) : null;

    private int RunModule(LoweredProgram program)
    {
        var clock = new PassClock(_options.Verbose(3));
        var translation = TranslateModule(program);
        if (PrintDiagnostics() || translation is null)
        {
            return Failed(3, "translation");
        }

        Report(3, $"translated to C: {translation.Script.Length} bytes {clock}");
        if (_options.LastPass == 3)
        {
            Write(translation.Embedded is null ? translation.Script : $"{translation.Script}\n/* ---- embedded C ---- */\n\n{translation.Embedded}");
            return 0;
        }

        return BuildAndRun(translation);
    }

    private CTranslation? TranslateModule(LoweredProgram program)
    {
        try
        {
            var tables = new NameTables(TapsetDirectories().ConvertAll(d => Path.Combine(d, "tables")), _target.Architecture.Name);
            return CTranslator.Translate(program, new TranslationOptions
            {
                ModuleName = _options.LastPass == 3 ? ModuleName : ModuleBuilder.NamePlaceholder,
                Arguments = _options.ScriptArguments,
                SuppressHandlerErrors = _options.SuppressHandlerErrors,
                ShowGlobals = _options.ShowGlobals,
                Bulk = _options.Bulk,
                OldEmbeddedNames = _options.CompatibleVersion is { } version && Version.Parse(version.Contains('.') ? version : version + ".0") < new Version(1, 8),
                Table = tables.Get,
            });
        }
        catch (ModuleCannotException e)
        {
            _diagnostics.Add(new Diagnostic("module.cannot", Severity.SemanticError, e.Message, e.Span) { Hint = e.Hint });
            PrintDiagnostics();
            return null;
        }
    }
}
