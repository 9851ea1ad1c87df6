using SystemTap.Semantics.Lowered;

namespace SystemTap.Semantics.Intrinsics;

/// <summary>What an intrinsic is like; engines and the optimiser rely on it.</summary>
[Flags]
public enum IntrinsicTraits
{
    None = 0,

    /// <summary>No effect but the result: unused calls may be removed.</summary>
    Pure = 1,

    /// <summary>Same value all through one handler run: may be computed once.</summary>
    Stable = 2,

    /// <summary>Depends on its arguments only (or on constants of the session): may be evaluated later and elsewhere, so a print in a kernel handler can leave it to stap.</summary>
    Deferrable = 4,

    /// <summary>Can raise a run-time error.</summary>
    Fallible = 8,

    /// <summary>Needs <c>-g</c> when a user script reaches it.</summary>
    Guru = 16,

    /// <summary>Reads kernel memory or state that belongs to others: stapdev/stapsys only.</summary>
    KernelRead = 32,

    /// <summary>Reads the current user process: stapusr for own processes.</summary>
    MyProcess = 64,

    /// <summary>Value is fixed when the session starts (target(), stp_pid(), …).</summary>
    SessionConstant = 128,

    /// <summary>Does not return (error, abort).</summary>
    NoReturn = 256,
}

/// <summary>
/// One built-in operation. The list is closed and small: tapset functions are script over these, each engine implements each
/// once, or refuses it with a located "cannot" error. Only tapset files may call them, by the name <c>_stap_NAME</c>.
/// </summary>
public sealed class Intrinsic
{
    internal Intrinsic(IntrinsicId id, string name, ScriptType returnType, ScriptType[] parameters, IntrinsicTraits traits)
    {
        Id = id;
        Name = name;
        ReturnType = returnType;
        Parameters = parameters;
        Traits = traits;
    }

    public IntrinsicId Id { get; }

    /// <summary>The name tapset files call it by, with the <c>_stap_</c> prefix.</summary>
    public string Name { get; }

    public ScriptType ReturnType { get; }

    public IReadOnlyList<ScriptType> Parameters { get; }

    public IntrinsicTraits Traits { get; }

    public bool Has(IntrinsicTraits trait) => (Traits & trait) != 0;
}
