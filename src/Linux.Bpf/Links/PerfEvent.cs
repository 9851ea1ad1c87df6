namespace Linux.Bpf;

/// <summary>placeholder</summary>
public sealed class PerfEvent : IDisposable
{
    /// <inheritdoc/>
    public void Dispose() { }
}
