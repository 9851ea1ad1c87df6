namespace SystemTap.Semantics.Targeting;

/// <summary>Why a value cannot be read.</summary>
/// <param name="Text">A sentence part for messages.</param>
public sealed record Unreadable(string Text)
{
    /// <summary>It is in a register that only the kernel-module runtime reads.</summary>
    public static readonly Unreadable InVector = new("it is in a floating-point or vector register, which BPF programs cannot read: --runtime=kernel reads it") { NeedsModule = true };

    /// <summary>The kernel-module runtime could read it.</summary>
    public bool NeedsModule { get; private init; }

    /// <summary>A reason that no runtime can help with.</summary>
    public static implicit operator Unreadable(string text) => new(text);

    /// <summary>The same reason for something that depends on it.</summary>
    public Unreadable Of(string what) => this with { Text = what + ": " + Text };

    /// <inheritdoc/>
    public override string ToString() => Text;
}
