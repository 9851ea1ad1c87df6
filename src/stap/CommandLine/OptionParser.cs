using System.Globalization;
using SystemTap.Semantics.Probes;

namespace SystemTap.Cli.CommandLine;

/// <summary>
/// A small getopt with stap's habits: options may be clustered (<c>-vvk</c>) and values glued (<c>-p4</c>, <c>-DX=1</c>, <c>--vp=010</c>); the first word
/// that is no option is the script unless <c>-e</c> or a listing was given; the other such words are the script's arguments. Options may stand anywhere, also
/// behind the script (<c>stap FILE -c CMD</c>), as getopt permutes them; <c>--</c> ends the options. Long options may be shortened while unique.
/// System.CommandLine was not used: it cannot glue values to short options nor stop at the script.
/// </summary>
internal static partial class OptionParser
{
    private const string ShortWithValue = "pIeEorRamcxDsSBdlLGT";
    private const string ShortFlags = "hVvtkgPbuqwiFWJj";

    private static readonly (string Name, char Value)[] Long =
    [
        // Value: 'n' none, 'r' required, 'o' optional.
        ("help", 'n'), ("version", 'n'), ("vp", 'r'), ("runtime", 'r'), ("bpf", 'n'), ("dyninst", 'n'), ("dump-probe-types", 'n'),
        ("dump-probe-aliases", 'n'), ("dump-functions", 'n'), ("privilege", 'r'), ("unprivileged", 'n'), ("compatible", 'r'), ("check-version", 'n'),
        ("skip-badvars", 'n'), ("suppress-handler-errors", 'n'), ("suppress-time-limits", 'n'), ("no-global-var-display", 'n'), ("color", 'o'),
        ("colour", 'o'), ("clean-cache", 'n'), ("disable-cache", 'n'), ("poison-cache", 'n'), ("all-modules", 'n'), ("ldd", 'n'), ("prologue-searching", 'o'),
        ("tmpdir", 'r'), ("modinfo", 'r'), ("save-uprobes", 'n'), ("sysroot", 'r'), ("sysenv", 'r'), ("remote", 'r'), ("remote-prefix", 'n'),
        ("use-server", 'o'), ("use-server-on-error", 'o'), ("list-servers", 'o'), ("trust-servers", 'o'), ("use-http-server", 'r'), ("sign-module", 'o'),
        ("download-debuginfo", 'o'), ("rlimit-as", 'r'), ("rlimit-cpu", 'r'), ("rlimit-nproc", 'r'), ("rlimit-stack", 'r'), ("rlimit-fsize", 'r'),
        ("target-namespaces", 'r'), ("monitor", 'o'), ("example", 'n'), ("interactive", 'n'), ("debug", 'n'), ("semantic-keep-going", 'n'), ("build-as", 'o'),
        ("language-server", 'n'),
    ];

    /// <summary>Parses the words after the program name.</summary>
    /// <exception cref="UsageException">An option is unknown, lacks its value, or contradicts another.</exception>
    public static Options Parse(IReadOnlyList<string> words)
    {
        var options = new Options();
        var state = new State(options);
        var i = 0;
        while (i < words.Count)
        {
            var word = words[i++];
            if (word == "--")
            {
                while (i < words.Count)
                {
                    state.Word(words[i++]);
                }
            }
            else if (word.StartsWith("--", StringComparison.Ordinal))
            {
                ParseLong(state, word[2..], words, ref i);
            }
            else if (word.Length > 1 && word[0] == '-' && !char.IsAsciiDigit(word[1])) // "-5" is an argument of the script
            {
                ParseShort(state, word, words, ref i);
            }
            else
            {
                state.Word(word);
            }
        }

        state.Finish();
        return options;
    }

    private static void ParseShort(State state, string word, IReadOnlyList<string> words, ref int next)
    {
        for (var k = 1; k < word.Length; k++)
        {
            var c = word[k];
            if (ShortFlags.Contains(c))
            {
                state.Flag(c);
            }
            else if (ShortWithValue.Contains(c))
            {
                var value = k + 1 < word.Length ? word[(k + 1)..]
                    : next < words.Count ? words[next++]
                    : throw new UsageException($"option '-{c}' needs a value", "see 'stap --help'");
                state.Valued(c, value);
                return;
            }
            else
            {
                throw new UsageException($"unknown option '-{c}'", "see 'stap --help' for the options");
            }
        }
    }

    private static void ParseLong(State state, string text, IReadOnlyList<string> words, ref int next)
    {
        var equals = text.IndexOf('=');
        var name = equals < 0 ? text : text[..equals];
        var given = equals < 0 ? null : text[(equals + 1)..];
        (string Name, char Value)? found = null;
        foreach (var option in Long)
        {
            if (option.Name == name)
            {
                found = option;
                break;
            }

            if (name.Length > 0 && option.Name.StartsWith(name, StringComparison.Ordinal))
            {
                if (found is { } other)
                {
                    throw new UsageException($"option '--{name}' is ambiguous: '--{other.Name}' or '--{option.Name}'", "write it out");
                }

                found = option;
            }
        }

        if (found is not { } match)
        {
            throw new UsageException($"unknown option '--{name}'", Nearest(name) is { } near ? $"did you mean '--{near}'?" : "see 'stap --help' for the options");
        }

        if (match.Value == 'n' && given is not null)
        {
            throw new UsageException($"option '--{match.Name}' takes no value", "leave out '=" + given + "'");
        }

        if (match.Value == 'r' && given is null)
        {
            given = next < words.Count ? words[next++] : throw new UsageException($"option '--{match.Name}' needs a value", $"write --{match.Name}=VALUE");
        }

        state.Long(match.Name, given);
    }

    private static string? Nearest(string name)
    {
        string? best = null;
        var bestDistance = 3;
        foreach (var (candidate, _) in Long)
        {
            var distance = SystemTap.Language.Diagnostics.Suggestions.Distance(name, candidate, bestDistance);
            if (distance < bestDistance)
            {
                (best, bestDistance) = (candidate, distance);
            }
        }

        return best;
    }

    private static long Number(string option, string text, long min, long max)
    {
        if (!long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var value) || value < min || value > max)
        {
            throw new UsageException($"option '{option}': '{text}' is not a number from {min} to {max}", "give such a number");
        }

        return value;
    }

    private static Privilege ParsePrivilege(string text) => text switch
    {
        "stapusr" => Privilege.User,
        "stapsys" => Privilege.System,
        "stapdev" => Privilege.Developer,
        _ => throw new UsageException($"option '--privilege': '{text}' is no privilege", "use stapusr, stapsys or stapdev"),
    };
}
