using Linux.Bpf;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Emit;

/// <summary>State of the function whose code is being emitted: the handler itself or a script function.</summary>
internal sealed class FunctionState(Function? function, Subprogram? subprogram)
{
    /// <summary>Null for a handler.</summary>
    public Function? Function { get; } = function;

    public Subprogram? Subprogram { get; } = subprogram;

    /// <summary>The group of functions whose step loop this is (ProgramEmitter.Recursion.cs).</summary>
    public object? Recursion { get; init; }

    public Dictionary<Local, LocalSlot> Locals { get; } = new(ReferenceEqualityComparer.Instance);

    /// <summary>Where a run-time error goes now: the innermost catch, or the error exit.</summary>
    public Label ErrorTarget { get; set; }

    /// <summary>Where errors go that nothing catches.</summary>
    public Label ErrorExit { get; set; }

    /// <summary>Where a stop nobody may catch goes (abort, MAXACTION).</summary>
    public Label FatalExit { get; set; }

    /// <summary>The normal end.</summary>
    public Label End { get; set; }

    /// <summary>Targets of <c>next</c>.</summary>
    public Label Next { get; set; }

    public Label Break { get; set; }

    public Label Continue { get; set; }

    /// <summary>Bytes of the stack in use and most ever used.</summary>
    public int Stack { get; set; }

    /// <summary>Code is being written into a loop body that is a function of its own: another stack, other temporaries, the same variables.</summary>
    public bool IsCallback { get; set; }

    public bool R8InUse { get; set; }

    public bool R9InUse { get; set; }
}

/// <summary>Fixed places of a script function in the frame.</summary>
/// <param name="Subprogram">Its code.</param>
/// <param name="Locals">Parameters, then the locals the rewritten body uses.</param>
/// <param name="Slots">Their places.</param>
/// <param name="Result">The result; null for Void.</param>
internal sealed record FunctionFrame(Function Function, Subprogram Subprogram, IReadOnlyList<Local> Locals, LocalSlot[] Slots, LocalSlot? Result);
