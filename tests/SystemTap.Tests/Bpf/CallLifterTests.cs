using SystemTap.Bpf.Analysis;
using SystemTap.Bpf.Deferral;
using SystemTap.Semantics.Lowered;
using SystemTap.Tests.Semantics;
using Xunit;

namespace SystemTap.Tests.Bpf;

/// <summary>Recursive calls out of expressions: each becomes the whole value of an assignment, and everything keeps its order.</summary>
public sealed class CallLifterTests
{
    private static Stmt Lifted(string script, out Function function)
    {
        var program = new Elaborated(script).Program;
        var f = function = program.Functions.Single(x => x.Name == "f");
        return new CallLifter(x => ReferenceEquals(x, f), Capacities.Of(program, static _ => 16)).Lift(f.Body);
    }

    private static string Text(string body) => LoweredPrinter.Print(Lifted($"global g\nfunction f:long(n) {{ {body} }}\nprobe begin {{ g = 1 println(f(g)) }}", out _));

    [Fact]
    public void Operands_before_a_call_are_kept() => Assert.Equal(
        "_r1 = g\n_r2 = f((n - 1))\nreturn (_r1 + _r2)", Text("return g + f(n - 1)"));

    [Fact]
    public void Calls_keep_their_order() => Assert.Equal(
        "_r1 = f(1)\n_r2 = f(2)\nreturn (_r1 - _r2)", Text("return f(1) - f(2)"));

    [Fact]
    public void Calls_as_arguments_come_first() => Assert.Equal(
        "_r1 = f(n)\n_r2 = f(_r1)\nreturn _r2", Text("return f(f(n))"));

    [Fact]
    public void And_becomes_if() => Assert.Equal(
        "_r1 = (n != 0)\nif (_r1)\n  _r2 = f(1)\n  _r1 = (_r2 != 0)\nreturn _r1", Text("return n && f(1)"));

    [Fact]
    public void A_choice_becomes_if() => Assert.Equal("if (n)\n  _r2 = f(1)\n  _r1 = _r2\nelse\n  _r1 = g\nreturn _r1", Text("return n ? f(1) : g"));

    [Fact]
    public void A_call_alone_stays() => Assert.Equal("n = f(n)\nreturn n", Text("n = f(n) return n"));

    [Theory]
    [InlineData("return g + f(n - 1) * f(g)")]
    [InlineData("while (f(n) > g++) n = n + f(g) + f(f(n)); return n")]
    [InlineData("for (i = f(0); i < f(1); i += f(2)) { if (f(i) || !f(n)) break } return i")]
    [InlineData("try { return f(1) ? f(2) : f(3) } catch { return f(n) == f(g) }")]
    [InlineData("g = f(1) + g; return f(g) && f(f(2))")]
    public void Every_call_is_a_whole_value(string body)
    {
        var lifted = Lifted($"global g\nfunction f:long(n) {{ {body} }}\nprobe begin {{ g = 1 println(f(g)) }}", out var f);
        var check = new WholeValues(f);
        check.Visit(lifted);
        Assert.Equal([], check.Inner);
        Assert.True(check.Calls > 1);
    }

    /// <summary>Finds calls that stand inside a larger expression.</summary>
    private sealed class WholeValues(Function f) : LoweredWalker
    {
        private CallExpr? _whole;

        public List<string> Inner { get; } = [];

        public int Calls { get; private set; }

        public override void Visit(Stmt? statement)
        {
            _whole = statement switch
            {
                ExprStmt { Expression: CallExpr c } => c,
                ExprStmt { Expression: AssignExpr { Place: LocalPlace, Value: CallExpr c } } => c,
                _ => _whole,
            };
            base.Visit(statement);
        }

        public override void Visit(Expr? expression)
        {
            if (expression is CallExpr c && ReferenceEquals(c.Function, f))
            {
                Calls++;
                if (!ReferenceEquals(c, _whole))
                {
                    Inner.Add(LoweredPrinter.Print(expression));
                }
            }

            base.Visit(expression);
        }
    }
}
