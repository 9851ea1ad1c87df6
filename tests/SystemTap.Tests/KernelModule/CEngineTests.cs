using SystemTap.Tests.Corpus;
using SystemTap.Tests.Differential;
using Xunit;

namespace SystemTap.Tests.KernelModule;

/// <summary>One harness with the compiled core for all tests of a class.</summary>
public sealed class HarnessFixture : IDisposable
{
    private int _number;

    internal CHarness Harness { get; } = new();

    /// <summary>Translates a script, compiles and runs it.</summary>
    internal async Task<StapResult> Run(string script, params string[] options)
    {
        var translated = CHarness.Translate(["--runtime=kernel", .. options, "-e", script]);
        Assert.NotNull(translated);
        var program = Harness.Build("one" + Interlocked.Increment(ref _number), [translated.Value.C]);
        return await StapProcess.RunProgramAsync([program, "0", .. options], null, 30, null, null);
    }

    public void Dispose() => Harness.Dispose();
}

/// <summary>What only the C engine has: embedded C; and its agreement with the host evaluator on random programs.</summary>
public sealed class CEngineTests(HarnessFixture fixture) : IClassFixture<HarnessFixture>
{
    private const string Embedded =
        """
        %{
        static int twice(int x) { return 2 * x; }
        %}
        global g, words
        function f:long(x:long, t:string) %{ /* pragma:read:g */ /* pragma:write:g */
          if (STAP_ARG_x == 3) STAP_RETURN(twice(21));
          STAP_GLOBAL_SET_g(STAP_GLOBAL_GET_g() + 5);
          STAP_RETVALUE = STAP_ARG_x + strlen(STAP_ARG_t);
        %}
        function name:string(n:long) %{
          if (STAP_ARG_n < 0) STAP_ERROR("bad %d", (int)STAP_ARG_n);
          if (STAP_ARG_n > 100) { STAP_RETURN("big"); }
          snprintf(STAP_RETVALUE, MAXSTRINGLEN, "<%lld>", (long long)STAP_ARG_n);
        %}
        function say(m:string) %{ if (!STAP_ARG_m[0]) return; STAP_PRINTF("say %s\n", STAP_ARG_m); %}
        function word:string(k:string) %{ /* pragma:read:words */ /* pragma:write:words */
          STAP_GLOBAL_SET_words(STAP_ARG_k, "set");
          STAP_RETURN(STAP_GLOBAL_GET_words("there"));
        %}
        function pick:long(x:long) %{ if (STAP_ARG_x > 9) STAP_NEXT; STAP_RETVALUE = 1; %}
        function pick:long(x:long) { return 2 }

        """;

    [Fact]
    public async Task Embedded_c_has_its_documented_names()
    {
        var got = await fixture.Run(Embedded +
            """
            probe begin {
              g = 1  words["there"] = "was"
              println(f(3, "x"), " ", f(1, "abcd"), " ", g)
              println(name(7), name(8), name(101))
              try { println(name(-1)) } catch (e) { println("caught ", e) }
              say("hi") say("")
              println(word("new"), " ", words["new"], " ", pick(5), pick(50))
              println(%{ 40 + 2 %}, %{ /* string */ "str" %})
              %{ STAP_PRINTF("a statement\n"); %}
              exit()
            }
            """, "-g");
        Assert.Equal("42 5 6\n<7><8>big\ncaught bad -1\nsay hi\nwas set 12\n42str\na statement\n", got.Out);
        Assert.Equal(0, got.Status);
    }

    [Fact]
    public async Task Unmangled_embedded_c_has_the_oldest_names()
    {
        var got = await fixture.Run(
            """
            function add:long(x:long, y:long) %{ /* unmangled */ THIS->__retvalue = THIS->x + STAP_ARG_y; %}
            function greet:string(who:string) %{ /* unmangled */ snprintf(THIS->__retvalue, MAXSTRINGLEN, "hello %s", THIS->who); %}
            function half:long(x:long) %{ /* unmangled */ if (THIS->x & 1) STAP_ERROR("odd"); STAP_RETURN(THIS->x / 2); %}
            function nothing() %{ /* unmangled */ STAP_PRINTF("nothing\n"); %}
            probe begin {
              println(add(40, 2), greet("you"), half(8))
              nothing()
              try { half(7) } catch (e) { println("caught ", e) }
              exit()
            }
            """, "-g");
        Assert.Equal("42hello you4\nnothing\ncaught odd\n", got.Out);
        var old = await fixture.Run("function add:long(x:long, y:long) %{ THIS->__retvalue = THIS->x + THIS->y; %} probe begin { println(add(1, 2)) exit() }", "-g", "--compatible=1.7");
        Assert.Equal("3\n", old.Out);
    }

    [Fact]
    public async Task An_error_of_embedded_c_names_the_call()
    {
        var got = await fixture.Run(Embedded + "probe begin { println(name(-5)) exit() }", "-g");
        Assert.Contains("ERROR: bad -5 near identifier 'name' at <input>:", got.Err);
        Assert.Equal(1, got.Status);
    }

    [Fact]
    public async Task Deep_recursion_ends_with_an_error_not_with_the_stack()
    {
        var got = await fixture.Run("function f(n) { if (n == 0) return 0  return 1 + f(n - 1) }  probe begin { println(f(40)) println(f(100000)) }", "-DMAXNESTING=500", "-DMAXACTION=1000000");
        Assert.Equal("40\n", got.Out);
        Assert.Contains("ERROR: MAXNESTING exceeded near identifier 'f'", got.Err);
    }

    [Fact]
    public void Generated_code_compiles_without_warnings()
    {
        var translated = CHarness.Translate(["--runtime=kernel", "-e", InBegin(3) + "global nn  probe timer.s(1) { nn[1, \"a\"]++ println(pp(), execname() =~ \"a(b|c)*\", errno_str(ga)) foreach ([k, l] in nn) println(matched(0), l) }"]);
        Assert.NotNull(translated);
        Assert.Equal("", fixture.Harness.Warnings(translated.Value.C));
    }

    /// <summary>Random programs: the host evaluator and the compiled C must print the same.</summary>
    [Theory]
    [InlineData(1000)]
    [InlineData(2000)]
    [InlineData(3000)]
    [InlineData(4000)]
    public async Task Random_programs_agree_with_the_host_evaluator(int first)
    {
        string[] options = ["-w", "-DMAXERRORS=1000"];
        for (var seed = first; seed < first + 5; seed++)
        {
            var file = Path.Combine(Path.GetTempPath(), $"stap-random-{Environment.ProcessId}-{seed}.stp");
            await File.WriteAllTextAsync(file, InBegin(seed), System.Text.Encoding.Latin1);
            var expected = await StapProcess.RunAsync([.. options, "--runtime=bpf", file]);
            var translated = CHarness.Translate([.. options, "--runtime=kernel", file]);
            Assert.NotNull(translated);
            var got = await StapProcess.RunProgramAsync([fixture.Harness.Build($"random{seed}", [translated.Value.C]), "0"], null, 30, null, null);
            Assert.Equal(expected.Out, got.Out);
            Assert.Equal(Errors(expected.Err), Errors(got.Err));

            // After a failure it stays, for whoever looks for the cause.
            File.Delete(file);
        }
    }

    // The generator's program with its two handlers run one after the other when the session begins.
    private static string InBegin(int seed) =>
        ScriptGenerator.Write(seed).Replace("probe BODY {", "probe begin {", StringComparison.Ordinal).Replace("probe DUMP {", "probe begin(1) {", StringComparison.Ordinal) + "probe begin(100) { exit() }\n";

    private static IEnumerable<string> Errors(string text) => text.Split('\n').Where(l => l.StartsWith("ERROR", StringComparison.Ordinal));
}
