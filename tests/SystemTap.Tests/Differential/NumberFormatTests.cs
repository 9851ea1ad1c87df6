using System.Globalization;
using System.Text;
using Xunit;

namespace SystemTap.Tests.Differential;

/// <summary>The formatter of numbers that runs inside the kernel, against stap's own: every conversion with every flag, widths, precisions, and values at the edges.</summary>
public sealed class NumberFormatTests
{
    private static readonly string[] Values = ["0", "-1", "255", "-4294967296", "9223372036854775807", "-9223372036854775808"];

    [Theory]
    [InlineData('d')]
    [InlineData('i')]
    [InlineData('u')]
    [InlineData('x')]
    [InlineData('X')]
    [InlineData('o')]
    [InlineData('p')]
    [InlineData('c')]
    public void The_kernel_formats_as_stap_does(char conversion)
    {
        Assert.SkipWhen(Environment.UserName != "root", "needs root");
        var text = new StringBuilder("global t\nprobe BODY {\n");
        var values = conversion == 'c' ? ["65", "48", "126", "10", "7", "92", "39", "200"] : Values;
        foreach (var value in values)
        {
            // A value the translator cannot know, and a text that is kept, so that the kernel must make it.
            text.Append(CultureInfo.InvariantCulture, $"  v = t[-1] ? 0 : {value}\n");
            var n = 0;
            foreach (var flag in (string[])["", "0", "+", "-", " ", "#"])
            {
                foreach (var size in conversion == 'c' ? (string[])["", "5"] : ["", "5", ".3", "24.5"])
                {
                    text.Append(CultureInfo.InvariantCulture, $"  s[{n++}] = sprintf(\"[%{flag}{size}{conversion}]\", v)\n");
                }
            }

            text.Append(CultureInfo.InvariantCulture, $"  s[{n++}] = sprintf(\"[%*{conversion}][%-*{conversion}]\", 7, v, 9, v)\n  s[{n++}] = sprintf(\"[%*{conversion}]\", -7, v)\n");
            text.Append("  foreach (k+ in s) print(s[k])\n  println()\n  delete s\n");
        }

        text.Append("}\nglobal s\n");
        foreach (var part in Split(text.ToString(), values.Length))
        {
            var host = EngineRunner.Shared.Run(part.Replace("probe BODY {", "probe begin {", StringComparison.Ordinal));
            var kernel = EngineRunner.Shared.Run(part.Replace("probe BODY {", EngineRunner.KernelProbe, StringComparison.Ordinal));
            Assert.True(host.Ran && kernel.Ran, host.Refusal ?? kernel.Refusal);
            Assert.Contains("[", host.Text);
            Assert.Equal(host.Text, kernel.Text);
        }
    }

    // One handler for each value: the code of one conversion is long.
    private static IEnumerable<string> Split(string script, int count)
    {
        var parts = script.Split("  v = t[-1]");
        Assert.Equal(count + 1, parts.Length);
        for (var i = 1; i < parts.Length; i++)
        {
            var body = parts[i];
            var end = body.IndexOf("  delete s\n", StringComparison.Ordinal);
            yield return $"global t, s\nprobe BODY {{\n  v = t[-1]{body[..end]}  delete s\n}}\n";
        }
    }
}
