using System.Globalization;
using System.Text;
using SystemTap.Language.Diagnostics;
using SystemTap.Language.Parsing;
using SystemTap.Language.Text;
using SystemTap.Runtime.Sessions;

namespace SystemTap.Cli.Driver;

/// <summary>
/// <c>stap -i</c>: a script is put together at a prompt, piece by piece (a probe, a function, a global), and run by stap itself as a process of its own, so
/// that Ctrl-C ends the run and not the prompt. A piece may have several lines: it ends where its brackets do.
/// </summary>
internal sealed class InteractivePrompt(TextReader input, TextWriter output)
{
    private const string HelpText =
        """
        probe …, function …, global …   add this to the script (also over several lines)
        list                            show the script, its pieces numbered
        delete N [M]                    take piece N out (or N to M); delete all
        run [ARGUMENTS]                 run the script; Ctrl-C ends the run
        set [OPTIONS]                   options for run, such as: set -v -T 5; alone: none
        show                            the options that run uses
        load FILE                       replace the script by a file's
        save FILE                       write the script into a file
        edit                            change the script with $EDITOR
        probes PATTERN                  probe points that match, as stap -l
        help, quit

        """;

    private readonly List<string> _pieces = [];
    private readonly bool _prompts = !Console.IsInputRedirected;
    private string[] _runOptions = [.. Self.Words.Where(w => w is not ("-i" or "--interactive"))];

    /// <summary>Reads and obeys until the input ends.</summary>
    public int Run()
    {
        if (_prompts)
        {
            output.WriteLine("stap, interactive: 'help' lists the commands, 'quit' leaves");
        }

        while (ReadLine("stap> ") is { } line)
        {
            var text = line.Trim();
            var space = text.IndexOf(' ');
            var (command, rest) = space < 0 ? (text, "") : (text[..space], text[(space + 1)..].Trim());
            switch (command)
            {
                case "": break;
                case "quit" or "exit" or "q": return 0;
                case "help" or "?": output.Write(HelpText); break;
                case "list" or "l": List(); break;
                case "delete" or "d": Delete(rest); break;
                case "run" or "r": RunScript(rest); break;
                case "set": _runOptions = rest.Split(' ', StringSplitOptions.RemoveEmptyEntries); break;
                case "show": output.WriteLine(string.Join(' ', _runOptions)); break;
                case "load": Guarded(rest, () => Replace(File.ReadAllText(ByteText.ToText(rest), Encoding.Latin1))); break;
                case "save": Guarded(rest, () => File.WriteAllText(ByteText.ToText(rest), Script, Encoding.Latin1)); break;
                case "edit" or "e": Edit(); break;
                case "probes": Self.Run(["-l", rest.Length > 0 ? rest : "*"]); break;
                case "add" or "a": Add(rest); break;
                default:
                    if (command is "probe" or "function" or "global" or "private" or "@define" || command.StartsWith('%'))
                    {
                        Add(text);
                    }
                    else
                    {
                        output.WriteLine($"ERROR: '{command}' is no command and begins no probe, function or global; 'help' lists the commands");
                    }

                    break;
            }
        }

        return 0;
    }

    private string Script => string.Concat(_pieces.Select(p => p + "\n"));

    private string? ReadLine(string prompt)
    {
        if (_prompts)
        {
            output.Write(prompt);
        }

        return input.ReadLine() is { } line ? ByteText.FromText(line) : null;
    }

    private void Add(string text)
    {
        while (Depth(text) > 0 && ReadLine("    > ") is { } more)
        {
            text += "\n" + more;
        }

        if (Parses(text))
        {
            _pieces.Add(text);
        }
    }

    /// <summary>Errors of a piece are shown at once; a piece with errors is not kept.</summary>
    private bool Parses(string text)
    {
        var diagnostics = new DiagnosticBag();
        Parser.Parse(new SourceText("<input>", text), new ParseOptions { GuruMode = true }, diagnostics);
        var printer = new DiagnosticPrinter(output, null);
        foreach (var diagnostic in diagnostics.All)
        {
            printer.Print(diagnostic);
        }

        return !diagnostics.All.Any(d => d.Severity != Severity.Warning);
    }

    /// <summary>Open brackets at the end of a text; strings and comments do not count.</summary>
    internal static int Depth(string text)
    {
        var depth = 0;
        for (var i = 0; i < text.Length; i++)
        {
            var c = text[i];
            switch (c)
            {
                case '{' or '(' or '[': depth++; break;
                case '}' or ')' or ']': depth--; break;
                case '"':
                    for (i++; i < text.Length && text[i] is not ('"' or '\n'); i++)
                    {
                        i += text[i] == '\\' ? 1 : 0;
                    }

                    break;
                case '#' when i == 0 || text[i - 1] is not ('$' or '@'):
                case '/' when i + 1 < text.Length && text[i + 1] == '/':
                    i = text.IndexOf('\n', i) is >= 0 and var end ? end : text.Length;
                    break;
                case '/' when i + 1 < text.Length && text[i + 1] == '*':
                    var close = text.IndexOf("*/", i + 2, StringComparison.Ordinal);
                    if (close < 0)
                    {
                        return depth + 1;
                    }

                    i = close + 1;
                    break;
            }
        }

        return depth;
    }

    private void List()
    {
        for (var i = 0; i < _pieces.Count; i++)
        {
            output.WriteLine($"{(i + 1).ToString(CultureInfo.InvariantCulture),3}: {_pieces[i].Replace("\n", "\n     ", StringComparison.Ordinal)}");
        }
    }

    private void Delete(string which)
    {
        var words = which.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        if (which == "all")
        {
            _pieces.Clear();
        }
        else if (words.Length is 1 or 2 && int.TryParse(words[0], out var first) && int.TryParse(words[^1], out var last) && first >= 1 && first <= last && last <= _pieces.Count)
        {
            _pieces.RemoveRange(first - 1, last - first + 1);
        }
        else
        {
            output.WriteLine($"ERROR: delete needs the number of a piece, 1 to {_pieces.Count}, two such numbers, or 'all'; 'list' shows them");
        }
    }

    private void RunScript(string arguments)
    {
        if (_pieces.Count == 0)
        {
            output.WriteLine("ERROR: there is no script yet; add a probe, for instance: probe begin { println(\"hello\") exit() }");
            return;
        }

        Self.Run([.. _runOptions, "-e", Script, .. arguments.Split(' ', StringSplitOptions.RemoveEmptyEntries)]);
    }

    private void Edit()
    {
        var path = Path.Combine(Path.GetTempPath(), $"stap-{Environment.ProcessId}.stp");
        Guarded(path, () =>
        {
            File.WriteAllText(path, Script, Encoding.Latin1);
            Self.RunShell($"{Environment.GetEnvironmentVariable("EDITOR") ?? "vi"} {Self.Quoted(path)}");
            Replace(File.ReadAllText(path, Encoding.Latin1));
        });
        File.Delete(path);
    }

    /// <summary>The script becomes one text: where its pieces end is then the file's business.</summary>
    private void Replace(string text)
    {
        if (text.Trim().Length == 0)
        {
            _pieces.Clear();
        }
        else if (Parses(text))
        {
            _pieces.Clear();
            _pieces.Add(text.TrimEnd());
        }
    }

    private void Guarded(string path, Action action)
    {
        if (path.Length == 0)
        {
            output.WriteLine("ERROR: a file name is missing");
            return;
        }

        try
        {
            action();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            output.WriteLine($"ERROR: file '{path}' cannot be used: {e.Message}");
        }
    }
}
