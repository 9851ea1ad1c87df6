namespace SystemTap.Runtime.Modules;

/// <summary>A module cannot be loaded, driven or removed: what is wrong, and what to do.</summary>
public sealed class ModuleException(string message, string? hint = null) : Exception(message)
{
    /// <summary>One action; null when there is none.</summary>
    public string? Hint { get; } = hint;

    /// <summary>A running staprun has the module.</summary>
    internal bool IsInUse { get; init; }
}
