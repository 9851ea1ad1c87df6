using SystemTap.Semantics.Elaboration;
using SystemTap.Semantics.Lowered;
using Xunit;

namespace SystemTap.Tests.Semantics;

public class ElaboratedPrinterTests
{
    private const string Script = """
        global a = 3, b[7], c%, s, t = "x"
        function f:string(x:long) { y = x * 2; if (y > 3) y = 4; return sprint(y) }
        probe io = begin { z = pid() }
        probe io { b[f(z)] <<< a; c[t] = 1; s <<< @count(b["q"]); if (a) println(@sum(s), c["x"]) }
        """;

    [Fact]
    public void Sections() => Assert.Equal(
        """
        # globals
        a:long = 3
        b[7]:stats [string]
        c%:long [string]
        s:stats
        t:string = "x"
        # functions
        f:string (x:long)
          # locals
          y:long
        # probes
        begin /* <- io */
          # locals
          z:long

        """,
        ElaboratedPrinter.Print(new Elaborated(Script).Result, verbose: false));

    [Fact]
    public void Bodies() => Assert.Contains(
        """
        f:string (x:long)
          # locals
          y:long
        {
          y = (x * 2)
          if ((y > 3))
            y = 4
          return sprintf("%d", y)
        }
        # probes
        begin /* <- io */
          # locals
          z:long
        {
          z = _stap_pid()
          b[f(z)] <<< a
          c[t] = 1
          s <<< @count(b["q"])
          if (a)
            printf("%d%d\n", @sum(s), c["x"])
        }
        """,
        ElaboratedPrinter.Print(new Elaborated(Script).Result, verbose: true));

    [Fact]
    public void EntrySideIsMarked() =>
        Assert.Contains("fake.syscall /* entry of fake.syscall.return */", ElaboratedPrinter.Print(new Elaborated("probe fake.syscall.return { println(@entry($a)) }").Result, false));

    [Fact]
    public void VerifierRefusesForeignLocals()
    {
        var one = new Elaborated("probe begin { x = pid(); println(x, x) }").Program;
        var broken = new LoweredProgram
        {
            Globals = [],
            Functions = [],
            Limits = one.Limits,
            Probes = [new Probe { Index = 0, Spec = one.Probes[0].Spec, PointText = "begin", Name = "begin", Locals = [], Body = one.Probes[0].Body }],
        };
        Assert.Contains("belongs to another body", Assert.Throws<InvalidOperationException>(() => LoweredVerifier.Verify(broken)).Message);
    }
}
