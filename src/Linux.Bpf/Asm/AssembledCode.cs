namespace Linux.Bpf;

/// <summary>Place in a source file an instruction came from. File indexes the program's list of sources; line and column count from 1; line 0 = unknown.</summary>
public readonly record struct SourceMark(int File, int Line, int Column)
{
    /// <summary>True if the mark names a place.</summary>
    public bool IsKnown => Line > 0;
}

/// <summary>A two-slot load at <paramref name="Slot"/> that needs the file descriptor of <paramref name="Map"/> at load time.</summary>
/// <param name="Slot">Index of the first slot.</param>
/// <param name="Map">A <see cref="BpfMap"/>, or any object the loader's resolver understands.</param>
public readonly record struct MapReference(int Slot, object Map);

/// <summary>How the verifier treats a function: static ones are checked again at each call, global ones once, by their BTF prototype (Linux 5.6).</summary>
public enum FuncLinkage { Static = 0, Global = 1 }

/// <summary>Kind of a parameter of a <see cref="FuncLinkage.Global"/> function.</summary>
public enum FuncParamKind
{
    /// <summary>A 64-bit number.</summary>
    Scalar,
    /// <summary>The program's context.</summary>
    Context,
    /// <summary>Pointer to <see cref="FuncParam.Size"/> bytes the function may read and write; may be null unless tagged. Linux 5.12.</summary>
    Memory,
}

/// <summary>One parameter of a function, used only for its BTF prototype.</summary>
/// <param name="Kind">What is passed.</param>
/// <param name="Size">Bytes behind a <see cref="FuncParamKind.Memory"/> pointer.</param>
/// <param name="NonNull">Tag the pointer <c>arg:nonnull</c>, so the callee need not test it. Linux 6.8; older kernels ignore the tag and demand the test.</param>
public readonly record struct FuncParam(FuncParamKind Kind, int Size = 0, bool NonNull = false)
{
    /// <summary>A 64-bit number.</summary>
    public static FuncParam Scalar => new(FuncParamKind.Scalar);
    /// <summary>The program's context pointer.</summary>
    public static FuncParam Context => new(FuncParamKind.Context);
    /// <summary>Pointer to memory of a fixed size.</summary>
    public static FuncParam Memory(int size, bool nonNull = false) => new(FuncParamKind.Memory, size, nonNull);
}

/// <summary>A function inside a program. Declared first, bound to a place later, so calls may go forward.</summary>
public sealed class Subprogram
{
    internal Subprogram(string name, FuncLinkage linkage, FuncParam[] parameters, Label label)
    {
        (Name, Linkage, Parameters, Label) = (name, linkage, parameters, label);
    }

    /// <summary>Name in BTF, stacks and profiles; must be a C identifier.</summary>
    public string Name { get; }
    /// <summary>Checked per call or once.</summary>
    public FuncLinkage Linkage { get; private set; }
    /// <summary>At most five; matters for global functions.</summary>
    public IReadOnlyList<FuncParam> Parameters { get; private set; }
    /// <summary>Where calls go.</summary>
    public Label Label { get; }
    /// <summary>First slot once bound, else -1.</summary>
    public int Slot { get; internal set; } = -1;

    /// <summary>Makes it a global function. Linkage is not part of the code, so this may be decided when all is written.</summary>
    public void MakeGlobal(params FuncParam[] parameters) => (Linkage, Parameters) = (FuncLinkage.Global, parameters);
}

/// <summary>Finished code of one program: slots, and what the loader must still patch or describe. Immutable; may be loaded many times.</summary>
public sealed class AssembledCode
{
    internal AssembledCode(Instruction[] slots, MapReference[] maps, Subprogram[] subprograms, SourceMark[] marks)
    {
        (Slots, Maps, Subprograms, Marks) = (slots, maps, subprograms, marks);
    }

    /// <summary>The instruction slots; map loads hold no descriptor yet.</summary>
    public ReadOnlyMemory<Instruction> Slots { get; }
    /// <summary>Loads to patch with a map's descriptor.</summary>
    public IReadOnlyList<MapReference> Maps { get; }
    /// <summary>Functions after the main one, by rising slot.</summary>
    public IReadOnlyList<Subprogram> Subprograms { get; }
    /// <summary>One mark for each slot.</summary>
    public ReadOnlyMemory<SourceMark> Marks { get; }

    /// <summary>Listing in verifier style.</summary>
    public override string ToString() => Disassembler.Listing(Slots.Span);
}
