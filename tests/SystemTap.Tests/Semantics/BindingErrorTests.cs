using SystemTap.Semantics.Elaboration;
using SystemTap.Semantics.Probes;
using Xunit;

namespace SystemTap.Tests.Semantics;

/// <summary>Every rule that pass 2 refuses a script for: code, place and words. Rules the parser already checks (places of break and return, print counts, …) are tested there.</summary>
public class BindingErrorTests
{
    [Theory]
    [InlineData("probe begin { println(execnam()) }", "semantic.unresolved-function@1:23 unresolved function 'execnam' [did you mean 'execname'?]")]
    [InlineData("probe begin { x = nosuch() }", "semantic.unresolved-function@1:19 unresolved function 'nosuch'")]
    [InlineData("probe begin { _stap_exit() }", "semantic.unresolved-function@1:15 unresolved function '_stap_exit' [built-ins may be called from tapset files only]")]
    [InlineData("probe begin { println(hidden()) }", "semantic.unresolved-function@1:23 unresolved function 'hidden'")]
    [InlineData("probe begin { println(pid(1)) }", "semantic.argument-count@1:23 function 'pid' takes 0 arguments, not 1 <defined here 1:1>")]
    [InlineData("probe begin { arr[1] = 2 }", "semantic.unresolved-array@1:15 unresolved array 'arr': it has no global declaration [add 'global arr']")]
    [InlineData("global array probe begin { arry[1] = 2; array[1] = 1 }", "semantic.unresolved-array@1:28 unresolved array 'arry': it has no global declaration [did you mean 'array'?]")]
    [InlineData("global a probe begin { a[1] = 2; a[1, 2] = 3 }", "semantic.array-arity@1:34 inconsistent arity: 'a' is used as an array of 2 keys here <first used as an array of 1 key here 1:24>")]
    [InlineData("global a probe begin { a[1] = 2; println(a) }", "semantic.array-arity@1:42 inconsistent arity: 'a' is used as a scalar here <first used as an array of 1 key here 1:24>")]
    [InlineData("global a probe begin { a[1] = 2; foreach ([x, y] in a) println(x) }", "semantic.array-arity@1:53 inconsistent arity: 'a' is used as an array of 2 keys here <first used as an array of 1 key here 1:24>")]
    [InlineData("global a[5] probe begin { a = 1 }", "semantic.scalar-size@1:27 'a' is declared as an array and used as a scalar")]
    [InlineData("probe begin { x = \"a\"; x = 1; println(x) }", "semantic.type-mismatch@1:28 type mismatch: this number is a long and a string is needed here <type was first inferred here (string) 1:15> [sprint(x) makes a string of a number]")]
    [InlineData("probe begin { x = pid(); println(x . \"a\") }", "semantic.type-mismatch@1:34 type mismatch: 'x' is a long and a string is needed here <type was first inferred here (long) 1:15> [sprint(x) makes a string of a number]")]
    [InlineData("probe begin { println(execname() + 1) }", "semantic.type-mismatch@1:23 type mismatch: function 'execname' is a string and a long is needed here <type was first inferred here (string) 3:1> [strtol(s, 10) makes a number of a string]")]
    [InlineData("probe begin { println(x) }", "semantic.unresolved-type@1:23 unresolved type: nothing tells whether 'x' is a number or a string")]
    [InlineData("probe begin { println(exit()) }", "semantic.type-mismatch@1:23 type mismatch: function 'exit' has no value and a string is needed here <type was first inferred here (void) 4:1>")]
    [InlineData("probe begin { x = print(1); println(x) }", "semantic.type-mismatch@1:19 type mismatch: this expression has no value and a long is needed here")]
    [InlineData("global s probe begin { s <<< 1; println(s) }", "semantic.type-mismatch@1:41 type mismatch: 's' is an aggregate and a long is needed here <type was first inferred here (stats) 1:24> [read an aggregate by @count, @sum, @min, @max or @avg]")]
    [InlineData("global s probe begin { s <<< 1; s = 2; println(@count(s)) }", "semantic.type-mismatch@1:33 type mismatch: 's' is an aggregate and a long is needed here <type was first inferred here (stats) 1:24> [read an aggregate by @count, @sum, @min, @max or @avg]")]
    [InlineData("global s probe begin { s <<< 1; println(isfive(s)) }", "semantic.type-mismatch@1:48 type mismatch: 's' is an aggregate and a long is needed here")]
    [InlineData("probe begin { x <<< 1; println(@count(x)) }", "semantic.aggregate-operand@1:15 'x' collects values and is no global [add 'global x']")]
    [InlineData("global s probe begin { s <<< 1; print(@hist_log(s)); print(@hist_linear(s, 0, 9, 1)) }", "semantic.histogram-shape@1:60 's' has another histogram here, one global can have one kind only <first histogram here 1:39>")]
    [InlineData("global s probe begin { s <<< 1; println(@variance(s, 2), @variance(s, 3)) }", "semantic.variance-shift@1:58 @variance of 's' has shift 3 here, one global can have one shift only <shift 2 here 1:41>")]
    [InlineData("probe begin { printf(\"%s\", 1) }", "semantic.type-mismatch@1:28 type mismatch: this number is a long and a string is needed here [%d prints a number]")]
    [InlineData("global a probe begin { a[1] = 1; foreach (k in a) a[k] = 2 }", "semantic.foreach-modified@1:51 array 'a' is modified during its 'foreach' iteration <iterated here 1:34> [collect the changes in another array and apply them after the loop]")]
    [InlineData("global a probe begin { a[1] = 1; foreach (k in a) delete a[k] }", "semantic.foreach-modified@1:51 array 'a' is modified during its 'foreach' iteration")]
    [InlineData("global a function f(k) { a[k]++ } function g(k) { f(k) } probe begin { a[1] = 1; foreach (k in a) g(k) }", "semantic.foreach-modified@1:26 array 'a' is modified during its 'foreach' iteration, in function 'g' <iterated here 1:82>")]
    [InlineData("probe begin if (pid()) { println(1) }", "semantic.condition@1:17 probe condition of 'begin' may use globals, literals and operators only")]
    [InlineData("probe begin if (loc) { println(1) }", "semantic.condition@1:17 probe condition of 'begin' names 'loc', which is not a global [let the handler test it: { if (!(…)) next; … }]")]
    [InlineData("probe fake.syscall { println($c) }", "semantic.unresolved-target@1:30 target variable '$c' does not exist at probe point 'fake.syscall'")]
    [InlineData("probe begin { println($$vars, $x) }", "semantic.unresolved-target@1:23 target variable '$$vars' does not exist at probe point 'begin'")]
    [InlineData("probe begin { println($x) }", "semantic.unresolved-target@1:23 target variable '$x' does not exist at probe point 'begin'")]
    [InlineData("function f() { return $a } probe begin { println(f()) }", "semantic.unresolved-target@1:23 target variable '$a' does not exist at function 'f'")]
    [InlineData("probe fake.syscall { println(@entry($a)) }", "semantic.entry-place@1:30 @entry is possible in return probes only")]
    [InlineData("probe fake.syscall { $a = 5 }", "semantic.needs-guru@1:22 an assignment to a target variable needs guru mode [use stap -g]")]
    [InlineData("probe begin { println(@kderef(8, 5)) }", "semantic.needs-guru@1:23 @kderef needs guru mode [use stap -g]")]
    [InlineData("probe begin { printk(1, \"x\") }", "semantic.needs-guru@1:15 function 'printk' needs guru mode [use stap -g]")]
    [InlineData("probe begin { x = 5; println(x->pid) }", "semantic.untyped-access@1:31 'x' has no C type, '->pid' cannot be applied [use @cast(value, \"type\")]")]
    [InlineData("probe begin { x = 5; println(x[1]) }", "semantic.unresolved-array@1:30 unresolved array 'x': it has no global declaration and no C type [add 'global x']")]
    [InlineData("function f() %{ STAP_RETURN(1); %} probe begin { f() }", "semantic.embedded-code@1:1 embedded code in an unprivileged script [needs stap -g]")]
    [InlineData("function f(x) { return f(x) } probe begin { println(f(1)) }", "semantic.unresolved-type@1:1 unresolved type: nothing tells whether 'f' is a number or a string")]
    [InlineData("function f(x) { if (x) return 1; return \"a\" } probe begin { println(f(1)) }", "semantic.type-mismatch@1:41 type mismatch: this literal is a string and a long is needed here [strtol(s, 10) makes a number of a string]")]
    [InlineData("function f(x) { return x . \"\" } probe begin { println(f(1)) }", "semantic.type-mismatch@1:57 type mismatch: this number is a long and a string is needed here")]
    [InlineData("probe begin { println(1 == \"a\") }", "semantic.type-mismatch@1:28 type mismatch: this literal is a string and a long is needed here")]
    [InlineData("probe begin { println(pid() ? 1 : \"a\") }", "semantic.type-mismatch@1:35 type mismatch: this literal is a string and a long is needed here")]
    [InlineData("global a probe begin { a[1] = 1; a[\"x\"] = 2; println(a[1]) }", "semantic.type-mismatch@1:36 type mismatch: this literal is a string and a long is needed here")]
    public void Refused(string script, string message) => Assert.StartsWith(message, Elaborated.Fails(script));

    [Fact]
    public void TenKeys() =>
        Assert.StartsWith("semantic.array-arity@1:24 array 'a' has 10 keys, at most 9 are possible",
            Elaborated.Fails("global a probe begin { a[1,2,3,4,5,6,7,8,9,10] = 1 }"));

    [Fact]
    public void OverrideOfNothing() =>
        Assert.Equal("semantic.global-override global 'cuont' given by -G does not exist [did you mean 'count'?]",
            Elaborated.Fails("global count probe begin { println(count + 1) }", new ElaborationOptions { GlobalOverrides = new Dictionary<string, string> { ["cuont"] = "1" } }));

    [Fact]
    public void OverrideOfAnotherType() =>
        Assert.Equal("semantic.global-override@1:8 global 'n' is a number, -G gives 'abc'",
            Elaborated.Fails("global n = 1 probe begin { println(n) }", new ElaborationOptions { GlobalOverrides = new Dictionary<string, string> { ["n"] = "abc" } }));

    [Fact]
    public void EmbeddedCNeedsTheModule() =>
        Assert.StartsWith("semantic.cannot-embedded@1:1 embedded C needs the kernel-module runtime [use --runtime=kernel]",
            Elaborated.Fails("function f() %{ STAP_RETURN(1); %} probe begin { f() }", new ElaborationOptions { GuruMode = true }));

    [Fact]
    public void StapusrMayNotReadTheKernel()
    {
        const string Script = "probe begin { println(kernel_string(pid())) }";
        Assert.StartsWith("semantic.privilege@1:23 function 'kernel_string' reads kernel memory", Elaborated.Fails(Script, new ElaborationOptions { Privilege = Privilege.User }));
        Assert.Equal("", Elaborated.Warns(Script, new ElaborationOptions { Privilege = Privilege.System }));
    }

    [Fact]
    public void GuruMayPrintk() => Assert.Equal("_stap_printk(1, \"x\")", Elaborated.Bodies("probe begin { printk(1, \"x\") }", new ElaborationOptions { GuruMode = true }));

    [Fact]
    public void ReturnProbesAssignTheResultOnly()
    {
        Assert.Contains("semantic.assign-return@1:29 target variables of a return probe cannot be assigned, except $return",
            Elaborated.Fails("probe fake.syscall.return { $a = 5 }", new ElaborationOptions { GuruMode = true }));
        Assert.Equal("", Elaborated.Warns("probe fake.syscall.return { $return = 5 }", new ElaborationOptions { GuruMode = true }));
    }

    [Theory]
    [InlineData("probe begin { x = 1; println(2) }", "semantic.elided-assignment@1:15 Eliding assignment to 'x' [nothing reads it]")]
    [InlineData("probe begin { x++; println(2) }", "semantic.elided-assignment@1:15 Eliding assignment to 'x' [nothing reads it]")]
    [InlineData("probe begin { 1 + pid(); println(2) }", "semantic.elided-expression@1:15 Eliding side-effect-free expression")]
    [InlineData("global g probe begin { println(2) }", "semantic.elided-variable@1:8 Eliding unused variable 'g'")]
    [InlineData("function f() { return 1 } probe begin { println(2) }", "semantic.elided-function@1:1 Eliding unused function 'f'")]
    [InlineData("probe begin { println(2 + x) }", "semantic.never-assigned@1:27 never-assigned local variable 'x'")]
    [InlineData("probe begin { count = pid(); println(2 + coutn, count) }", "semantic.never-assigned@1:42 never-assigned local variable 'coutn' [did you mean 'count'?]")]
    [InlineData("global g probe begin { println(2 + g) }", "semantic.never-assigned@1:8 never-assigned global variable 'g'")]
    [InlineData("probe begin { } probe end { println(1) }", "semantic.elided-probe@1:1 side-effect-free probe 'begin' [its handler does nothing]")]
    [InlineData("probe fake.syscall.return { println($a) }", "semantic.implicit-entry@1:37 '$a' in a return probe means its value at entry [write @entry($a)]")]
    [InlineData("probe begin { if (pid()) { x = 1 } println(2) }", "semantic.elided-statement@1:15 Eliding side-effect-free 'if' statement")]
    public void Warned(string script, string message) => Assert.Equal(message, Elaborated.Warns(script));

    [Theory]
    [InlineData("probe begin { x = bump(); println(2) }", "bump()\nprintf(\"2\\n\")")]
    [InlineData("probe begin { a = 1; b = a; c = b; println(2) }", "printf(\"2\\n\")")]
    [InlineData("probe begin { a = 1; a = a + 1; println(2) }", "printf(\"2\\n\")")]
    [InlineData("probe begin { for (i = 0; i < 5; i++) { x = i } println(2) }", "printf(\"2\\n\")")]
    public void Elided(string script, string body) => Assert.Equal(body, Elaborated.Bodies(script));

    [Fact]
    public void UnoptimizedKeepsAll() => Assert.Equal("x = 1\n(1 + pid())", Elaborated.Bodies("probe begin { x = 1; 1 + pid() }", new ElaborationOptions { Unoptimized = true }));

    [Fact]
    public void SkipBadVars() => Assert.Equal("printf(\"%d\\n\", 0)".Replace("%d", "0").Replace(", 0", ""), Elaborated.Bodies("probe fake.syscall { println($zz) }", new ElaborationOptions { SkipBadVars = true }));

    [Fact]
    public void DeadCodeMayNotTypeCheck() => Assert.Equal("printf(\"2\")", Elaborated.Bodies("probe begin { x = 1; x = \"a\"; print(2) }"));

    [Fact]
    public void NoProbes() => Assert.Equal("semantic.no-probes no probes found: the script has none", Elaborated.Fails("global x"));
}
