using SystemTap.Semantics.Probes;
using SystemTap.Semantics.Probes.User;
using SystemTap.Targets;

namespace SystemTap.Semantics.Targeting;

/// <summary>
/// From what a script writes in <c>@cast</c> to a type: <c>"struct foo"</c>, <c>"foo"</c> (typedef, basic type, struct, union, enum in this order),
/// <c>"unsigned int"</c>, <c>"foo *"</c>. The module part says where to look: nothing, <c>kernel</c>, <c>kernel&lt;header&gt;</c>, a module's name; a user
/// header or program finds the type only when the kernel has one of the same name.
/// </summary>
internal sealed class TypeFinder(Target target)
{
    public readonly record struct Problem(string Code, string Message, string? Hint);

    /// <summary>The type, whether its objects lie in user memory, and how many <c>*</c> followed it.</summary>
    /// <param name="text">What the script wrote.</param>
    /// <param name="module">Where to look, or null.</param>
    /// <param name="home">The program of the probe: looked at first when the script does not say where.</param>
    /// <param name="problem">Why there is none.</param>
    public (BtfType Type, bool IsUser, int Pointers)? Find(string text, string? module, UserFile? home, out Problem? problem)
    {
        problem = null;
        if (module is null && home?.Dwarf is { } own && Parse(text) is var (keyword, wanted, stars) && own.Types.Find(keyword, wanted) is { } its0)
        {
            return (its0, home.IsUser, stars);
        }

        if (target.KernelBtfOrNull is not { } kernel)
        {
            problem = new Problem("target.no-btf", $"type '{text}' cannot be found: kernel '{target.Release}' offers no BTF", "use a kernel built with CONFIG_DEBUG_INFO_BTF=y");
            return null;
        }

        var (kind, name, pointers) = Parse(text);
        if (name.Length == 0)
        {
            problem = new Problem("target.no-type", $"type '{text}' names nothing", "write a type such as \"struct task_struct\"");
            return null;
        }

        string? user = null, unknown = null;
        foreach (var place in Places(module))
        {
            if (place == "kernel" || place.StartsWith("kernel<", StringComparison.Ordinal))
            {
                if (In(kernel, kind, name) is { } found)
                {
                    return (found, false, pointers);
                }

                foreach (var loaded in target.ModulesWithBtf)
                {
                    if (target.ModuleBtf(loaded) is { } btf && In(btf, kind, name) is { } its)
                    {
                        return (its, false, pointers);
                    }
                }
            }
            else if (target.ModuleBtf(place) is null && target.KernelFunctions.Modules(place) is [var loadedModule] && target.KernelFile(loadedModule)?.Dwarf is { } its1 && its1.Types.Find(kind, name) is { } ofModule)
            {
                return (ofModule, false, pointers); // a module built without BTF
            }
            else if (place.StartsWith('<') || place.Contains('/') || UserVariables.Open(target, place) is not null)
            {
                user ??= place;
                if ((place.StartsWith('<') ? HeaderTypes.Open(place) : UserVariables.Open(target, place)?.Dwarf) is { } dwarf && dwarf.Types.Find(kind, name) is { } described)
                {
                    return (described, true, pointers);
                }

                // A file that is not there has no types; the kernel's type of that name would be another one.
                var isMissing = place.Contains('/') && !place.StartsWith('<') && UserVariables.Open(target, place) is null;
                if (!isMissing && In(kernel, kind, name) is { } found)
                {
                    return (found, true, pointers);
                }
            }
            else if (target.ModuleBtf(place) is { } btf)
            {
                if (In(btf, kind, name) is { } found)
                {
                    return (found, false, pointers);
                }
            }
            else if (In(kernel, kind, name) is { } builtIn)
            {
                return (builtIn, false, pointers); // the module may be built into this kernel
            }
            else
            {
                unknown ??= place;
            }
        }

        problem = user is not null
            ? user.StartsWith('<')
                ? new Problem("target.needs-debuginfo", $"type '{text}' of header '{user}' cannot be found", HeaderTypes.Open(user) is { } header ? Similar(name, header) : HeaderTypes.Problem)
                : new Problem("target.needs-debuginfo", $"type '{text}' of '{user}' cannot be found", UserVariables.Open(target, user) is not { } file ? File.Exists(user) ? "it is not an ELF file" : "there is no such file" : file.Dwarf is { } known ? Similar(name, known) : DebugInfo.Missing(file))
            : unknown is not null
                ? new Problem("target.no-module", $"type '{text}' cannot be found: module '{unknown}' is not loaded or has no BTF", "load the module, or leave the module out to look in the kernel")
                : new Problem("target.no-type", $"type '{text}' cannot be found in the kernel's types", OtherKeyword(kernel, kind, name) ?? Similar(name, [kernel, .. ModulesBtf()], static b => TypeNames(b)));
        return null;
    }

    /// <summary>The enumerator of a name in the kernel or a module.</summary>
    public BtfEnumerator? Enumerator(string name)
    {
        if (target.KernelBtfOrNull is not { } kernel)
        {
            return null;
        }

        if (kernel.FindEnumerator(name) is { } found)
        {
            return found;
        }

        foreach (var module in target.ModulesWithBtf)
        {
            if (target.ModuleBtf(module)?.FindEnumerator(name) is { } its)
            {
                return its;
            }
        }

        return null;
    }

    /// <summary>Enumerators like one that does not exist.</summary>
    /// <param name="name">What the script wrote.</param>
    /// <param name="home">The program of the probe.</param>
    public string? SimilarEnumerators(string name, UserFile? home) =>
        (home?.Dwarf is { } own ? Names.Hint(Names.Similar(name, own.KnownNames().Enumerators)) : null)
        ?? (target.KernelBtfOrNull is { } kernel ? Similar(name, [kernel, .. ModulesBtf()], static b => b.EnumeratorNames()) : null);

    private IEnumerable<Btf> ModulesBtf() => target.ModulesWithBtf.Select(target.ModuleBtf).OfType<Btf>();

    private static string? Similar(string name, DwarfFile file) => Names.Hint(Names.Similar(name, file.KnownNames().Types));

    private static string? Similar(string name, IEnumerable<Btf> files, Func<Btf, IEnumerable<string>> names) => Names.Hint(Names.Similar(name, [.. files.SelectMany(names).Distinct()]));

    private static IEnumerable<string> TypeNames(Btf btf) =>
        [.. btf.NamesOf(BtfKind.Struct, BtfKind.Union), .. btf.NamesOf(BtfKind.Typedef, BtfKind.Int), .. btf.NamesOf(BtfKind.Enum, BtfKind.Enum64)];

    /// <summary>There is a type of that name, but it is of another kind.</summary>
    private static string? OtherKeyword(Btf btf, string kind, string name) =>
        kind.Length > 0 && In(btf, "", name) is { } other ? $"there is '{other.Declaration}'" : null;

    /// <summary>Splits <c>kernel&lt;a:b.h&gt;:ext4</c> at colons outside of angle brackets; headers after one another are separate places.</summary>
    private static List<string> Places(string? module)
    {
        var places = new List<string>();
        if (string.IsNullOrEmpty(module))
        {
            places.Add("kernel");
            return places;
        }

        var start = 0;
        var inside = false;
        for (var i = 0; i <= module.Length; i++)
        {
            if (i < module.Length && module[i] == '<')
            {
                inside = true;
            }

            var ends = i == module.Length || module[i] == ':' && !inside;
            if (i < module.Length && module[i] == '>')
            {
                inside = false;
            }

            if (ends)
            {
                if (i > start)
                {
                    places.Add(module[start..i]);
                }

                start = i + 1;
            }
        }

        return places;
    }

    private static BtfType? In(Btf btf, string kind, string name) => kind switch
    {
        "struct" or "class" => btf.Find(BtfKind.Struct, name),
        "union" => btf.Find(BtfKind.Union, name),
        "enum" => btf.Find(BtfKind.Enum, name) ?? btf.Find(BtfKind.Enum64, name),
        "int" => btf.Find(BtfKind.Int, name),
        _ => btf.Find(BtfKind.Typedef, name) ?? btf.Find(BtfKind.Int, name) ?? btf.Find(BtfKind.Struct, name) ?? btf.Find(BtfKind.Union, name)
            ?? btf.Find(BtfKind.Enum, name) ?? btf.Find(BtfKind.Enum64, name) ?? btf.Find(BtfKind.Float, name),
    };

    /// <summary>Keyword (or "" for a plain name), name, stars. C's many spellings of integers become the one BTF uses.</summary>
    internal static (string Kind, string Name, int Pointers) Parse(string text)
    {
        var pointers = text.AsSpan().Count('*');
        var words = new List<string>();
        foreach (var word in text.Replace("*", " ").Split([' ', '\t', '\n'], StringSplitOptions.RemoveEmptyEntries))
        {
            if (word is not ("const" or "volatile" or "restrict" or "__user" or "__rcu"))
            {
                words.Add(word);
            }
        }

        if (words.Count == 2 && words[0] is "struct" or "union" or "enum" or "class")
        {
            return words.Count == 2 ? (words[0], words[1], pointers) : ("", "", 0);
        }

        int longs = 0, other = 0;
        bool unsigned = false, signed = false, isShort = false, isInt = false, isChar = false;
        foreach (var word in words)
        {
            switch (word)
            {
                case "long": longs++; break;
                case "unsigned": unsigned = true; break;
                case "signed": signed = true; break;
                case "short": isShort = true; break;
                case "int": isInt = true; break;
                case "char": isChar = true; break;
                default: other++; break;
            }
        }

        if (other > 0 || words.Count == 0)
        {
            return words.Count == 1 ? (words[0] is "bool" ? "int" : "", words[0] is "bool" ? "_Bool" : words[0], pointers) : ("", "", 0);
        }

        var sign = unsigned ? "unsigned " : "";
        var name = isChar ? unsigned ? "unsigned char" : signed ? "signed char" : "char"
            : isShort ? "short " + sign + "int"
            : longs >= 2 ? "long long " + sign + "int"
            : longs == 1 ? "long " + sign + "int"
            : isInt || unsigned || signed ? sign + "int"
            : "";
        return ("int", name, pointers);
    }
}
