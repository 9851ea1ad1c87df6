using System.Text;

namespace SystemTap.Tests.Corpus;

/// <summary>Where the script of a case runs.</summary>
public enum CorpusEngine
{
    /// <summary>As written.</summary>
    AsIs,

    /// <summary><c>probe BODY</c> becomes a begin probe: the host evaluator runs it.</summary>
    Host,

    /// <summary><c>probe BODY</c> becomes a handler of a kernel tracepoint: the BPF engine runs it.</summary>
    Kernel,
}

/// <summary>
/// One script of the corpus and what must come of it. Two layouts hold them:
/// <list type="bullet">
/// <item><c>NAME.stp</c> with <c>NAME.out</c> (exact standard output) and, if wanted, <c>NAME.err</c> (lines that standard error
/// must contain), <c>NAME.args</c> (words of the command line, one a line) and <c>NAME.status</c>.</item>
/// <item><c>NAME.cases</c>: many small ones. <c>=== title</c> starts a case; lines that begin with <c>%args</c>, <c>%words</c>, <c>%status</c>,
/// <c>%needs</c>, <c>%engine host|kernel</c> or <c>%match</c> right after it are its head; then comes the script; <c>--- out</c> and <c>--- err</c> start
/// the expected output and the error lines. Cases for virtual machines (tests/vm/cases) may also have <c>%kernels</c>, <c>%runtimes</c>, <c>%module</c>, <c>%program</c> and a part
/// <c>--- sh</c>: shell commands that are run instead of the script and call it as <c>$RUN</c>.</item>
/// </list>
/// A script with <c>probe BODY {</c> makes two cases with one expectation: the same statements run in the host evaluator and in the BPF engine.
/// The kernel's handler is that of <c>sched_process_exit</c> of the command <c>/bin/true</c>: it runs exactly once.
/// Comments at the head of each file say which rule it covers and where the expectation comes from.
/// </summary>
public sealed record CorpusCase
{
    /// <summary>Folder, file and title, unique in the corpus.</summary>
    public required string Name { get; init; }

    /// <summary>The script.</summary>
    public required string Script { get; init; }

    /// <summary>Options before the script.</summary>
    public required IReadOnlyList<string> Options { get; init; }

    /// <summary>Script arguments.</summary>
    public required IReadOnlyList<string> Words { get; init; }

    /// <summary>Exact standard output; null: not compared.</summary>
    public string? Out { get; init; }

    /// <summary>Lines standard error must contain.</summary>
    public required IReadOnlyList<string> Err { get; init; }

    /// <summary>Exit status.</summary>
    public int Status { get; init; }

    /// <summary>What it needs, e.g. <c>root</c>; "" for nothing.</summary>
    public string Needs { get; init; } = "";

    /// <summary>Where the body runs.</summary>
    public CorpusEngine Engine { get; init; }

    /// <summary>Shell commands run instead of the script alone; null: none. Virtual machines only.</summary>
    public string? Shell { get; init; }

    /// <summary>Kernels it is for, e.g. <c>6.1 6.12</c>; "" for all. Virtual machines only.</summary>
    public string Kernels { get; init; } = "";

    /// <summary>Runtimes it is for: <c>bpf</c>, <c>kernel</c>; "" for both. Virtual machines only.</summary>
    public string Runtimes { get; init; } = "";

    /// <summary>A module of tests/vm/modules, built for the kernel and put beside the script as NAME.ko; "" for none. Virtual machines only.</summary>
    public string Module { get; init; } = "";

    /// <summary>A program of tests/programs and the flags to compile it with; PROGRAM stands for its path. "" for none. Virtual machines only.</summary>
    public string Program { get; init; } = "";

    /// <summary>Compares the output line by line as patterns of <c>*</c>.</summary>
    public bool Match { get; init; }

    /// <inheritdoc/>
    public override string ToString() => Name;

    /// <summary>All cases below a folder of the corpus.</summary>
    public static IEnumerable<CorpusCase> Load(string folder) => Load(Path.Combine(StapProcess.Root, "tests", "corpus", folder), folder);

    /// <summary>All cases below <paramref name="top"/>.</summary>
    public static IEnumerable<CorpusCase> Load(string top, string folder)
    {
        foreach (var path in Directory.EnumerateFiles(top, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal))
        {
            var name = Path.ChangeExtension(Path.GetRelativePath(top, path), null);
            var cases = Path.GetExtension(path) switch
            {
                ".stp" => Expand(FromFiles(path), name, folder),
                ".cases" => FromCases(path, name, folder),
                _ => [],
            };
            foreach (var one in cases)
            {
                yield return one;
            }
        }
    }

    private static Draft FromFiles(string path)
    {
        var draft = new Draft { Script = Read(path) };
        foreach (var line in draft.Script.Split('\n'))
        {
            if (line.StartsWith("// needs: ", StringComparison.Ordinal))
            {
                draft.Needs = line["// needs: ".Length..].Trim();
            }
            else if (line.StartsWith("// match", StringComparison.Ordinal))
            {
                draft.Match = true;
            }
        }

        string? Beside(string extension) => Path.ChangeExtension(path, extension) is var p && File.Exists(p) ? Read(p) : null;
        draft.Out = Beside(".out");
        draft.Err.AddRange(Lines(Beside(".err")));
        draft.Options.AddRange(Lines(Beside(".args")));
        draft.Words.AddRange(Lines(Beside(".words")));
        draft.Status = Beside(".status") is { } s ? int.Parse(s.Trim()) : null;
        return draft;
    }

    private static IEnumerable<CorpusCase> FromCases(string path, string name, string folder)
    {
        Draft? draft = null;
        var title = "";
        var part = new StringBuilder();
        var section = "script";
        foreach (var line in (Read(path) is var text && text.EndsWith('\n') ? text + "===" : text + "\n===").Split('\n'))
        {
            var isCase = line.StartsWith("===", StringComparison.Ordinal);
            var isSection = line is "--- out" or "--- err" or "--- sh";
            if (!isCase && !isSection)
            {
                if (draft is not null && section == "script" && part.Length == 0 && line.StartsWith('%') && !line.StartsWith("%(", StringComparison.Ordinal) && !line.StartsWith("%{", StringComparison.Ordinal))
                {
                    draft.Head(line, path);
                }
                else
                {
                    part.Append(line).Append('\n');
                }

                continue;
            }

            draft?.Take(section, part.ToString());
            part.Clear();
            section = isSection ? line[4..] : "script";
            if (isCase)
            {
                if (draft is not null)
                {
                    foreach (var one in Expand(draft, $"{name}#{title}", folder))
                    {
                        yield return one;
                    }
                }

                title = line[3..].Trim();
                draft = new Draft();
            }
        }
    }

    private static IEnumerable<CorpusCase> Expand(Draft draft, string name, string folder)
    {
        const string Body = "probe BODY {";
        var reject = folder == "reject";
        CorpusCase Make(string suffix, string script, string[] more, CorpusEngine engine) => new()
        {
            Name = name + suffix,
            Script = script,
            Options = [.. more, .. draft.Options],
            Words = draft.Words,
            Out = draft.Out,
            Err = draft.Err,
            Status = draft.Status ?? (reject ? 1 : 0),
            Needs = draft.Needs,
            Match = draft.Match,
            Shell = draft.Shell,
            Kernels = draft.Kernels,
            Runtimes = draft.Runtimes,
            Module = draft.Module,
            Program = draft.Program,
            Engine = engine,
        };
        if (!draft.Script.Contains(Body, StringComparison.Ordinal))
        {
            yield return Make("", draft.Script, reject && !draft.Options.Any(o => o.StartsWith("-p", StringComparison.Ordinal)) ? ["-p2"] : [], CorpusEngine.AsIs);
            yield break;
        }

        if (draft.Engine is null or CorpusEngine.Host)
        {
            var script = draft.Script.Replace(Body, "probe begin {", StringComparison.Ordinal) + "\nprobe begin(9223372036854775807) { exit() }\n";
            yield return Make(" [host]", script, [], CorpusEngine.Host);
        }

        if (draft.Engine is null or CorpusEngine.Kernel)
        {
            var script = draft.Script.Replace(Body, "probe kernel.trace(\"sched_process_exit\") { if (pid() != target()) next;", StringComparison.Ordinal);
            yield return Make(" [kernel]", script, ["-c", "/bin/true"], CorpusEngine.Kernel);
        }
    }

    private static string Read(string path) => File.ReadAllText(path, Encoding.Latin1);

    private static IEnumerable<string> Lines(string? text) => (text ?? "").Split('\n', StringSplitOptions.RemoveEmptyEntries);

    /// <summary>A case while its parts are read.</summary>
    private sealed class Draft
    {
        public string Script { get; set; } = "";

        public List<string> Options { get; } = [];

        public List<string> Words { get; } = [];

        public List<string> Err { get; } = [];

        public string? Out { get; set; }

        public int? Status { get; set; }

        public string Needs { get; set; } = "";

        public bool Match { get; set; }

        public string? Shell { get; set; }

        public string Kernels { get; set; } = "";

        public string Runtimes { get; set; } = "";

        public string Module { get; set; } = "";

        public string Program { get; set; } = "";

        public CorpusEngine? Engine { get; set; }

        public void Head(string line, string path)
        {
            var space = line.IndexOf(' ');
            var (key, value) = space < 0 ? (line, "") : (line[..space], line[(space + 1)..].Trim());
            switch (key)
            {
                case "%args": Options.AddRange(value.Split(' ', StringSplitOptions.RemoveEmptyEntries)); break;
                case "%arg": Options.Add(value); break;
                case "%words": Words.AddRange(value.Split(' ', StringSplitOptions.RemoveEmptyEntries)); break;
                case "%word": Words.Add(value); break;
                case "%status": Status = int.Parse(value); break;
                case "%needs": Needs = value; break;
                case "%kernels": Kernels = value; break;
                case "%runtimes": Runtimes = value; break;
                case "%module": Module = value; break;
                case "%program": Program = value; break;
                case "%match": Match = true; break;
                case "%engine": Engine = value == "host" ? CorpusEngine.Host : value == "kernel" ? CorpusEngine.Kernel : CorpusEngine.AsIs; break;
                default: throw new InvalidDataException($"{path}: '{key}' is no head line of a case");
            }
        }

        public void Take(string section, string text)
        {
            switch (section)
            {
                case "script": Script = text; break;
                case "out": Out = text; break;
                case "sh": Shell = text; break;
                default: Err.AddRange(Lines(text)); break;
            }
        }
    }
}
