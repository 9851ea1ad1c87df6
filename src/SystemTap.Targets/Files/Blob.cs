namespace SystemTap.Targets;

/// <summary>
/// Read-only bytes that live either in an array or in a file mapping.
/// Mappings are never unmapped: they are a handful per process, and so a span can never outlive its memory.
/// </summary>
internal readonly unsafe struct Blob
{
    private readonly byte[]? _array;
    private readonly byte* _mapping;
    private readonly int _start;

    public int Length { get; }

    public Blob(byte[] array) : this(array, null, 0, array.Length) { }

    private Blob(byte[]? array, byte* mapping, int start, int length)
    {
        _array = array;
        _mapping = mapping;
        _start = start;
        Length = length;
    }

    public ReadOnlySpan<byte> Span => _array is not null
        ? new ReadOnlySpan<byte>(_array, _start, Length)
        : new ReadOnlySpan<byte>(_mapping + _start, Length);

    public Blob Slice(int start, int length)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan((uint)start, (uint)Length);
        ArgumentOutOfRangeException.ThrowIfGreaterThan((uint)length, (uint)(Length - start));
        return new Blob(_array, _mapping, _start + start, length);
    }

    /// <summary>
    /// Maps the file read-only, or reads it where mapping is refused (sysfs BTF maps only since 6.15, and only privately; pipes and procfs never do). A shared mapping, because the
    /// kernel writes the breakpoints of uprobes into every private one, also into ours: we would read what probes have made of the code.
    /// </summary>
    /// <exception cref="TargetException">The file is absent, unreadable or larger than 2 GiB.</exception>
    public static Blob Open(string path)
    {
        try
        {
            using var handle = File.OpenHandle(path);
            var length = RandomAccess.GetLength(handle);
            if (length > int.MaxValue)
                throw new TargetException($"file \"{path}\" is larger than 2 GiB and cannot be read.");
            if (length > 0)
            {
                const int protRead = 1, mapShared = 1, mapPrivate = 2, mapPopulate = 0x8000;
                foreach (var kind in (ReadOnlySpan<int>)[mapShared, mapPrivate])
                {
                    var address = Native.mmap(0, (nuint)length, protRead, kind | mapPopulate, (int)handle.DangerousGetHandle(), 0);
                    if (address != -1)
                        return new Blob(null, (byte*)address, 0, (int)length);
                }
            }
            return new Blob(File.ReadAllBytes(path));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new TargetException($"file \"{path}\" cannot be read: {Reason(e)}.", e);
        }
    }

    private static string Reason(Exception e) => e switch
    {
        FileNotFoundException or DirectoryNotFoundException => "it does not exist",
        UnauthorizedAccessException => "permission denied",
        _ => e.Message.TrimEnd('.'),
    };
}
