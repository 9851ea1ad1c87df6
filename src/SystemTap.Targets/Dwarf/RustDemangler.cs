using System.Globalization;
using System.Text;

namespace SystemTap.Targets;

// Rust has two ways to write a path as a symbol.
//
// The old one looks like C++ (_ZN…E), so libstdc++ takes it apart; what C++ has no characters for is escaped in the parts ($LT$ for <, .. for ::), and
// the last part is a hash. Only the escapes are undone here (Unescape).
//
// The new one ("v0", RFC 2603, rustc's default in 2025) begins with _R and is a small language of its own, in prefix form; this file is a recursive
// descent over it that writes as it reads. A backreference Bn_ goes on reading at position n, so a short symbol can mean an endless name: depth and length
// are limited, and whatever is not understood makes the whole symbol stay as it is. What rustc-demangle leaves out is left out: hashes of crates and types of
// constants. Two things are written as debug information, the old scheme and C++ have them, so that one pattern fits all: generic arguments without the ::
// of expressions, f<T>, and a type's own functions as vec::Vec<T>::push, where rustc-demangle says <vec::Vec<T>>::push.

/// <summary>Reads the names of Rust symbols.</summary>
internal ref struct RustDemangler
{
    private const int DeepestPath = 128, LongestName = 32768, MostSteps = 100_000;
    private readonly ReadOnlySpan<char> _text;
    private readonly StringBuilder _out = new();
    private int _at, _depth, _steps, _lifetimes;
    private bool _failed, _silent;

    private RustDemangler(ReadOnlySpan<char> text) => _text = text;

    /// <summary>True when a name may be one of the new scheme.</summary>
    public static bool IsMangled(ReadOnlySpan<byte> name) => name.Length > 3 && name[0] == '_' && name[1] == 'R' && "CMXYNIB"u8.Contains(name[2]);

    /// <summary>The path that a symbol of the new scheme (<c>_R…</c>) means; null when it is none.</summary>
    public static string? Path(string name)
    {
        if (!name.StartsWith("_R", StringComparison.Ordinal))
        {
            return null;
        }

        // What the compiler or the linker adds: .llvm.1234, .cold
        var end = name.IndexOf('.', StringComparison.Ordinal);
        var reader = new RustDemangler(name.AsSpan(2, (end < 0 ? name.Length : end) - 2));
        reader.ReadPath();
        if (!reader._failed && reader._at < reader._text.Length)
        {
            // The crate that made this copy of a generic function.
            reader._silent = true;
            reader.ReadPath();
        }

        return reader._failed || reader._at < reader._text.Length ? null : reader._out.ToString();
    }

    /// <summary>Undoes the escapes of the old scheme.</summary>
    public static string Unescape(string path)
    {
        var text = new StringBuilder(path.Length);
        for (var i = 0; i < path.Length; i++)
        {
            var rest = path.AsSpan(i);
            if (rest.StartsWith("_$") && (i == 0 || path[i - 1] == ':'))
            {
                continue; // a part may not begin with $
            }

            if (rest.StartsWith(".."))
            {
                text.Append("::");
                i++;
            }
            else if (rest[0] == '$' && rest[1..].IndexOf('$') is > 0 and < 8 and var length && Escaped(rest.Slice(1, length)) is { } meant)
            {
                text.Append(meant);
                i += length + 1;
            }
            else
            {
                text.Append(path[i]);
            }
        }

        return text.ToString();
    }

    private static string? Escaped(ReadOnlySpan<char> code) => code switch
    {
        "SP" => "@",
        "BP" => "*",
        "RF" => "&",
        "LT" => "<",
        "GT" => ">",
        "LP" => "(",
        "RP" => ")",
        "C" => ",",
        _ => code[0] == 'u' && int.TryParse(code[1..], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var rune) && Rune.IsValid(rune) ? new Rune(rune).ToString() : null,
    };

    private void Fail() => _failed = true;

    private void Write(string text)
    {
        if (!_silent)
        {
            _out.Append(text);
            _failed |= _out.Length > LongestName;
        }
    }

    private readonly char Peek => _at < _text.Length ? _text[_at] : '\0';

    private char Take()
    {
        if (_failed || _at >= _text.Length)
        {
            Fail();
            return '\0';
        }

        return _text[_at++];
    }

    private bool TakeIf(char c)
    {
        if (_failed || Peek != c)
        {
            return false;
        }

        _at++;
        return true;
    }

    private bool Enter()
    {
        if (++_depth > DeepestPath || ++_steps > MostSteps)
        {
            Fail();
        }

        return !_failed;
    }

    /// <summary><c>_</c> is 0, <c>0_</c> is 1, <c>Z_</c> is 62.</summary>
    private ulong Base62()
    {
        if (TakeIf('_'))
        {
            return 0;
        }

        ulong value = 0;
        while (!_failed && !TakeIf('_'))
        {
            var c = Take();
            var digit = c switch { >= '0' and <= '9' => c - '0', >= 'a' and <= 'z' => c - 'a' + 10, >= 'A' and <= 'Z' => c - 'A' + 36, _ => -1 };
            if (digit < 0 || value > (ulong.MaxValue - 63) / 62)
            {
                Fail();
                return 0;
            }

            value = (value * 62) + (ulong)digit;
        }

        return value + 1;
    }

    private ulong Disambiguator() => TakeIf('s') ? Base62() + 1 : 0;

    private string Identifier()
    {
        var isPunycode = TakeIf('u');
        var length = 0;
        if (!char.IsAsciiDigit(Peek))
        {
            Fail();
        }

        if (!TakeIf('0'))
        {
            while (!_failed && char.IsAsciiDigit(Peek) && length < LongestName)
            {
                length = (length * 10) + (Take() - '0');
            }
        }

        TakeIf('_');
        if (_failed || length > _text.Length - _at)
        {
            Fail();
            return "";
        }

        var bytes = _text.Slice(_at, length);
        _at += length;
        if (!isPunycode)
        {
            return bytes.ToString();
        }

        var name = Punycode.Decode(bytes);
        if (name is null)
        {
            Fail();
        }

        return name ?? "";
    }

    /// <summary>Where a backreference points to; null when what is there need not be read again, for nothing is written.</summary>
    private int? Backwards()
    {
        var start = _at - 1;
        var to = Base62();
        if (_failed || to >= (ulong)start)
        {
            Fail();
            return null;
        }

        return _silent ? null : (int)to;
    }

    /// <summary>Reads on where a backreference points to.</summary>
    private void Follow(BackReference what)
    {
        if (Backwards() is not { } to)
        {
            return;
        }

        var back = _at;
        _at = to;
        switch (what)
        {
            case BackReference.Path: ReadPath(); break;
            case BackReference.Type: ReadType(); break;
            default: ReadConstant(); break;
        }

        _at = back;
    }

    private enum BackReference
    {
        Path,
        Type,
        Constant,
    }

    private void ReadPath()
    {
        if (!Enter())
        {
            return;
        }

        switch (Take())
        {
            case 'C':
                Disambiguator();
                Write(Identifier());
                break;
            case 'N':
                ReadNested();
                break;
            case 'M':
                ReadImplementation();
                var isPath = IsPath(_at);
                Write(isPath ? "" : "<");
                ReadType();
                Write(isPath ? "" : ">");
                break;
            case 'X':
                ReadImplementation();
                ReadAs();
                break;
            case 'Y':
                ReadAs();
                break;
            case 'I':
                ReadPath();
                ReadArguments();
                Write(">");
                break;
            case 'B':
                Follow(BackReference.Path);
                break;
            default:
                Fail();
                break;
        }

        _depth--;
    }

    private void ReadNested()
    {
        var space = Take();
        ReadPath();
        var number = Disambiguator();
        var name = Identifier();
        if (char.IsAsciiLetterUpper(space))
        {
            var kind = space switch { 'C' => "closure", 'S' => "shim", _ => space.ToString() };
            Write($"::{{{kind}{(name.Length > 0 ? ":" + name : "")}#{number.ToString(CultureInfo.InvariantCulture)}}}");
        }
        else if (!char.IsAsciiLetterLower(space))
        {
            Fail();
        }
        else if (name.Length > 0)
        {
            Write("::" + name);
        }
    }

    /// <summary>The type that begins there has a name.</summary>
    private readonly bool IsPath(int at)
    {
        var reader = this;
        for (reader._at = at; reader.TakeIf('B');)
        {
            var to = reader.Base62();
            if (reader._failed || to >= (ulong)at)
            {
                return false;
            }

            reader._at = at = (int)to;
        }

        return reader.Peek is 'C' or 'N' or 'I' or 'M';
    }

    /// <summary>Where an impl stands says nothing to people.</summary>
    private void ReadImplementation()
    {
        var before = _silent;
        _silent = true;
        Disambiguator();
        ReadPath();
        _silent = before;
    }

    private void ReadAs()
    {
        Write("<");
        ReadType();
        Write(" as ");
        ReadPath();
        Write(">");
    }

    /// <summary>Writes the bracket that opens, not the one that closes: the types of a trait's members may follow.</summary>
    private void ReadArguments()
    {
        Write("<");
        for (var i = 0; !_failed && !TakeIf('E'); i++)
        {
            Write(i > 0 ? ", " : "");
            if (TakeIf('L'))
            {
                WriteLifetime(Base62());
            }
            else if (TakeIf('K'))
            {
                ReadConstant();
            }
            else
            {
                ReadType();
            }
        }
    }

    private void WriteLifetime(ulong index)
    {
        if (index == 0)
        {
            Write("'_");
        }
        else if (index > (ulong)_lifetimes)
        {
            Fail();
        }
        else
        {
            var depth = _lifetimes - (int)index;
            Write(depth < 26 ? $"'{(char)('a' + depth)}" : $"'_{depth.ToString(CultureInfo.InvariantCulture)}");
        }
    }

    /// <summary><c>for&lt;'a, 'b&gt; </c>; yields how many lifetimes it brings.</summary>
    private int Binder()
    {
        if (!TakeIf('G'))
        {
            return 0;
        }

        var count = Base62() + 1;
        if (_failed || count > 64)
        {
            Fail();
            return 0;
        }

        Write("for<");
        for (var i = 0; i < (int)count; i++)
        {
            _lifetimes++;
            Write(i > 0 ? ", " : "");
            WriteLifetime(1);
        }

        Write("> ");
        return (int)count;
    }

    private static string? Basic(char c) => c switch
    {
        'a' => "i8",
        'b' => "bool",
        'c' => "char",
        'd' => "f64",
        'e' => "str",
        'f' => "f32",
        'h' => "u8",
        'i' => "isize",
        'j' => "usize",
        'l' => "i32",
        'm' => "u32",
        'n' => "i128",
        'o' => "u128",
        's' => "i16",
        't' => "u16",
        'u' => "()",
        'v' => "...",
        'x' => "i64",
        'y' => "u64",
        'z' => "!",
        'p' => "_",
        _ => null,
    };

    private void ReadType()
    {
        if (!Enter())
        {
            return;
        }

        var c = Take();
        if (Basic(c) is { } basic)
        {
            Write(basic);
            _depth--;
            return;
        }

        switch (c)
        {
            case 'R' or 'Q':
                Write("&");
                if (TakeIf('L') && Base62() is > 0 and var lifetime)
                {
                    WriteLifetime(lifetime);
                    Write(" ");
                }

                Write(c == 'Q' ? "mut " : "");
                ReadType();
                break;
            case 'P' or 'O':
                Write(c == 'P' ? "*const " : "*mut ");
                ReadType();
                break;
            case 'A':
                Write("[");
                ReadType();
                Write("; ");
                ReadConstant();
                Write("]");
                break;
            case 'S':
                Write("[");
                ReadType();
                Write("]");
                break;
            case 'T':
                ReadTuple();
                break;
            case 'F':
                ReadFunction();
                break;
            case 'D':
                ReadDynamic();
                break;
            case 'B':
                Follow(BackReference.Type);
                break;
            default:
                _at--;
                ReadPath();
                break;
        }

        _depth--;
    }

    private void ReadTuple()
    {
        Write("(");
        var count = 0;
        for (; !_failed && !TakeIf('E'); count++)
        {
            Write(count > 0 ? ", " : "");
            ReadType();
        }

        Write(count == 1 ? ",)" : ")");
    }

    private void ReadFunction()
    {
        var bound = Binder();
        Write(TakeIf('U') ? "unsafe " : "");
        if (TakeIf('K'))
        {
            Write(TakeIf('C') ? "extern \"C\" " : $"extern \"{Identifier().Replace('_', '-')}\" ");
        }

        Write("fn(");
        for (var i = 0; !_failed && !TakeIf('E'); i++)
        {
            Write(i > 0 ? ", " : "");
            ReadType();
        }

        Write(")");
        if (!TakeIf('u'))
        {
            Write(" -> ");
            ReadType();
        }

        _lifetimes -= bound;
    }

    private void ReadDynamic()
    {
        Write("dyn ");
        var bound = Binder();
        for (var i = 0; !_failed && !TakeIf('E'); i++)
        {
            Write(i > 0 ? " + " : "");
            ReadTrait();
        }

        _lifetimes -= bound;
        if (!TakeIf('L'))
        {
            Fail();
        }
        else if (Base62() is > 0 and var lifetime)
        {
            Write(" + ");
            WriteLifetime(lifetime);
        }
    }

    private void ReadTrait()
    {
        var open = ReadTraitPath();
        while (TakeIf('p'))
        {
            Write(open ? ", " : "<");
            open = true;
            Write(Identifier());
            Write(" = ");
            ReadType();
        }

        Write(open ? ">" : "");
    }

    /// <summary>A trait; true when its list of arguments is still open.</summary>
    private bool ReadTraitPath()
    {
        if (TakeIf('B'))
        {
            if (Backwards() is not { } to || !Enter())
            {
                return false;
            }

            var back = _at;
            _at = to;
            var open = ReadTraitPath();
            _at = back;
            _depth--;
            return open;
        }

        if (TakeIf('I'))
        {
            ReadPath();
            ReadArguments();
            return true;
        }

        ReadPath();
        return false;
    }

    private void ReadConstant()
    {
        if (!Enter())
        {
            return;
        }

        var type = Take();
        switch (type)
        {
            case 'B':
                Follow(BackReference.Constant);
                break;
            case 'p':
                Write("_");
                break;
            case 'a' or 's' or 'l' or 'x' or 'n' or 'i':
                Write(TakeIf('n') ? "-" : "");
                WriteNumber(Hex());
                break;
            case 'h' or 't' or 'm' or 'y' or 'o' or 'j':
                WriteNumber(Hex());
                break;
            case 'b':
                Write(Hex() switch { "0" => "false", "1" => "true", _ => "" });
                break;
            case 'c':
                Write(int.TryParse(Hex(), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var rune) && Rune.IsValid(rune) ? $"'{new Rune(rune)}'" : "'?'");
                break;
            default:
                Fail();
                break;
        }

        _depth--;
    }

    private void WriteNumber(ReadOnlySpan<char> hex) =>
        Write(ulong.TryParse(hex, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var number) ? number.ToString(CultureInfo.InvariantCulture) : $"0x{hex}");

    private ReadOnlySpan<char> Hex()
    {
        var start = _at;
        while (!_failed && char.IsAsciiHexDigitLower(Peek))
        {
            _at++;
        }

        var digits = _text[start.._at];
        if (!TakeIf('_') || digits.Length == 0)
        {
            Fail();
            return "0";
        }

        var value = digits.TrimStart('0');
        return value.Length == 0 ? "0" : value;
    }
}
