using System.Text;
using SystemTap.Semantics.Lowered;
using Xunit;

namespace SystemTap.Tests.Semantics;

/// <summary>A wildcard over hundreds of aliases with long prologues binds only what the handler reads.</summary>
public class ManyProbesTests
{
    internal static string Tapset(int count)
    {
        var text = new StringBuilder();
        for (var i = 0; i < count; i++)
        {
            text.Append($"probe sys.call{i} = begin({i}) {{ name = \"call{i}\"; ");
            for (var j = 0; j < 18; j++)
            {
                text.Append(j % 3 == 0 ? $"a{j} = pid() + {j}; " : $"s{j} = sprintf(\"%d %s\", a{j - (j % 3)}, execname()); ");
            }

            text.Append("argstr = s1 . s17 }\n");
        }

        return text.ToString();
    }

    [Fact]
    public void OnlyWhatIsReadIsLowered()
    {
        var e = new Elaborated("global n probe sys.* { n[name]++ }", null, Tapset(350));
        Assert.Equal("", e.Messages());
        Assert.Equal(350, e.Program.Probes.Count);
        Assert.All(e.Program.Probes, p => Assert.Single(p.Locals));
        Assert.Contains(e.Program.Probes, p => LoweredPrinter.Print(p.Body) == "name = \"call349\"\n++n[name]");
    }

    [Fact]
    public void ChainsOfPrologueLinesStay()
    {
        var e = new Elaborated("probe sys.call1 { println(argstr) }", null, Tapset(3));
        Assert.Equal(["a0", "s1", "a15", "s17", "argstr"], e.Program.Probes[0].Locals.Select(l => l.Name));
    }
}
