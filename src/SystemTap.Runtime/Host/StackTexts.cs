using System.Buffers.Binary;
using System.Globalization;
using System.Text;

namespace SystemTap.Runtime.Host;

/// <summary>Stacks as scripts see them: lists of addresses, and lines with names.</summary>
internal static class StackTexts
{
    /// <summary>"0x… 0x…".</summary>
    public static string List(IReadOnlyList<ulong> addresses)
    {
        var text = new StringBuilder(addresses.Count * 19);
        foreach (var address in addresses)
        {
            text.Append(text.Length > 0 ? " 0x" : "0x").Append(address.ToString("x", CultureInfo.InvariantCulture));
        }

        return text.ToString();
    }

    /// <summary>The same from the words the kernel wrote; frames of the handler itself, which tracepoints and trampolines have on top, are left out.</summary>
    public static string FromBytes(string bytes, ISymbols symbols)
    {
        var addresses = new List<ulong>(bytes.Length / 8);
        Span<byte> word = stackalloc byte[8];
        for (var i = 0; i + 8 <= bytes.Length; i += 8)
        {
            for (var b = 0; b < 8; b++)
            {
                word[b] = (byte)bytes[i + b];
            }

            var address = BinaryPrimitives.ReadUInt64LittleEndian(word);
            if (addresses.Count > 0 || !symbols.IsProbeMachinery(address))
            {
                addresses.Add(address);
            }
        }

        return List(addresses);
    }

    /// <summary>Addresses of a list; what is no number is left out.</summary>
    public static List<ulong> Parse(string list)
    {
        var result = new List<ulong>();
        foreach (var range in list.AsSpan().Split(' '))
        {
            var part = list.AsSpan(range);
            if (part.StartsWith("0x") && ulong.TryParse(part[2..], NumberStyles.HexNumber, CultureInfo.InvariantCulture, out var address)
                || ulong.TryParse(part, NumberStyles.None, CultureInfo.InvariantCulture, out address))
            {
                result.Add(address);
            }
        }

        return result;
    }

    /// <summary>The n-th address from 0; 0 when there are fewer.</summary>
    public static long Entry(string list, long n)
    {
        var all = Parse(list);
        return n >= 0 && n < all.Count ? (long)all[(int)n] : 0;
    }

    /// <summary>The first n addresses; all for a negative number.</summary>
    public static string Head(string list, long n)
    {
        if (n < 0)
        {
            return list;
        }

        var all = Parse(list);
        return List(n < all.Count ? all.GetRange(0, (int)n) : all);
    }

    /// <summary>
    /// A line for each address. With source places (style 2), also for the calls that the compiler inlined: those cost the kernel's debug information, which is large, and only who asks for places has
    /// it read.
    /// </summary>
    public static string KernelLines(string list, long style, ISymbols symbols) => Lines(list, style, new Side(
        (address, _) => symbols.KernelData(address),
        symbols.KernelPlace,
        style == 2 ? symbols.KernelInlined : static (_, _) => [],
        (address, _) => symbols.KernelName(address).StartsWith("asm_", StringComparison.Ordinal)));

    /// <summary>
    /// A line for each address, and before it one for each call around it that the compiler inlined, marked "(inlined)". Lists of addresses have no entries for these, so numbers of frames
    /// count real calls.
    /// </summary>
    public static string UserLines(long process, string list, long style, ISymbols symbols) => Lines(list, style, new Side(
        (address, isCaller) => symbols.UserData(process, address, isCaller),
        address => symbols.UserPlace(process, address),
        (address, lookedUp) => symbols.UserInlined(process, address, lookedUp),
        (address, lookedUp) => symbols.IsSignalFrame(process, address, lookedUp)));

    /// <summary>What is known of addresses: the kernel's or a program's.</summary>
    /// <param name="Data">Name, distance, size and file.</param>
    /// <param name="Place">The source place.</param>
    /// <param name="Inlined">The inlined calls around an address, given as shown and as looked up.</param>
    /// <param name="IsInterruption">The frame outwards of this one was interrupted there.</param>
    private sealed record Side(Func<ulong, bool, string> Data, Func<ulong, string?> Place, Func<ulong, ulong, IReadOnlyList<InlinedFrame>> Inlined, Func<ulong, ulong, bool> IsInterruption);

    private static string Lines(string list, long style, Side side)
    {
        var text = new StringBuilder();
        var isCaller = false;
        foreach (var address in Parse(list))
        {
            // Callers' addresses are those behind their calls, which may be the next line's: the place is that of the call. What was interrupted is at the instruction itself.
            var lookedUp = isCaller ? address - 1 : address;
            var place = style == 2 ? side.Place(lookedUp) : null;
            foreach (var inlined in side.Inlined(address, lookedUp))
            {
                Line(text, address, inlined.Data, place, style, " (inlined)");
                place = style == 2 ? inlined.Call : null;
            }

            Line(text, address, side.Data(address, isCaller), place, style);
            isCaller = !side.IsInterruption(address, lookedUp);
        }

        return text.ToString();
    }

    /// <summary>Part 0 of a source place: <c>file:line</c>, 1: the file, 2: the line; the address when it is not known.</summary>
    public static string Place(string? place, ulong address, long part)
    {
        if (place is null)
        {
            return "0x" + address.ToString("x", CultureInfo.InvariantCulture);
        }

        var colon = place.LastIndexOf(':');
        return part switch
        {
            1 => place[..colon],
            2 => place[(colon + 1)..],
            _ => place,
        };
    }

    private static void Line(StringBuilder text, ulong address, string data, string? place, long style, string mark = "")
    {
        if (style is 1 or 3)
        {
            // name+0x1/0x2 [module] without the size, and for the short form without the module.
            var bracket = data.IndexOf(" [", StringComparison.Ordinal);
            var name = bracket < 0 ? data : data[..bracket];
            text.Append(WithoutSize(name)).Append(style == 1 && bracket >= 0 ? data[bracket..] : "").Append(mark).Append('\n');
            return;
        }

        text.Append(CultureInfo.InvariantCulture, $" 0x{address:x}");
        if (!data.StartsWith("0x", StringComparison.Ordinal))
        {
            text.Append(" : ").Append(data);
        }
        else if (data.IndexOf(" [", StringComparison.Ordinal) is > 0 and var at)
        {
            text.Append(data[at..]);
        }

        text.Append(mark);
        if (place is not null)
        {
            text.Append(" at ").Append(place);
        }

        text.Append('\n');
    }

    private static string WithoutSize(string name)
    {
        var plus = name.LastIndexOf("+0x", StringComparison.Ordinal);
        var slash = plus < 0 ? -1 : name.IndexOf('/', plus);
        return slash < 0 ? name : name[..slash];
    }
}
