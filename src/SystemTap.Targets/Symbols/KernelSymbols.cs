using System.Text;

namespace SystemTap.Targets;

/// <summary>A symbol of the kernel or a module.</summary>
/// <param name="Address">Where it is; 0 while addresses are hidden.</param>
/// <param name="Name">Its name.</param>
/// <param name="Type">As nm prints it: "T" and "t" are functions (upper case: global), "D", "B", "R" data.</param>
/// <param name="Module">The module's name, or null for the kernel itself.</param>
public readonly record struct KernelSymbol(ulong Address, string Name, char Type, string? Module)
{
    public bool IsFunction => Type is 't' or 'T' or 'w' or 'W';
}

// /proc/kallsyms is text of some 120,000 to 250,000 lines "address type name[\t[module]]", which the kernel prints in
// about 40 ms. It is read only when a session needs it, kept as the text it is with the start of each line, and never
// written to disk: addresses change at each boot.

/// <summary>The kernel's symbols by address and by name.</summary>
public sealed class KernelSymbols
{
    /// <summary>An address further than this behind the last symbol before it belongs to nothing known.</summary>
    private const ulong Reach = 16 << 20;

    private readonly byte[] _text;
    private readonly ulong[] _addresses; // ascending, file order among equals
    private readonly int[] _names;       // where the name begins in the text
    private NameBuckets? _byName;

    private KernelSymbols(byte[] text, ulong[] addresses, int[] names)
    {
        _text = text;
        _addresses = addresses;
        _names = names;
        AddressesHidden = addresses.Length > 0 && addresses[^1] == 0;
    }

    public int Count => _addresses.Length;

    /// <summary>
    /// Whether the kernel showed zeros for addresses (kernel.kptr_restrict, or no CAP_SYSLOG): names can be asked for,
    /// addresses cannot.
    /// </summary>
    public bool AddressesHidden { get; }

    /// <exception cref="TargetException">Addresses are hidden.</exception>
    public void RequireAddresses()
    {
        if (AddressesHidden)
            throw new TargetException("kernel addresses are hidden: \"/proc/kallsyms\" shows zeros to this user. Run as root with kernel.kptr_restrict 0 or 1.");
        if (Count == 0)
            throw new TargetException("kernel symbols are not available: \"/proc/kallsyms\" is absent or empty. Use a kernel built with CONFIG_KALLSYMS=y.");
    }

    internal static KernelSymbols Read(string path)
    {
        try
        {
            return Parse(File.Exists(path) ? File.ReadAllBytes(path) : []);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return Parse([]); // CONFIG_KALLSYMS off or not for us: Count is 0 and RequireAddresses says so
        }
    }

    /// <summary>Takes text in the format of /proc/kallsyms; lines that are not in it are left out.</summary>
    public static KernelSymbols Parse(byte[] text)
    {
        var addresses = new List<ulong>(text.Length / 40 + 1);
        var names = new List<int>(text.Length / 40 + 1);
        var sorted = true;
        for (var start = 0; start < text.Length;)
        {
            var end = text.AsSpan(start).IndexOf((byte)'\n');
            end = end < 0 ? text.Length : start + end;
            if (Address(text.AsSpan(start, end - start), out var digits) is { } address)
            {
                sorted &= addresses.Count == 0 || addresses[^1] <= address;
                addresses.Add(address);
                names.Add(start + digits + 3);
            }
            start = end + 1;
        }
        var addressArray = addresses.ToArray();
        var nameArray = names.ToArray();
        if (!sorted)
        {
            Array.Sort(addressArray, nameArray);
            KeepFileOrder(addressArray, nameArray);
        }
        return new KernelSymbols(text, addressArray, nameArray);
    }

    /// <summary>Array.Sort is not stable: puts the names of each run of equal addresses back in the order of the file.</summary>
    private static void KeepFileOrder(ulong[] addresses, int[] names)
    {
        for (int start = 0, end; start < addresses.Length; start = end)
        {
            for (end = start + 1; end < addresses.Length && addresses[end] == addresses[start]; end++) { }
            if (end - start > 1)
                Array.Sort(names, start, end - start);
        }
    }

    private static ulong? Address(ReadOnlySpan<byte> line, out int digits)
    {
        ulong value = 0;
        for (digits = 0; digits < line.Length && line[digits] != ' '; digits++)
        {
            if (!char.IsAsciiHexDigit((char)line[digits]) || digits == 16)
                return null;
            value = value << 4 | (uint)(line[digits] <= '9' ? line[digits] - '0' : (line[digits] | 0x20) - 'a' + 10);
        }
        // "ADDRESS T NAME"
        return digits > 0 && line.Length > digits + 3 && line[digits + 2] == ' ' ? value : null;
    }

    /// <summary>The symbol that an address lies in and how far, or null when it is not the kernel's or addresses are hidden.</summary>
    public (KernelSymbol Symbol, ulong Offset)? Find(ulong address)
    {
        if (AddressesHidden)
            return null;
        var at = Array.BinarySearch(_addresses, address);
        if (at < 0)
            at = ~at - 1;
        if (at < 0 || address - _addresses[at] >= Reach)
            return null;
        while (at > 0 && _addresses[at - 1] == _addresses[at])
            at--; // of several names for one place, the first, as the kernel does
        return _addresses[at] == 0 ? null : (Symbol(at), address - _addresses[at]);
    }

    /// <summary>Bytes from a symbol's address to the next symbol's: its size at most. 0 for the last.</summary>
    public ulong SizeAtMost(ulong address)
    {
        var at = Array.BinarySearch(_addresses, address + 1);
        at = at < 0 ? ~at : at;
        while (at > 0 && _addresses[at - 1] == address + 1)
            at--;
        return at < _addresses.Length ? _addresses[at] - address : 0;
    }

    /// <summary>The first symbol of that name (there may be several static ones), preferring the kernel's, or null.</summary>
    public KernelSymbol? Find(string name)
    {
        KernelSymbol? found = null;
        foreach (var symbol in FindAll(name))
        {
            if (symbol.Module is null)
                return symbol;
            found ??= symbol;
        }
        return found;
    }

    /// <summary>All symbols of that name, in the order of their addresses.</summary>
    public List<KernelSymbol> FindAll(string name)
    {
        var result = new List<KernelSymbol>(1);
        var utf8 = Encoding.UTF8.GetBytes(name);
        foreach (var position in (_byName ??= IndexNames()).Candidates(BtfIndex.Hash(utf8)))
            if (NameAt(position).SequenceEqual(utf8))
                result.Add(Symbol(position));
        return result;
    }

    /// <summary>Functions whose name fits a pattern of <see cref="Globs"/>, by address; of one module, or of the kernel when null.</summary>
    public List<KernelSymbol> MatchFunctions(string pattern, string? module = null)
    {
        var result = new List<KernelSymbol>();
        var prefix = Encoding.UTF8.GetBytes(Globs.LiteralPrefix(pattern).ToString());
        for (var i = 0; i < _names.Length; i++)
        {
            if (!NameAt(i).StartsWith(prefix))
                continue;
            var symbol = Symbol(i);
            if (symbol.IsFunction && symbol.Module == module && Globs.Matches(pattern, symbol.Name))
                result.Add(symbol);
        }
        return result;
    }

    private NameBuckets IndexNames()
    {
        var hashes = new uint[_names.Length];
        for (var i = 0; i < hashes.Length; i++)
            hashes[i] = BtfIndex.Hash(NameAt(i));
        return new NameBuckets(hashes);
    }

    private ReadOnlySpan<byte> NameAt(int position)
    {
        var rest = _text.AsSpan(_names[position]);
        var end = rest.IndexOfAny((byte)'\t', (byte)'\n', (byte)' ');
        return end < 0 ? rest : rest[..end];
    }

    private KernelSymbol Symbol(int position)
    {
        var name = NameAt(position);
        var after = _text.AsSpan(_names[position] + name.Length);
        var line = after.IndexOf((byte)'\n');
        if (line >= 0)
            after = after[..line];
        after = after.Trim(" \t\r"u8);
        var module = after is [(byte)'[', .., (byte)']'] ? Encoding.UTF8.GetString(after[1..^1]) : null;
        return new KernelSymbol(_addresses[position], Encoding.UTF8.GetString(name), (char)_text[_names[position] - 2], module);
    }
}
