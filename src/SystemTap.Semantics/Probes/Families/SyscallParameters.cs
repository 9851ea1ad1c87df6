namespace SystemTap.Semantics.Probes.Families;

/// <summary>One parameter of a system call.</summary>
/// <param name="Type">Its C type without qualifiers and stars: <c>struct stat</c>, <c>int</c>.</param>
/// <param name="Pointers">Number of stars.</param>
/// <param name="Name">As the kernel's definition names it.</param>
internal readonly record struct SyscallParameter(string Type, int Pointers, string Name);

/// <summary>Names and types of the parameters of system calls.</summary>
/// <remarks>They are the same on every kernel (the calls are a stable interface), so neither debug information nor tracefs is asked.</remarks>
internal static partial class SyscallParameters
{
    /// <summary>The parameters of a call by its name (<c>openat</c>); empty when it has none or is not known.</summary>
    public static SyscallParameter[] Of(string call)
    {
        var start = Data.IndexOf("\n" + call + "(", StringComparison.Ordinal);
        if (start < 0)
        {
            return [];
        }

        start += call.Length + 2;
        var text = Data.AsSpan(start, Data.IndexOf(')', start) - start);
        if (text.IsEmpty)
        {
            return [];
        }

        var list = new List<SyscallParameter>(6);
        foreach (var range in text.Split(", "))
        {
            var one = text[range];
            var name = one.LastIndexOfAny(' ', '*') + 1;
            var type = one[..name].TrimEnd();
            var stars = type.Length - type.TrimEnd('*').Length;
            list.Add(new SyscallParameter(type[..^stars].TrimEnd().ToString(), stars, one[name..].ToString()));
        }

        return [.. list];
    }
}
