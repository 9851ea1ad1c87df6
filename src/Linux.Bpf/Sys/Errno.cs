namespace Linux.Bpf;

/// <summary>Error numbers with names and meanings, so that no message shows a bare number. Numbers are those of the generic Linux table.</summary>
public static class Errno
{
    public const int EPERM = 1, ENOENT = 2, ESRCH = 3, EINTR = 4, EIO = 5, E2BIG = 7, ENOEXEC = 8, EBADF = 9, EAGAIN = 11, ENOMEM = 12, EACCES = 13, EFAULT = 14,
        EBUSY = 16, EEXIST = 17, ENODEV = 19, EINVAL = 22, EMFILE = 24, ENOSPC = 28, ERANGE = 34, ENOSYS = 38, EOPNOTSUPP = 95,
        ENOTSUPP = 524;

    /// <summary>The C name, <c>EPERM</c>; <c>errno N</c> if unknown.</summary>
    public static string Name(int errno) => Entry(errno).Name;

    /// <summary>What it means, in a few words.</summary>
    public static string Meaning(int errno) => Entry(errno).Meaning;

    private static (string Name, string Meaning) Entry(int errno) => errno switch
    {
        1 => ("EPERM", "operation not permitted"),
        2 => ("ENOENT", "no such entry"),
        3 => ("ESRCH", "no such process or symbol"),
        4 => ("EINTR", "interrupted by a signal"),
        5 => ("EIO", "input/output error"),
        6 => ("ENXIO", "no such device or address"),
        7 => ("E2BIG", "too big, or a field this kernel does not know"),
        9 => ("EBADF", "bad file descriptor"),
        11 => ("EAGAIN", "try again"),
        12 => ("ENOMEM", "out of memory"),
        13 => ("EACCES", "access refused"),
        14 => ("EFAULT", "bad address"),
        16 => ("EBUSY", "busy"),
        17 => ("EEXIST", "exists already"),
        18 => ("EXDEV", "crosses devices"),
        19 => ("ENODEV", "no such device"),
        20 => ("ENOTDIR", "not a directory"),
        21 => ("EISDIR", "is a directory"),
        22 => ("EINVAL", "invalid argument"),
        23 => ("ENFILE", "too many open files in the system"),
        24 => ("EMFILE", "too many open files"),
        27 => ("EFBIG", "file too large"),
        28 => ("ENOSPC", "no space left"),
        30 => ("EROFS", "read-only file system"),
        33 => ("EDOM", "out of the domain"),
        34 => ("ERANGE", "out of range"),
        38 => ("ENOSYS", "not implemented in this kernel"),
        40 => ("ELOOP", "too many levels"),
        61 => ("ENODATA", "no data"),
        71 => ("EPROTO", "protocol error"),
        75 => ("EOVERFLOW", "value too large"),
        84 => ("EILSEQ", "illegal byte sequence"),
        95 => ("EOPNOTSUPP", "not supported"),
        105 => ("ENOBUFS", "no buffer space"),
        110 => ("ETIMEDOUT", "timed out"),
        524 => ("ENOTSUPP", "not supported by this kernel"),
        _ => ($"errno {errno}", "unknown error"),
    };
}
