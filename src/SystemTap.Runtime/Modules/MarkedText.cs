using System.Globalization;
using System.Text;
using SystemTap.Runtime.Host;

namespace SystemTap.Runtime.Modules;

/// <summary>
/// Replaces the marks in a module's output by the texts that only we can make: names in programs, unwound stacks. The form of marks is told in
/// runtime/core/stacks.c. What looks like a mark and is none stays as it is.
/// </summary>
internal sealed class MarkedText(ISymbols symbols)
{
    /// <summary>The byte marks begin with.</summary>
    public const byte Open = 0x1d;

    private const char Close = '\x1e';

    /// <summary>The text with all marks replaced.</summary>
    public string Expand(string text)
    {
        var result = new StringBuilder(text.Length + 256);
        var at = 0;
        while (text.IndexOf((char)Open, at) is >= 0 and var start)
        {
            result.Append(text, at, start - at);
            var end = EndOf(text, start);
            if (end > 0 && Value(text[(start + 1)..end]) is { } value)
            {
                result.Append(value);
                at = end + 1;
            }
            else
            {
                result.Append((char)Open);
                at = start + 1;
            }
        }

        return result.Append(text, at, text.Length - at).ToString();
    }

    /// <summary>Position of the byte that ends the mark at a position; −1: none.</summary>
    private static int EndOf(string text, int start)
    {
        var depth = 0;
        for (var i = start; i < text.Length; i++)
        {
            depth += text[i] == (char)Open ? 1 : text[i] == Close ? -1 : 0;
            if (depth == 0)
            {
                return i;
            }
        }

        return -1;
    }

    private string? Value(string mark)
    {
        // The last part may be a list, which may be a mark itself.
        var parts = mark.Length == 0 ? [] : mark[1..].Split(';', mark[0] switch { 'H' or 'K' => 2, 'L' => 3, _ => 4 });
        if (parts.Length == 0)
        {
            return null;
        }

        switch (mark[0])
        {
            case 'S' when Number(parts[0]) is { } id:
                return StackTexts.List(symbols.TakeStack((long)id));
            case 'H' when parts.Length == 2 && Number(parts[0]) is { } count:
                return StackTexts.Head(Expand(parts[1]), (long)count);
            case 'K' when parts.Length == 2 && Number(parts[0]) is { } style:
                return StackTexts.KernelLines(Expand(parts[1]), (long)style, symbols);
            case 'L' when parts.Length == 3 && Number(parts[0]) is { } pid && Number(parts[1]) is { } style:
                return StackTexts.UserLines((long)pid, Expand(parts[2]), (long)style, symbols);
            case 'N' when Pair(parts) is var (pid, address):
                return symbols.UserName((long)pid, address);
            case 'D' when Pair(parts) is var (pid, address):
                return symbols.UserData((long)pid, address);
            case 'M' when Pair(parts) is var (pid, address):
                return symbols.UserModule((long)pid, address) is { } file ? Path.GetFileName(file) : "0x" + address.ToString("x", CultureInfo.InvariantCulture);
            case 'P' when parts.Length == 3 && Number(parts[0]) is { } pid && Number(parts[1]) is { } part && Number(parts[2]) is { } address:
                return StackTexts.Place(symbols.UserPlace((long)pid, address), address, (long)part);
            case 'Q' when Pair(parts) is var (part, address):
                return StackTexts.Place(symbols.KernelPlace(address), address, (long)part);
            default:
                return null;
        }
    }

    private static (ulong, ulong)? Pair(string[] parts) => parts.Length == 2 && Number(parts[0]) is { } a && Number(parts[1]) is { } b ? (a, b) : null;

    private static ulong? Number(string text) => ulong.TryParse(text, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var value) ? value : null;
}
