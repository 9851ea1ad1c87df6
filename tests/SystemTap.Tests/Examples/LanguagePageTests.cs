using Xunit;

namespace SystemTap.Tests.Examples;

/// <summary>
/// Runs every sample of docs/language.md. A block <c>```stap OPTIONS</c> is a whole script; <c>-- ARGS</c> among the options are script arguments;
/// <c>error</c> means that it must be refused. A block <c>```output</c> right after it is exactly what it prints (for a refusal: part of the message).
/// </summary>
[Collection("kernel")]
public class LanguagePageTests
{
    public sealed record Sample(int Line, string Options, string Script, string? Output);

    private static readonly Lazy<List<Sample>> All = new(Read);

    public static TheoryData<int> Lines => [.. All.Value.Select(s => s.Line)];

    [Theory]
    [MemberData(nameof(Lines))]
    public void Sample_does_what_the_page_says(int line)
    {
        StapRun.Need();
        var sample = All.Value.Single(s => s.Line == line);
        var refused = sample.Options == "error";
        var words = refused ? [] : Words(sample.Options);
        var split = words.IndexOf("--");
        string[] options = [.. split < 0 ? words : words.Take(split)], arguments = [.. split < 0 ? [] : words.Skip(split + 1)];
        var run = StapRun.Stapped([.. options, "-e", sample.Script, .. arguments]);
        if (refused)
        {
            Assert.Equal(1, run.Status);
            Assert.Contains(sample.Output!.Trim(), run.Error);
            Assert.Equal("", run.Out);
            return;
        }

        if (sample.Output is not null)
        {
            run.Succeeded();
            Assert.Equal(sample.Output, run.Out);
        }
        else
        {
            Assert.True(run.Out.Length > 0, run.ToString());
        }

        Assert.DoesNotContain("ERROR", run.Error);
    }

    [Fact]
    public void The_page_has_samples_and_all_blocks_are_checked()
    {
        Assert.True(All.Value.Count >= 20);
        Assert.All(File.ReadLines(Page).Where(l => l.StartsWith("```")), l => Assert.True(l is "```" or "```output" || l.StartsWith("```stap"), l));
    }

    private static string Page => Path.Combine(Repository.Root, "docs/language.md");

    private static List<Sample> Read()
    {
        var lines = File.ReadAllLines(Page);
        var samples = new List<Sample>();
        for (var i = 0; i < lines.Length; i++)
        {
            if (!lines[i].StartsWith("```stap", StringComparison.Ordinal))
            {
                continue;
            }

            var (start, options) = (i, lines[i][7..].Trim());
            var script = Block(lines, ref i);
            string? output = null;
            if (i + 1 < lines.Length && lines[i + 1] == "```output")
            {
                i++;
                output = Block(lines, ref i);
            }

            samples.Add(new Sample(start + 1, options, script, output));
        }

        return samples;
    }

    /// <summary>The text of the block that opens at line <paramref name="at"/>, which becomes the closing line.</summary>
    private static string Block(string[] lines, ref int at)
    {
        var start = at + 1;
        for (at = start; lines[at] != "```"; at++)
        {
        }

        return string.Concat(lines[start..at].Select(l => l + "\n"));
    }

    private static List<string> Words(string text)
    {
        var words = new List<string>();
        var word = "";
        var (quoted, any) = (false, false);
        foreach (var c in text)
        {
            if (c == '\'')
            {
                (quoted, any) = (!quoted, true);
            }
            else if (c == ' ' && !quoted)
            {
                if (any)
                {
                    words.Add(word);
                }

                (word, any) = ("", false);
            }
            else
            {
                word += c;
                any = true;
            }
        }

        return any ? [.. words, word] : words;
    }
}
