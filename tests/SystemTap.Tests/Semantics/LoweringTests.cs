using SystemTap.Semantics.Elaboration;
using SystemTap.Semantics.Lowered;
using Xunit;

namespace SystemTap.Tests.Semantics;

/// <summary>What scripts become: the shape of lowered bodies.</summary>
public class LoweringTests
{
    private static readonly ElaborationOptions s_unoptimized = new() { Unoptimized = true };
    private static readonly ElaborationOptions s_guru = new() { GuruMode = true };

    [Theory]
    [InlineData("probe begin { println(\"hello\") }", "printf(\"hello\\n\")")]
    [InlineData("probe begin { print(1, \"a\", 2) }", "printf(\"1a2\")")]
    [InlineData("probe begin { printd(\",\", pid(), \"x\", tid()) }", "printf(\"%d,x,%d\", _stap_pid(), _stap_tid())")]
    [InlineData("probe begin { printdln(\"|\", pid(), execname()) }", "printf(\"%d|%s\\n\", _stap_pid(), _stap_execname())")]
    [InlineData("probe begin { printf(\"%5d|%-*s|%%\\n\", pid(), 7, execname()) }", "printf(\"%5d|%-*s|%%\\n\", _stap_pid(), 7, _stap_execname())")]
    [InlineData("probe begin { print_char(pid()) }", "printf(\"%c\", _stap_pid())")]
    [InlineData("probe begin { println() }", "printf(\"\\n\")")]
    [InlineData("probe begin { println(sprint(pid(), execname()) . \"x\") }", "printf(\"%s\\n\", (sprintf(\"%d%s\", _stap_pid(), _stap_execname()) . \"x\"))")]
    [InlineData("probe begin { println(sprint(execname())) }", "printf(\"%s\\n\", _stap_execname())")]
    [InlineData("probe begin { printf(\"%s\\n\", \"a\" . \"b\") }", "printf(\"ab\\n\")")]
    public void Printing(string script, string body) => Assert.Equal(body, Elaborated.Bodies(script));

    [Theory]
    [InlineData("1 + 2 * 3", "7")]
    [InlineData("-7 / 2", "-3")]
    [InlineData("1 << 65", "2")]
    [InlineData("-1 >>> 63", "1")]
    [InlineData("-8 >> 1", "-4")]
    [InlineData("~0", "-1")]
    [InlineData("!5", "0")]
    [InlineData("9223372036854775807 + 1", "-9223372036854775808")]
    [InlineData("-9223372036854775807 - 1 / -1", "-9223372036854775806")]
    [InlineData("(3 < 4) . 1", null)]
    [InlineData("\"a\" < \"b\"", "1")]
    [InlineData("1 ? 2 : 3", "2")]
    [InlineData("0 || 3", "1")]
    [InlineData("1 && 0", "0")]
    public void ConstantsFold(string expression, string? value)
    {
        var script = $"probe begin {{ println({expression}) }}";
        if (value is null)
        {
            Assert.Contains("type-mismatch", Elaborated.Fails(script));
            return;
        }

        Assert.Equal($"printf(\"{value}\\n\")", Elaborated.Bodies(script));
    }

    [Fact]
    public void DivisionByConstantZeroStaysARunTimeError() =>
        Assert.Equal("printf(\"%d\\n\", (1 / 0))", Elaborated.Bodies("probe begin { println(1 / 0) }"));

    [Fact]
    public void UnoptimizedKeepsExpressions() =>
        Assert.Equal("printf(\"%d\\n\", (1 + 2))", Elaborated.Bodies("probe begin { println(1 + 2) }", s_unoptimized));

    [Theory]
    [InlineData("x++; y = x++ + ++x; println(y)", "++x\ny = (x++ + ++x)\nprintf(\"%d\\n\", y)")]
    [InlineData("x += 2; x <<= 1; x--; println(x)", "x += 2\nx <<= 1\n--x\nprintf(\"%d\\n\", x)")]
    [InlineData("s = \"a\"; s .= execname(); println(s)", "s = \"a\"\ns .= _stap_execname()\nprintf(\"%s\\n\", s)")]
    [InlineData("x = +pid(); println(x)", "x = _stap_pid()\nprintf(\"%d\\n\", x)")]
    [InlineData("x = y = pid(); println(x, y)", "x = y = _stap_pid()\nprintf(\"%d%d\\n\", x, y)")]
    public void Updates(string body, string lowered) => Assert.Equal(lowered, Elaborated.Bodies($"probe begin {{ {body} }}"));

    [Fact]
    public void ControlFlow() => Assert.Equal(
        """
        i = 0
        for (; (i < 3); ++i)
          if ((i == 1))
            continue
          printf("%d", i)
        for (; ; )
          if ((_stap_pid() > 1))
            break
        """,
        Elaborated.Bodies("probe begin { for (i = 0; i < 3; i++) { if (i == 1) continue; print(i) } while (1) { if (pid() > 1) break } }"));

    [Fact]
    public void DeadBranchesGo() => Assert.Equal("printf(\"b\")", Elaborated.Bodies("probe begin { if (0) print(\"a\") else print(\"b\"); if (1 > 2) print(\"c\"); while (0) print(1) }"));

    [Fact]
    public void EmptyThenTurnsTheCondition() => Assert.Equal("if (!_stap_pid())\n  printf(\"b\")", Elaborated.Bodies("probe begin { if (pid()) ; else print(\"b\") }"));

    [Fact]
    public void TryCatch() => Assert.Equal(
        "try\n  _stap_error(\"x\")\ncatch (m)\n  printf(\"%s\", m)", Elaborated.Bodies("probe begin { try { error(\"x\") } catch (m) { print(m) } }"));

    [Fact]
    public void TryWithUnreadMessageHasNone() =>
        Assert.Equal("try\n  _stap_error(\"x\")\ncatch\n  printf(\"y\")", Elaborated.Bodies("probe begin { try { error(\"x\") } catch (m) { print(\"y\") } }"));

    [Fact]
    public void Foreach() => Assert.Equal(
        """
        a["x", 1] = 3
        foreach (v = [k, n] in a- limit 5)
          printf("%s%d%d", k, n, v)
        foreach ([k, n-] in a["x", *])
          printf("%d", n)
        """,
        Elaborated.Bodies("global a probe begin { a[\"x\", 1] = 3; foreach (v = [k, n] in a- limit 5) print(k, n, v); foreach ([k, n-] in a[\"x\", *]) print(n) }"));

    [Fact]
    public void ForeachOverAggregatesReadsElementsThroughTheValueVariable() => Assert.Equal(
        """
        s[_stap_pid()] <<< 5
        foreach ([k] in s @sum-)
          printf("%d %d", k, @avg(s[k]))
        """,
        Elaborated.Bodies("global s probe begin { s[pid()] <<< 5; foreach (v = k in s @sum-) printf(\"%d %d\", k, @avg(v)) }"));

    [Fact]
    public void LoopVariablesReadAfterwardsKeepTheLoop() => Assert.Equal(
        "a[3] = 1\nforeach ([k+] in a)\n  ;\nprintf(\"%d\\n\", k)",
        Elaborated.Bodies("global a probe begin { a[3] = 1; foreach (k+ in a) n++; println(k) }"));

    [Fact]
    public void InlinedLibraryLinesStandAtTheScriptsCall()
    {
        var body = Assert.IsType<ExprStmt>(new Elaborated("probe begin {\n  error(\"x\") }").Program.Probes[0].Body);
        Assert.Equal("<input>:2:3", body.Expression.Span.ToString());
    }

    [Fact]
    public void ForeachIntoAGlobalCopies() => Assert.Equal(
        "a[1] = 2\nforeach ([__k] in a)\n  k = __k\n  printf(\"%d\", k)",
        Elaborated.Bodies("global a, k probe begin { a[1] = 2; foreach (k in a) print(k) }"));

    [Fact]
    public void ForeachOverBuckets() => Assert.Equal(
        "s <<< 5\nforeach ([b] in @hist(s))\n  printf(\"%d=%d\", b, @hist(s)[b])",
        Elaborated.Bodies("global s probe begin { s <<< 5; foreach (b in @hist_log(s)) printf(\"%d=%d\", b, @hist_log(s)[b]) }"));

    [Fact]
    public void Wildcards() => Assert.Equal(
        "a[1, \"x\"] = 1\nif (([*, \"x\"] in a))\n  printf(\"in\")\ndelete a[1, *]\ndelete a",
        Elaborated.Bodies("global a probe begin { a[1, \"x\"] = 1; if ([*, \"x\"] in a) print(\"in\"); delete a[1, *]; delete a }"));

    [Fact]
    public void DeletingALocalResetsIt() =>
        Assert.Equal("s = _stap_execname()\ns = \"\"\nprintf(\"%s\", s)", Elaborated.Bodies("probe begin { s = execname(); delete s; print(s) }"));

    [Fact]
    public void StatisticShapesHoldWhatIsExtracted()
    {
        var program = new Elaborated("global a, b, c, d probe begin { a <<< 1; b <<< 1; c <<< 1; d <<< 1; println(@count(a), @avg(b), @variance(b, 3)); print(@hist_linear(c, 0, 100, 10)) }").Program;
        var (a, b, c, d) = (program.Globals[0].Shape!, program.Globals[1].Shape!, program.Globals[2].Shape!, program.Globals[3].Shape!);
        Assert.True(a is { Count: true, Sum: false, Min: false, Max: false, Variance: false, Histogram: HistogramKind.None });
        Assert.True(b is { Count: true, Sum: true, Variance: true, VarianceShift: 3, Min: false });
        Assert.True(c is { Histogram: HistogramKind.Linear, BucketCount: 13, High: 100 });
        Assert.True(d is { Count: true, Sum: true, Min: true, Max: true } && program.Globals[3].ShowAtEnd);
    }

    [Fact]
    public void GlobalsKnowHowTheyAreUsed()
    {
        var program = new Elaborated("global n = 10, s = \"x\", a[5], w%[3], unused, t probe begin { a[s] = n; w[1, \"k\"]++; t = 1 }").Program;
        Assert.Equal(["n", "s", "a", "w", "t"], program.Globals.Select(g => g.Name));
        Assert.True(program.Globals[0] is { InitialLong: 10, IsReadOnly: true, ShowAtEnd: false });
        Assert.True(program.Globals[1] is { InitialString: "x", Type: ScriptType.String });
        Assert.True(program.Globals[2] is { MaxEntries: 5, Type: ScriptType.Long, KeyTypes: [ScriptType.String], ShowAtEnd: true });
        Assert.True(program.Globals[3] is { MaxEntries: 3, Wraps: true, KeyTypes: [ScriptType.Long, ScriptType.String] });
    }

    [Fact]
    public void GlobalOverrides()
    {
        var options = new ElaborationOptions { GlobalOverrides = new Dictionary<string, string> { ["n"] = "0x20", ["s"] = "abc" } };
        var program = new Elaborated("global n = 1, s probe begin { println(n); println(s . \"\") }", options).Program;
        Assert.Equal(32, program.Globals[0].InitialLong);
        Assert.Equal("abc", program.Globals[1].InitialString);
    }

    [Theory]
    [InlineData("println(get_us())", "printf(\"%d\\n\", (_stap_monotonic_ns() / 1000))")]
    [InlineData("println(strlen(execname()))", "printf(\"%d\\n\", _stap_strlen(_stap_execname()))")]
    [InlineData("println(strtol(execname(), 10))", "printf(\"%d\\n\", _stap_parse_long(_stap_execname(), 10))")]
    [InlineData("println(plus(pid(), 2))", "printf(\"%d\\n\", (_stap_pid() + 2))")]
    [InlineData("x = pid() * 2; println(twice(x), x)", "x = (_stap_pid() * 2)\nprintf(\"%d%d\\n\", (x + x), x)")]
    [InlineData("println(twice(get_ns()))", "printf(\"%d\\n\", twice(_stap_monotonic_ns()))")]
    [InlineData("println(choose(pid(), 3))", "printf(\"3\\n\")")]
    [InlineData("println(isfive(pid()))", "printf(\"%d\\n\", isfive(_stap_pid()))")]
    [InlineData("println(shown())", "printf(\"7\\n\")")]
    [InlineData("exit()", "_stap_exit()")]
    [InlineData("println(bump())", "printf(\"%d\\n\", bump())")]
    public void TapsetLinesTakeThePlaceOfCalls(string body, string lowered) => Assert.Equal(lowered, Elaborated.Bodies($"probe begin {{ {body} }}"));

    [Fact]
    public void UnoptimizedCallsAreCalls() => Assert.Equal("printf(\"%d\\n\", pid())", Elaborated.Bodies("probe begin { println(pid()) }", s_unoptimized));

    [Fact]
    public void FunctionsComeCalleesFirst()
    {
        var program = new Elaborated("function a(x) { return b(x) + 1 } function b(x) { return x % c() } function c() { return pid() } probe begin { println(a(1)) }").Program;
        Assert.Equal(["c", "b", "a"], program.Functions.Select(f => f.Name));
        Assert.True(program.Functions[0].IsPure);
        Assert.False(program.Functions[1].IsPure);
    }

    [Fact]
    public void RecursionIsFound()
    {
        var program = new Elaborated("function f(n) { return n < 2 ? 1 : n * f(n - 1) } function e(n) { if (n) return o(n - 1); return 1 } function o(n) { if (n) return e(n - 1); return 0 } function l() { return pid() } probe begin { println(f(5), e(4), l()) }").Program;
        Assert.Equal(["e", "f", "o"], program.Functions.Where(f => f.IsRecursive).Select(f => f.Name).Order());
    }

    [Fact]
    public void OverloadsChain()
    {
        var program = new Elaborated("function f(x) { if (!x) next; return 1 } function f(x) { return 2 } function f(x, y) { return x . y } function f(x):5 { return 9 } probe begin { println(f(pid()), f(\"a\", \"b\")) }").Program;
        var chain = program.Functions.Single(f => f.NextOverload is not null);
        Assert.Null(chain.NextOverload!.NextOverload);
        Assert.Equal(3, program.Functions.Count);
    }

    [Fact]
    public void UserFunctionsOverrideTheLibrary() =>
        Assert.Equal("printf(\"%d\\n\", pid())", Elaborated.Bodies("function pid() { return 5 } probe begin { println(pid()) }"));

    [Fact]
    public void NextReachesTheLibrary()
    {
        var program = new Elaborated("function pid() { if (tid()) next; return 5 } probe begin { println(pid()) }").Program;
        Assert.True(program.Functions.Single(f => f.NextOverload is not null).NextOverload!.IsTapset);
    }

    [Fact]
    public void AliasesJoinBlocksAndShareLocals()
    {
        const string Script = """
            probe inner = begin { a = pid(); unused = tid(); b = a + 1 }, { print("end inner") }
            probe outer = inner { c = b * 2 }
            probe outer { println(c) }
            """;
        Assert.Equal("a = _stap_pid()\nb = (a + 1)\nc = (b * 2)\nprintf(\"%d\\n\", c)\nprintf(\"end inner\")", Elaborated.Bodies(Script));
        Assert.Equal("", Elaborated.Warns(Script));
    }

    [Fact]
    public void UserGlobalsAndLocalsOfLibraryAliasesDoNotMeet()
    {
        const string Alias = "probe lib.x = begin { n = pid(); name = \"x\" . sprint(n) }";
        const string Script = "global n probe lib.x { n[name]++ }";
        Assert.Equal("n = _stap_pid()\nname = (\"x\" . sprintf(\"%d\", n))\n++n[name]", Elaborated.Bodies(Script, null, Alias));
        Assert.Equal("", Elaborated.Warns(Script, null, Alias));
    }

    [Fact]
    public void GlobalsThatOnlyTheAliasWritesAreItsVariables()
    {
        const string Alias = "probe lib.x = begin { name = execname() }";
        const string Script = "global name probe lib.x { f() } function f() { println(name) }";
        Assert.StartsWith("name = _stap_execname()\nf()", Elaborated.Bodies(Script, null, Alias));
        Assert.Contains("semantic.cross-file-global", Elaborated.Warns(Script, null, Alias));
    }

    [Fact]
    public void ProbeWriteSeesTheUsersBlock() => Assert.Equal(
        "printf(\"wrote\")",
        Elaborated.Bodies("probe a = begin { x = 1 }, { if (@probewrite(x)) print(\"wrote\") } probe a { x = 2 } probe a { print(\"\") }"));

    [Fact]
    public void ConditionsAreTheOutermostIf()
    {
        var program = new Elaborated("global on probe fake.syscall if (on > 2) { println($a) } probe begin { on = 3 }").Program;
        Assert.Equal("if ((on > 2))\n  printf(\"%d\\n\", @context(syscall argument, 0))", LoweredPrinter.Print(program.Probes[0].Body));
        Assert.NotNull(program.Probes[0].Condition);
    }

    [Fact]
    public void LibraryGlobalsBringTheirFilesProbes()
    {
        var e = new Elaborated("probe begin { println(argc) }");
        Assert.Equal(2, e.Program.Probes.Count);
        Assert.Equal("argc = _stap_argument_count()", LoweredPrinter.Print(e.Program.Probes[1].Body));
        Assert.Equal(["/tapset/argv.stp"], e.Result.TapsetFiles.Select(f => f.Source.Path));
    }

    [Fact]
    public void PathsAndPretty() => Assert.Equal(
        "printf(\"%d\\n\", @kderef(8, @kderef(8, @context(syscall argument, 0))))\nprintf(\"%s\\n\", sprintf(\"%x\", @context(syscall argument, 1)))\nprintf(\"a=0x1\\n\")",
        Elaborated.Bodies("probe fake.syscall { println($a->f->n); println($b$); println($$vars) }"));

    [Fact]
    public void AutocastFollowsLocalsAndFunctions() => Assert.Equal(
        "t = @context(syscall argument, 0)\nu = same(t)\nprintf(\"%d%d%d\\n\", @kderef(8, t), @kderef(8, u), @kderef(8, (t + 2)))",
        Elaborated.Bodies("function same(x) { y = @cast(x, \"s\"); return @cast(y, \"s\")->f } probe fake.syscall { t = $a; u = same(t); println(t->n, u->n, t[2]) }").Replace("@kderef(8, y)", ""));

    [Fact]
    public void DefinedDecidesBranches() => Assert.Equal(
        "printf(\"%d%d\\n\", @context(syscall argument, 0), 3)".Replace(", 3)", ")").Replace("%d%d", "%d3"),
        Elaborated.Bodies("probe fake.syscall { if (@defined($nope)) println(nosuch($nope)) else println(@defined($a) ? $a : $nope, @defined($nope->x) ? $nope->x : 3) }"));

    [Fact]
    public void EntryOfASystemCallNeedsOneArray() => Assert.Equal(
        """
        __entry0 = __entry_0[_stap_tid()]
        if ((!__entry0 && !([_stap_tid()] in __entry_0)))
          next
        delete __entry_0[_stap_tid()]
        printf("%d %d %d\n", @context(syscall return, 0), __entry0, __entry0)
        __entry_0[_stap_tid()] = @context(syscall argument, 0)
        """,
        OrderedBodies("probe fake.syscall.return { printf(\"%d %d %d\\n\", $return, @entry($a), @entry($a)) }"));

    [Fact]
    public void EntryOfAFunctionCountsOnlyLevelsInside() => Assert.Equal(
        """
        __thread1 = _stap_tid()
        __level2 = __entry_depth_0[__thread1]
        __entry0 = __entry_0[__thread1, __level2]
        if ((!__entry0 && !([__thread1, __level2] in __entry_0)))
          next
        delete __entry_0[__thread1, __level2]
        if (__level2)
          if ((__level2 > 1))
            __entry_depth_0[__thread1] = (__level2 - 1)
          else
            delete __entry_depth_0[__thread1]
        printf("%d\n", (_stap_monotonic_ns() - __entry0))
        __thread0 = _stap_tid()
        __level1 = 0
        if (([__thread0, 0] in __entry_0))
          __level1 = (__entry_depth_0[__thread0] + 1)
        __entry_0[__thread0, __level1] = _stap_monotonic_ns()
        if (__level1)
          __entry_depth_0[__thread0] = __level1
        """,
        OrderedBodies("probe fake.call.return { println(get_ns() - @entry(get_ns())) }"));

    private static string OrderedBodies(string script)
    {
        var e = new Elaborated(script);
        Assert.True(e.Result.Program is not null, e.Messages());
        return string.Join("\n", e.Result.Origins.OrderBy(o => o.IsSynthetic).Select(o => LoweredPrinter.Print(o.Probe.Body)));
    }

    [Fact]
    public void ProcfsValue()
    {
        var read = new Elaborated("probe fake.read { $value = execname() }").Program.Probes[0];
        Assert.Equal("$value = _stap_execname()", LoweredPrinter.Print(read.Body));
        Assert.Equal("$value", ((ProcfsSpec)read.Spec).Value!.Name);
        Assert.Equal("printf(\"%s\", @context(procfs value, 0))", Elaborated.Bodies("probe fake.write { print($value) }"));
    }

    [Fact]
    public void ContextSensitiveFunctionsAreCopiedForEachProbe()
    {
        var program = new Elaborated("function show() { println($a) } probe fake.syscall { show() } probe fake.call { show() }").Program;
        Assert.Equal(2, program.Functions.Count(f => f.Name == "show"));
    }

    [Fact]
    public void GuruWrites() => Assert.Equal("{ _stap_printk(5, \"stored\"); 5 }", Elaborated.Bodies("probe fake.syscall { $a->n = 5 }", s_guru));

    [Fact]
    public void RegexesAreSharedByText()
    {
        var program = new Elaborated("probe begin { if (execname() =~ \"a.c\") println(matched(0)); if (execname() !~ \"a.c\") println(1) }").Program;
        Assert.Single(program.Regexes);
        Assert.True(program.Regexes[0].NeedsGroups);
    }

    [Fact]
    public void EmbeddedCForTheKernelRuntime()
    {
        var options = new ElaborationOptions { GuruMode = true, Runtime = "kernel" };
        var program = new Elaborated("%{ #include <x.h> %} function f:long(a:long) %{ STAP_RETURN(STAP_ARG_a); %} probe begin { println(f(1), %{ 5 %}) }", options).Program;
        Assert.Contains("STAP_RETURN", program.Functions[0].EmbeddedCode);
        Assert.Single(program.EmbeddedC);
    }
}
