using System.Runtime.InteropServices;
using System.Text;

namespace SystemTap.Targets;

/// <summary>
/// Names of C++ and Rust functions as people write them. C++ (and Rust's old scheme, which looks like it) is left to libstdc++ when it is installed; without it such names stay as they are.
/// </summary>
public static unsafe partial class Demangler
{
    private static readonly Lazy<bool> Available = new(static () => NativeLibrary.TryLoad("libstdc++.so.6", out _));
    private static readonly Dictionary<string, string?> Known = new(StringComparer.Ordinal);

    [LibraryImport("libstdc++.so.6")]
    private static partial byte* __cxa_demangle(byte* name, byte* buffer, nuint* length, int* status);

    public static bool IsMangled(ReadOnlySpan<byte> name) => name.StartsWith("_Z"u8) || RustDemangler.IsMangled(name);

    /// <summary>The whole declaration: <c>ns::box&lt;int&gt;::get(int) const</c>; null when the name is not a mangled one.</summary>
    public static string? Full(string name)
    {
        var isRust = name.StartsWith("_R", StringComparison.Ordinal);
        if (!isRust && (!name.StartsWith("_Z", StringComparison.Ordinal) || !Available.Value))
            return null;
        lock (Known)
        {
            if (Known.TryGetValue(name, out var known))
                return known;
            if (isRust)
                return Known[name] = RustDemangler.Path(name);
            string? result = null;
            fixed (byte* text = Encoding.UTF8.GetBytes(name + "\0"))
            {
                int status;
                var made = __cxa_demangle(text, null, null, &status);
                if (made is not null)
                {
                    result = Encoding.UTF8.GetString(MemoryMarshal.CreateReadOnlySpanFromNullTerminated(made));
                    NativeMemory.Free(made);
                }
            }
            // Rust of the old scheme ends in a hash: alloc::vec::push::h0123456789abcdef.
            if (result is not null && IsOldRust(name))
                result = RustDemangler.Unescape(result.LastIndexOf("::h", StringComparison.Ordinal) is > 0 and var hash ? result[..hash] : result);
            return Known[name] = result;
        }
    }

    /// <summary>Without parameters, result and qualifiers: <c>ns::box&lt;int&gt;::get</c>.</summary>
    public static string? Plain(string name) => Full(name) is { } full ? name[1] == 'R' || IsOldRust(name) ? full : WithoutParameters(full) : null;

    /// <summary>Its last part is <c>17h</c> and 16 digits.</summary>
    private static bool IsOldRust(string name)
    {
        var end = name.LastIndexOf('E');
        return end > 24 && name.AsSpan(end - 19, 3) is "17h" && IsHex(name.AsSpan(end - 16, 16));
    }

    internal static string WithoutParameters(string text)
    {
        // Parameter lists are parentheses outside of <> and {}, but for operator() and "(anonymous namespace)". The last one ends the name; one before "::" is that of the function around a
        // lambda or a local class: f(int)::{lambda(char)#1}::operator().
        var name = new StringBuilder(text.Length);
        var depth = 0;
        for (var i = 0; i < text.Length; i++)
        {
            var c = text[i];
            if (c == '(' && depth == 0 && !text.AsSpan(i).StartsWith("(anonymous namespace)"))
            {
                if (text.AsSpan(0, i).EndsWith("operator") && text.AsSpan(i).StartsWith("()"))
                {
                    name.Append("()");
                    i++;
                    continue;
                }
                var end = Closing(text, i);
                var rest = text.AsSpan(end + 1);
                rest = rest.StartsWith(" const") ? rest[6..] : rest;
                if (!rest.StartsWith("::"))
                    break;
                i = text.Length - rest.Length - 1;
                continue;
            }
            if (c is '<' && !IsOperator(text, i) || c is '{' or '(')
                depth++;
            else if (depth > 0 && (c is '>' && text[i - 1] != '-' && !IsOperator(text, i) || c is '}' or ')'))
                depth--;
            name.Append(c);
        }

        // A template function's result stands in front: "int twice<int>".
        var start = 0;
        depth = 0;
        for (var i = 0; i < name.Length; i++)
        {
            if (name[i] is '<' or '(' or '{')
                depth++;
            else if (name[i] is '>' or ')' or '}' && depth > 0)
                depth--;
            else if (name[i] == ' ' && depth == 0 && !(i >= 8 && name.ToString(i - 8, 8) == "operator"))
                start = i + 1;
        }
        return name.ToString(start, name.Length - start);
    }

    /// <summary>Index of the parenthesis that closes one.</summary>
    private static int Closing(string text, int open)
    {
        var depth = 0;
        for (var i = open; i < text.Length; i++)
        {
            if (text[i] == '(')
                depth++;
            else if (text[i] == ')' && --depth == 0)
                return i;
        }
        return text.Length - 1;
    }

    /// <summary>The last part: <c>get</c> of <c>ns::box&lt;int&gt;::get</c>, templates kept.</summary>
    public static string Last(string qualified)
    {
        var depth = 0;
        for (var i = qualified.Length - 1; i > 0; i--)
        {
            if (qualified[i] is '>' or ')')
                depth++;
            else if (qualified[i] is '<' or '(')
                depth--;
            else if (depth == 0 && qualified[i] == ':' && qualified[i - 1] == ':')
                return qualified[(i + 1)..];
        }
        return qualified;
    }

    /// <summary>Without the last template argument list: <c>get</c> of <c>get&lt;int&gt;</c>.</summary>
    public static string WithoutTemplate(string name)
    {
        var open = name.IndexOf('<');
        return open > 0 && name[^1] == '>' && !name.StartsWith("operator", StringComparison.Ordinal) ? name[..open] : name;
    }

    private static bool IsOperator(string text, int at)
    {
        while (at > 0 && text[at - 1] is '<' or '>' or '=' or '-')
            at--;
        return text.AsSpan(0, at).EndsWith("operator");
    }

    private static bool IsHex(ReadOnlySpan<char> text)
    {
        foreach (var c in text)
            if (!char.IsAsciiHexDigitLower(c))
                return false;
        return true;
    }
}
