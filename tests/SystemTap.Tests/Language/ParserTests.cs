using SystemTap.Language.Diagnostics;
using SystemTap.Language.Formatting;
using SystemTap.Language.Parsing;
using SystemTap.Language.Preprocessing;
using SystemTap.Language.Syntax;
using Xunit;
using static SystemTap.Tests.Language.ParseHelper;

namespace SystemTap.Tests.Language;

public class ParserTests
{
    // §5.1: what binds how.
    [Theory]
    [InlineData("a = b = c", "(a = (b = c))")]
    [InlineData("a += b .= c", "(a += (b .= c))")]
    [InlineData("c ? a = 1 : b", "(c ? (a = 1) : b)")]
    [InlineData("a ? b : c ? d : e", "(a ? b : (c ? d : e))")]
    [InlineData("a || b && c || d", "((a || (b && c)) || d)")]
    [InlineData("a | b ^ c & d", "(a | (b ^ (c & d)))")]
    [InlineData("a & b in c", "(a & ([b] in c))")]
    [InlineData("a == b in c && d", "(([a == b] in c) && d)")]
    [InlineData("[a, b] in c || d", "(([a, b] in c) || d)")]
    [InlineData("[*, 2] in t", "([*, 2] in t)")]
    [InlineData("a < b == c", "((a < b) == c)")]
    [InlineData("s =~ \"x\" && t !~ \"y\" \"z\"", "((s =~ \"x\") && (t !~ \"yz\"))")]
    [InlineData("a << b . c + d * e", "(a << (b . (c + (d * e))))")]
    [InlineData("a - b - c", "((a - b) - c)")]
    [InlineData("a >>> b >> c << d", "(((a >>> b) >> c) << d)")]
    [InlineData("a % b / c", "((a % b) / c)")]
    [InlineData("-! ~+a", "(-(!(~(+a))))")]
    [InlineData("-x++", "(-(x++))")]
    [InlineData("++x + y--", "((++x) + (y--))")]
    [InlineData("a[1,x]++", "(a[1, x]++)")]
    [InlineData("&$x->f", "(&$x->f)")]
    [InlineData("a & &$x", "(a & (&$x))")]
    [InlineData("$x->next->function[2][i]", "($x->next->function[2][i])")]
    [InlineData("$x$ . $y$$ . $z $", "((($x$) . ($y$$)) . ($z$))")]
    [InlineData("$x->f$$", "($x->f$$)")]
    [InlineData("$a[1]$", "($a[1]$)")]
    [InlineData("$$parms . $$vars$", "($$parms . ($$vars$))")]
    [InlineData("t->parent->pid", "(t->parent->pid)")]
    [InlineData("t[1]->x", "(t[1]->x)")]
    [InlineData("f(x)[3]", "(f(x)[3])")]
    [InlineData("(t)[3]", "((t)[3])")]
    [InlineData("@cast(p, \"task_struct\", \"kernel\")->tgid", "(@cast(p, \"task_struct\", \"kernel\")->tgid)")]
    [InlineData("@var(\"a@b.c\", \"kernel\")[1]$", "(@var(\"a@b.c\", \"kernel\")[1]$)")]
    [InlineData("@defined($x) ? $x : @entry($y)", "(@defined($x) ? $x : @entry($y))")]
    [InlineData("@perf(\"c\")", "@perf(\"c\")")]
    [InlineData("@probewrite(v)", "@probewrite(v)")]
    [InlineData("@enum(\"E\") + @enumname(x, \"enum t\", \"kernel\")", "(@enum(\"E\") + @enumname(x, \"enum t\", \"kernel\"))")]
    [InlineData("@uderef(4, p) + @uregister(-1)", "(@uderef(4, p) + @uregister(-1))")]
    [InlineData("@count(x) + @sum(x[1]) + @min((x)) + @max(x) + @avg(x)", "((((@count(x) + @sum(x[1])) + @min(x)) + @max(x)) + @avg(x))")]
    [InlineData("@variance(x) + @variance(x, 62)", "(@variance(x) + @variance(x, 62))")]
    [InlineData("@hist_linear(x, -10, 10, 5)[0] + @hist_log(x)[3]", "(@hist_linear(x, -10, 10, 5)[0] + @hist_log(x)[3])")]
    [InlineData("f() + g(1, \"x\")", "(f() + g(1, \"x\"))")]
    [InlineData("sprint(@hist_log(x))", "sprint(@hist_log(x))")]
    public void Precedence(string text, string printed)
    {
        var actual = Expr(text);
        Assert.Equal(printed, actual == printed ? actual : "(" + actual + ")");
    }

    [Theory]
    [InlineData("a in b in c", "parse.expected-statement")]
    [InlineData("a in b == c", "parse.expected-statement")]
    [InlineData("s =~ \"x\" =~ \"y\"", "parse.expected-statement")]
    [InlineData("s =~ t", "parse.expected-string")]
    [InlineData("++x++", "parse.expected-expression")]
    [InlineData("x++ ++", "parse.expected-expression")]
    [InlineData("1 = 2", "parse.not-assignable")]
    [InlineData("f()++", "parse.expected-expression")]
    [InlineData("++f()", "parse.not-assignable")]
    [InlineData("@hist_log(x)[1] = 2", "parse.not-assignable")]
    [InlineData("a[*]", "parse.wildcard-place")]
    [InlineData("a[]", "parse.expected-expression")]
    [InlineData("1 + [a] in b", "parse.expected-expression")]
    [InlineData("a ? b", "parse.expected-token")]
    [InlineData("(a", "parse.expected-token")]
    [InlineData("f(a b)", "parse.expected-token")]
    [InlineData("$x$->y", "parse.pretty-not-last")]
    [InlineData("&$x$", "parse.pretty-address")]
    [InlineData("$", "parse.target-name")]
    [InlineData("$x->", "parse.expected-identifier")]
    [InlineData("@nope(x)", "parse.unknown-operator")]
    [InlineData("@const(\"X\")", "parse.operator-needs-guru")]
    [InlineData("@kderef(8, x)", "parse.operator-needs-guru")]
    [InlineData("@uderef(3, x)", "parse.deref-size")]
    [InlineData("@cast(x)", "parse.expected-token")]
    [InlineData("@cast(x, t)", "parse.expected-string")]
    [InlineData("@var(x)", "parse.expected-string")]
    [InlineData("@perf(x)", "parse.expected-string")]
    [InlineData("@probewrite(1)", "parse.expected-identifier")]
    [InlineData("@count(1)", "parse.statistic-operand")]
    [InlineData("@variance(x, 63)", "parse.variance-shift")]
    [InlineData("@variance(x, y)", "parse.expected-number")]
    [InlineData("@count(x, 3)", "parse.expected-token")]
    [InlineData("@hist_log(x)", "parse.histogram-place")]
    [InlineData("@hist_log(x) + print(@hist_log(y))", "parse.histogram-place")]
    [InlineData("@hist_linear(x, 1, 10)", "parse.expected-token")]
    [InlineData("@hist_linear(x, 0, 10, 0)[0]", "parse.histogram-step")]
    [InlineData("@hist_linear(x, 10, 0, 1)[0]", "parse.histogram-range")]
    [InlineData("@hist_linear(x, 0, 1000, 1)[0]", "parse.histogram-buckets")]
    [InlineData("@hist_linear(x, a, 10, 1)[0]", "parse.expected-number")]
    [InlineData("%{ 1 %}", "parse.embedded-needs-guru")]
    [InlineData("099", "lex.invalid-number")]
    [InlineData("99999999999999999999", "lex.number-range")]
    [InlineData("\"abc", "lex.unterminated-string")]
    public void BadExpressions(string text, string code) => Bad("probe begin { zz = " + text + " }", code);

    [Theory]
    [InlineData("f(); ; { }", "f(); ; { }")]
    [InlineData("if (a) b = 1; else c = 2", "if (a) b = 1; else c = 2;")]
    [InlineData("if (a) { } else if (b) { } else { }", "if (a) { } else if (b) { } else { }")]
    [InlineData("if (a) if (b) x(); else y()", "if (a) if (b) x(); else y();")]
    [InlineData("while (a) { break continue }", "while (a) { break; continue; }")]
    [InlineData("for (;;) break", "for (; ; ) break;")]
    [InlineData("for (i=0;i<3;i++) print(i)", "for (i = 0; i < 3; i++) print(i);")]
    [InlineData("next", "next;")]
    [InlineData("return", "return;")]
    [InlineData("if (x) return else return 1 + 2", "if (x) return; else return 1 + 2;")]
    [InlineData("delete x delete a[1] delete a[*, \"x\"]", "delete x; delete a[1]; delete a[*, \"x\"];")]
    [InlineData("try { f() } catch { }", "try { f(); } catch { }")]
    [InlineData("try { f() } catch (e) { g() }", "try { f(); } catch (e) { g(); }")]
    [InlineData("x <<< 5 s[1,2] <<< y . z", "x <<< 5; s[1, 2] <<< (y . z);")]
    [InlineData("print(\"x\")exit()", "print(\"x\"); exit();")]
    [InlineData("foreach (k in a) f()", "foreach ([k] in a) f();")]
    [InlineData("foreach ([k1, k2+] in a) f()", "foreach ([k1, k2+] in a) f();")]
    [InlineData("foreach (k- in a) f()", "foreach ([k-] in a) f();")]
    [InlineData("foreach (v = k in a+) f()", "foreach (v = [k] in a+) f();")]
    [InlineData("foreach (v- = [k] in a) f()", "foreach (v = [k] in a-) f();")]
    [InlineData("foreach (v-= [k] in a) f()", "foreach (v = [k] in a-) f();")]
    [InlineData("foreach (v = k+ in a) f()", "foreach (v = [k+] in a) f();")]
    [InlineData("foreach (k in st @sum- limit 2 + 3) f()", "foreach ([k] in st @sum- limit 2 + 3) f();")]
    [InlineData("foreach ([a,b,c] in v[*,2,*] @variance+) f()", "foreach ([a, b, c] in v[*, 2, *] @variance+) f();")]
    [InlineData("foreach (b in @hist_log(x)) f()", "foreach ([b] in @hist_log(x)) f();")]
    [InlineData("foreach (n = [p,name] in hits- limit 10) printf(\"%s %d\\n\", name, n)", "foreach (n = [p, name] in hits- limit 10) printf(\"%s %d\\n\", name, n);")]
    public void Statements(string text, string printed) => Assert.Equal(printed, Body(text));

    [Theory]
    [InlineData("if a) f()", "parse.expected-token")]
    [InlineData("while () f()", "parse.expected-expression")]
    [InlineData("for (a; b) f()", "parse.expected-token")]
    [InlineData("else f()", "parse.expected-statement")]
    [InlineData("break", "parse.break-outside-loop")]
    [InlineData("continue", "parse.continue-outside-loop")]
    [InlineData("delete 5", "parse.delete-operand")]
    [InlineData("delete @hist_log(x)[1]", "parse.delete-operand")]
    [InlineData("try f() catch { }", "parse.expected-token")]
    [InlineData("try { }", "parse.expected-token")]
    [InlineData("try { } catch (5) { }", "parse.expected-identifier")]
    [InlineData("5 <<< x", "parse.not-assignable")]
    [InlineData("foreach (k+ in a-) f()", "parse.foreach-two-sorts")]
    [InlineData("foreach ([a+, b-] in c) f()", "parse.foreach-two-sorts")]
    [InlineData("foreach (5 in a) f()", "parse.expected-identifier")]
    [InlineData("foreach (k of a) f()", "parse.expected-token")]
    [InlineData("foreach (k in 5) f()", "parse.expected-identifier")]
    [InlineData("foreach ([a,b] in c[1]) f()", "parse.foreach-slice")]
    [InlineData("foreach (a in c @foo-) f()", "parse.foreach-extractor")]
    [InlineData("foreach (a in c @sum) f()", "parse.expected-token")]
    [InlineData("foreach (a in @hist_log(x)[1]) f()", "parse.foreach-slice")]
    [InlineData("f(", "parse.expected-expression")]
    [InlineData("{ f()", "parse.expected-statement")]
    public void BadStatements(string text, string code) => Bad("function f() { " + text + " }", code);

    [Fact]
    public void ReturnOutsideFunction() => Assert.Equal((1, 15), Bad("probe begin { return 1 }", "parse.return-outside-function").Span!.Value.Position);

    // §3, §4, §8
    [Theory]
    [InlineData("global n = 10, s = \"x\", a, b[100], c%[50], d%", "global n = 10\nglobal s = \"x\"\nglobal a\nglobal b[100]\nglobal c%[50]\nglobal d%\n")]
    [InlineData("global x = -1; private y private global z", "global x = -1\nprivate global y\nprivate global z\n")]
    [InlineData("global c[50]%", "global c%[50]\n")]
    [InlineData("function add:long(a, b:string) { return a+b }", "function add:long (a, b:string) {\n  return a + b;\n}\n")]
    [InlineData("private function f() : 3 { }", "private function f () : 3 {\n}\n")]
    public void TopLevel(string text, string printed) => Assert.Equal(printed, ScriptPrinter.Print(Good(text)));

    [Theory]
    [InlineData("", "parse.empty")]
    [InlineData("# nothing\n", "parse.empty")]
    [InlineData("x = 1", "parse.expected-definition")]
    [InlineData("global 5", "parse.expected-identifier")]
    [InlineData("global $x", "parse.global-name")]
    [InlineData("global x[0]", "parse.array-size")]
    [InlineData("global x[-1]", "parse.array-size")]
    [InlineData("global x[2147483648]", "parse.array-size")]
    [InlineData("global x[2] = 3", "parse.array-initializer")]
    [InlineData("global x% = 3", "parse.array-initializer")]
    [InlineData("global x%=3", "parse.array-initializer")]
    [InlineData("global x = y", "parse.expected-literal")]
    [InlineData("global x global x", "parse.duplicate-global")]
    [InlineData("global x private x", "parse.private-and-global")]
    [InlineData("function 5() { }", "parse.expected-identifier")]
    [InlineData("function f { }", "parse.expected-token")]
    [InlineData("function f:stats() { }", "parse.expected-type")]
    [InlineData("function f(a, a) { }", "parse.duplicate-parameter")]
    [InlineData("function f() : 0 { }", "parse.function-priority")]
    [InlineData("function f(a,) { }", "parse.expected-identifier")]
    [InlineData("function f() x", "parse.expected-token")]
    [InlineData("%{ int x; %}", "parse.embedded-needs-guru")]
    [InlineData("function f() %{ %}", "parse.embedded-needs-guru")]
    [InlineData("probe begin { f()", "parse.expected-statement")]
    public void BadTopLevel(string text, string code) => Bad(text, code);

    [Fact]
    public void EmbeddedCode()
    {
        var file = Guru("%{ int x; %} function f:long(a) %{ STAP_RETURN(1); %} probe begin { x = %{ 5 %} + @const(\"C\") + @kderef(8, @kregister(3)) }");
        Assert.Equal(" int x; ", ((EmbeddedCDefinition)file.Items[0]).Code);
        Assert.Equal(" STAP_RETURN(1); ", ((FunctionDefinition)file.Items[1]).EmbeddedCode);
    }

    // §12
    [Theory]
    [InlineData("probe begin { }", "begin")]
    [InlineData("probe timer.s(1), begin { }", "timer.s(1), begin")]
    [InlineData("probe kernel.function(\"vfs_read\").return.maxactive(20) { }", "kernel.function(\"vfs_read\").return.maxactive(20)")]
    [InlineData("probe begin(-5) { }", "begin(-5)")]
    [InlineData("probe syscall.*.return, sys*64_x.**, *2 { }", "syscall.*.return, sys*64_x.**, *2")]
    [InlineData("probe syscall.{read,write} { }", "syscall.read, syscall.write")]
    [InlineData("probe {kernel,module(\"nfs\")}.function(\"nfs*\")! { }", "kernel.function(\"nfs*\") !, module(\"nfs\").function(\"nfs*\") !")]
    [InlineData("probe process.{function(\"a\"),function(\"b\").{call,return}} { }", "process.function(\"a\"), process.function(\"b\").call, process.function(\"b\").return")]
    [InlineData("probe {a,b}.{c,d} { }", "a.c, a.d, b.c, b.d")]
    [InlineData("probe a ?, b !, c if (x > 1) { }", "a ?, b !, c if (x > 1)")]
    [InlineData("probe a? if (x) { }", "a ? if (x)")]
    [InlineData("probe x.next.in.limit { }", "x.next.in.limit")]
    [InlineData("probe timer.s($1), process(@1 \"x\").begin { }", "timer.s(5), process(\"5x\").begin")]
    [InlineData("probe timer.$2(1) { }", "timer.ms(1)")]
    [InlineData("probe process(%( 1 == 1 %? 123 %: 4 %)).begin { }", "process(123).begin")]
    public void ProbePoints(string text, string printed)
    {
        var file = Good(text, new ParseOptions { Arguments = ["5", "ms"] });
        Assert.Equal("probe " + printed + " {\n}\n", ScriptPrinter.Print(file));
    }

    [Theory]
    [InlineData("probe A = b, c { x = 1 }", "probe A = b, c {\n  x = 1;\n}\n")]
    [InlineData("probe A += b { }", "probe A += b {\n}\n")]
    [InlineData("probe A = b { }, { }", "probe A = b {\n}, {\n}\n")]
    [InlineData("probe A.x = B(\"q\") = c { }", "probe A.x = B(\"q\") = c {\n}\n")]
    public void Aliases(string text, string printed) => Assert.Equal(printed, ScriptPrinter.Print(Good(text)));

    [Theory]
    [InlineData("probe { }", "parse.expected-component")]
    [InlineData("probe a. { }", "parse.expected-component")]
    [InlineData("probe a", "parse.expected-probe-body")]
    [InlineData("probe a, { }", "parse.expected-component")]
    [InlineData("probe a(b) { }", "parse.expected-literal")]
    [InlineData("probe a(1 { }", "parse.expected-token")]
    [InlineData("probe a if x { }", "parse.expected-token")]
    [InlineData("probe x.{a?,b} { }", "parse.mark-in-braces")]
    [InlineData("probe x.{a,b { }", "parse.expected-token")]
    [InlineData("probe a? = b { }", "parse.alias-name")]
    [InlineData("probe a, c = b { }", "parse.alias-name")]
    [InlineData("probe a += b { }, { }", "parse.alias-epilogue")]
    [InlineData("probe a += b = c { }", "parse.alias-mixed")]
    [InlineData("probe sys * { }", "parse.expected-probe-body")]
    [InlineData("probe {a,b}.{a,b}.{a,b}.{a,b}.{a,b}.{a,b}.{a,b}.{a,b}.{a,b}.{a,b}.{a,b}.{a,b}.{a,b}.{a,b} { }", "parse.too-many-points")]
    public void BadProbes(string text, string code) => Bad(text, code);

    // §10
    [Theory]
    [InlineData("print(1, \"a\")")]
    [InlineData("println()")]
    [InlineData("printd(\",\", 1, 2)")]
    [InlineData("sprintdln(\",\", 1, 2)")]
    [InlineData("print_char(10)")]
    [InlineData("printf(\"a%%b\\n\")")]
    [InlineData("sprintf(\"%-5d %#x %05u %+i % d %o %X %p %c %#c %s %.3s %b %4b %m %.8m %M %.*M %*d %-*.*s %ld %8.3ld\", 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, \"11\", \"12\", 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, \"24\", 25, 26)")]
    public void Printing(string text) => Assert.Equal(text, Expr(text));

    [Theory]
    [InlineData("print()", "parse.print-arguments")]
    [InlineData("printd(\",\", 1)", "parse.print-arguments")]
    [InlineData("printd(x, 1, 2)", "parse.expected-string")]
    [InlineData("print_char(1, 2)", "parse.print-arguments")]
    [InlineData("printf(x)", "parse.expected-string")]
    [InlineData("printf(\"%d\")", "parse.format-arguments")]
    [InlineData("printf(\"%*d\", 1)", "parse.format-arguments")]
    [InlineData("printf(\"x\", 1)", "parse.format-arguments")]
    [InlineData("printf(\"%\")", "parse.format")]
    [InlineData("printf(\"%0-5d\", 1)", "parse.format")]
    [InlineData("printf(\"%+-d\", 1)", "parse.format")]
    [InlineData("printf(\"%lld\", 1)", "parse.format")]
    [InlineData("printf(\"%f\", 1)", "parse.format")]
    [InlineData("printf(\"%3b\", 1)", "parse.format")]
    [InlineData("printf(\"%99999999999d\", 1)", "parse.format")]
    [InlineData("printf(\"%d\", @hist_log(x))", "parse.histogram-place")]
    [InlineData("print(@hist_log(x), 1)", "parse.histogram-place")]
    [InlineData("print(1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31,32,33)", "parse.print-arguments")]
    [InlineData("print(1", "parse.expected-token")]
    [InlineData("print(,1)", "parse.expected-expression")]
    public void BadPrinting(string text, string code) => Bad("probe begin { " + text + " }", code);

    [Fact]
    public void FormatsAreSplit()
    {
        var segments = FormatParser.Parse("a%%b %-5.2lx%*.*s%.d!", out var problem);
        Assert.Null(problem);
        Assert.Equal(
            [
                new FormatSegment(FormatConversion.Literal, "a%b "),
                new FormatSegment(FormatConversion.HexLower, "") { Flag = FormatFlag.Left, WidthKind = FormatSize.Fixed, Width = 5, PrecisionKind = FormatSize.Fixed, Precision = 2 },
                new FormatSegment(FormatConversion.String, "") { WidthKind = FormatSize.Dynamic, PrecisionKind = FormatSize.Dynamic },
                new FormatSegment(FormatConversion.Signed, "") { PrecisionKind = FormatSize.Fixed },
                new FormatSegment(FormatConversion.Literal, "!"),
            ],
            segments);
        Assert.Equal(5, FormatParser.ArgumentCount(segments));
    }

    [Fact]
    public void SeveralErrorsInOneRun()
    {
        var (file, bag) = Parse("probe begin { x = ; y = 1 + ; if (a { } z = 2 }\nglobl g\nprobe end { foo( }\nfunction f() { return 1 ) }\nprobe ok { }");
        Assert.Null(file);
        Assert.Equal([(1, 19), (1, 29), (1, 37), (2, 1), (3, 18), (4, 25)], bag.All.Select(d => d.Span!.Value.Position));
    }

    [Fact]
    public void GoodPartsSurviveErrors()
    {
        var bag = new DiagnosticBag();
        var file = Parser.ParseWithErrors(new SystemTap.Language.Text.SourceText("a.stp", "global a probe begin { x = } function f() { }"), new ParseOptions(), bag);
        Assert.True(bag.HasErrors);
        Assert.Equal(3, file.Items.Count);
    }

    [Fact]
    public void MissingBraceNamesTheOpening()
    {
        var error = Bad("probe begin {\n  if (a) {\n  x()\n}\nprobe end { }", "parse.expected-statement");
        Assert.Equal((5, 1), error.Span!.Value.Position);
        Assert.Equal((1, 13), error.Related!.Value.Position);
    }

    [Fact]
    public void SpansAreExact()
    {
        var file = Good("probe begin { abc = f(1) + $x->y }");
        var statement = ((ProbeDefinition)file.Items[0]).Body.Statements[0];
        Assert.Equal((14, 18), (statement.Span.Start, statement.Span.Length));
        var sum = (BinaryExpression)((AssignmentExpression)((ExpressionStatement)statement).Expression).Value;
        Assert.Equal((20, 12, 25), (sum.Span.Start, sum.Span.Length, sum.OperatorSpan.Start));
        Assert.Equal((27, 5), (sum.Right.Span.Start, sum.Right.Span.Length));
    }

    [Fact]
    public void LongChainsParseUpToTheLimit()
    {
        Good("probe begin { x = " + string.Join(" . ", Enumerable.Repeat("y", 1000)) + " }");
        Bad("probe begin { x = " + string.Join(" . ", Enumerable.Repeat("y", 3000)) + " }", "parse.too-long");
        Good("probe begin { " + string.Concat(Enumerable.Repeat("if (a) f() else ", 1000)) + "g() }");
        Bad("probe begin { " + string.Concat(Enumerable.Repeat("if (a) f() else ", 3000)) + "g() }", "parse.too-long");
        Good("probe begin { x = " + string.Concat(Enumerable.Repeat("a ? b : ", 1000)) + "c }");
        Bad("probe begin { x = " + new string('(', 1000) + "1" + new string(')', 1000) + " }", "parse.too-deep");
        Good("probe begin { x = " + new string('(', 200) + "1" + new string(')', 200) + " }");
        Bad("probe begin " + new string('{', 1000) + new string('}', 1000), "parse.too-deep");
        Bad("probe begin { x = " + new string('!', 1000) + "1 }", "parse.too-deep");
    }

    [Fact]
    public void DefinitionsAreScanned()
    {
        var names = DefinitionScanner.Scan(new SystemTap.Language.Text.SourceText("t.stp", """
            %( kernel_v > "5" %? global a%[5], b = "x" %: global c %)
            @define m(x) %( function no %)
            private global hidden
            function f:long(a, b:string) : 2 { foo(a, b) }
            function g() %{ function h() %}
            private function p() { }
            probe syscall.read.return = kernel.function("x").return { global_x = 1 }
            probe a("x").b = c = d, e { }
            probe %( x == 1 %? n.x %: n.y %).return += k.* { }
            probe plain { $x->function = 1 }
            """));
        Assert.Equal(["a", "b", "c"], names.Globals);
        Assert.Equal(["m"], names.Macros);
        Assert.Equal([("f", 2), ("g", 0)], names.Functions.Where(f => f.Name != "no"));
        Assert.Equal(["syscall.read.return", "a.b", "c", "n.y.return", "n.x.return"], names.Aliases);
    }

    [Theory]
    [InlineData("exeename", "execname")]
    [InlineData("exenmae", "execname")]
    [InlineData("prinft", "printf")]
    [InlineData("zzzzzz", null)]
    [InlineData("b", null)]
    public void Suggest(string wrong, string? right) => Assert.Equal(right, Suggestions.Nearest(wrong, ["execname", "printf", "a", "print"]));

    [Fact]
    public void SuggestBestFew() => Assert.Equal(["pid", "ppid"], Suggestions.Find("ppidd", ["tid", "pid", "ppid", "uid"], 2).Order());
}
