
namespace SystemTap.Semantics.Lowered;

/// <summary>The function a probe is on, where its kind of event has one.</summary>
public static class ProbedFunction
{
    /// <summary>Most bytes kept of a function's name where it is a variable of the kernel: longer ones (generated names) are cut.</summary>
    public const int LongestName = 95;

    /// <summary>Most bytes of a module's name (MODULE_NAME_LEN on 64 bits).</summary>
    public const int LongestModule = 55;

    /// <summary>Its name; null for other events.</summary>
    public static string? Name(ProbeSpec spec) => spec switch
    {
        KernelFunctionSpec k => Cut(k.Symbol.IndexOf('.') is > 0 and var dot ? k.Symbol[..dot] : k.Symbol, LongestName),
        UserFunctionSpec u => Cut(u.Symbol, LongestName),
        _ => null,
    };

    /// <summary>Its module: "kernel" for the kernel itself, the file for user functions, "" for other events.</summary>
    public static string Module(ProbeSpec spec) => spec switch
    {
        KernelFunctionSpec k => Cut(k.Module ?? "kernel", LongestModule),
        UserFunctionSpec u => Cut(System.IO.Path.GetFileName(u.Path), LongestModule),
        _ => "",
    };

    private static string Cut(string text, int most) => text.Length <= most ? text : text[..most];
}
