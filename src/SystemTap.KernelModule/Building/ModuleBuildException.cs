namespace SystemTap.KernelModule.Building;

/// <summary>A module cannot be built: what is wrong, and what to do.</summary>
public sealed class ModuleBuildException(string message, string hint) : Exception(message)
{
    /// <summary>One action: a package to install, an option to give.</summary>
    public string Hint { get; } = hint;
}
