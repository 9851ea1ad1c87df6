namespace SystemTap.Targets;

/// <summary>Numbers of the DWARF standard that are used here.</summary>
internal static class Dw
{
    // Tags
    public const int ArrayType = 0x01, ClassType = 0x02, EnumerationType = 0x04, FormalParameter = 0x05, Label = 0x0a, LexicalBlock = 0x0b, Member = 0x0d,
        PointerType = 0x0f, ReferenceType = 0x10, CompileUnit = 0x11, StructureType = 0x13, SubroutineType = 0x15, Typedef = 0x16, UnionType = 0x17,
        UnspecifiedParameters = 0x18, Variant = 0x19, Inheritance = 0x1c, InlinedSubroutine = 0x1d, Module = 0x1e, PointerToMember = 0x1f, SubrangeType = 0x21,
        BaseType = 0x24, ConstType = 0x26, Enumerator = 0x28, Subprogram = 0x2e, Variable = 0x34, VolatileType = 0x35, VariantPart = 0x33,
        InterfaceType = 0x38, Namespace = 0x39, ImportedUnit = 0x3d, UnspecifiedType = 0x3b, RvalueReference = 0x42, RestrictType = 0x37, TemplateAlias = 0x43, AtomicType = 0x47, CallSite = 0x48, GnuCallSite = 0x4109;

    // Attributes
    public const uint AtLocation = 0x02, AtName = 0x03, AtByteSize = 0x0b, AtBitOffset = 0x0c, AtBitSize = 0x0d, AtLowPc = 0x11, AtHighPc = 0x12,
        AtConstValue = 0x1c, AtInline = 0x20, AtProducer = 0x25, AtUpperBound = 0x2f, AtAbstractOrigin = 0x31, AtArtificial = 0x34,
        AtCallingConvention = 0x36, AtCount = 0x37, AtMemberLocation = 0x38, AtDeclaration = 0x3c, AtEncoding = 0x3e, AtExternal = 0x3f, AtFrameBase = 0x40, AtSpecification = 0x47,
        AtType = 0x49, AtRanges = 0x55, AtSignature = 0x69, AtDataBitOffset = 0x6b, AtLinkageName = 0x6e, AtMipsLinkageName = 0x2007, AtCompDir = 0x1b, AtImport = 0x18, AtAlignment = 0x88,
        AtVariableParameter = 0x4b, AtDeclFile = 0x3a, AtCallFile = 0x58, AtCallLine = 0x59, AtCallReturnPc = 0x7d, AtCallOrigin = 0x7f, AtCallTailCall = 0x82, AtGnuTailCall = 0x2115;

    // Encodings
    public const ulong EncodingBoolean = 2, EncodingFloat = 4, EncodingSigned = 5, EncodingSignedChar = 6, EncodingUnsigned = 7, EncodingUnsignedChar = 8,
        EncodingUtf = 0x10;

    // Units
    public const byte UnitCompile = 1, UnitType = 2, UnitPartial = 3, UnitSkeleton = 4, UnitSplitType = 6;
}
