using System.Text;
using SystemTap.Language.Diagnostics;
using SystemTap.Language.Lexing;
using SystemTap.Language.Text;

namespace SystemTap.Runtime.Modules;

/// <summary>The globals of a loaded module, and what <c>staprun MODULE NAME=VALUE</c> sets them to.</summary>
internal static class GlobalSettings
{
    /// <summary>A checked value: the global's place in the module's list, and its number or its text in bytes.</summary>
    public readonly record struct Setting(int Global, long Number, byte[] Text);

    /// <summary>The values that words ask for.</summary>
    /// <param name="module">Name of the module, for messages.</param>
    /// <param name="list">The module's list: for each global a letter for its kind and its name, ended by a NUL.</param>
    /// <param name="maxString">MAXSTRINGLEN.</param>
    /// <param name="words">NAME=VALUE each.</param>
    /// <exception cref="ModuleException">A word names no scalar global, or its value does not fit.</exception>
    public static IReadOnlyList<Setting> Check(string module, ReadOnlySpan<byte> list, ulong maxString, IEnumerable<string> words)
    {
        var globals = Encoding.Latin1.GetString(list).Split('\0', StringSplitOptions.RemoveEmptyEntries);
        var settings = new List<Setting>();
        foreach (var word in words)
        {
            var equals = word.IndexOf('=');
            var (name, value) = (word[..equals], word[(equals + 1)..]);
            var global = Array.FindIndex(globals, g => g.AsSpan(1).SequenceEqual(name));
            if (global < 0)
            {
                throw new ModuleException($"module '{module}' has no global '{name}'", Existing(name, globals));
            }

            switch (globals[global][0])
            {
                case 'n':
                    settings.Add(new Setting(global, ScriptNumber.Parse(value) ?? throw new ModuleException($"global '{name}' is a number, and '{value}' is none", "numbers are decimal, 0x… or octal after a 0"), []));
                    break;
                case 's':
                    var text = Encoding.Latin1.GetBytes(ByteText.FromText(value));
                    settings.Add((ulong)text.Length < maxString ? new Setting(global, 0, text)
                        : throw new ModuleException($"the text for global '{name}' has {text.Length} bytes; this module's strings hold {maxString - 1}", "build it with -DMAXSTRINGLEN=N for longer ones"));
                    break;
                default:
                    throw new ModuleException($"global '{name}' is an {(globals[global][0] == 'a' ? "array" : "aggregate")}: only numbers and strings can be set", Scalars(globals));
            }
        }

        return settings;
    }

    private static string Existing(string name, string[] globals) =>
        Suggestions.DidYouMean(name, globals.Where(IsScalar).Select(static g => g[1..]), 1) is { } near ? $"{near} {Scalars(globals)}" : Scalars(globals);

    private static string Scalars(string[] globals)
    {
        var names = Array.FindAll(globals, IsScalar);
        return names.Length == 0 ? "it has none that can be set; globals that the script does not use are left out of the module"
            : "it has " + string.Join(", ", names.Select(static g => g[1..] + (g[0] == 's' ? " (string)" : " (number)")));
    }

    private static bool IsScalar(string global) => global[0] is 'n' or 's';
}
