using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;
using Xunit;

namespace SystemTap.Tests.KernelModule;

/// <summary>
/// Every built-in of <see cref="IntrinsicTable"/> is translated to C, or stands here with the reason why not. A tapset file made for the test calls all of
/// them, one function each, because only tapset files may.
/// </summary>
public sealed class IntrinsicCoverageTests
{
    // An entry whose built-in is translated after all fails the test too: the list can only tell the truth.
    private static readonly Dictionary<IntrinsicId, string> NotInModules = new()
    {
        [IntrinsicId.KernelStackRaw] = "made by the BPF engine for itself",
        [IntrinsicId.StackText] = "made by the BPF engine for itself",
        [IntrinsicId.UserSnapshot] = "made by the BPF engine for itself",
        [IntrinsicId.UserSnapshotFrom] = "made by the BPF engine for itself",
        [IntrinsicId.UnwoundStack] = "made by the BPF engine for itself",
    };

    [Fact]
    public void Every_built_in_is_translated_or_has_a_reason()
    {
        var folder = Directory.CreateTempSubdirectory("stap-intrinsics-").FullName;
        try
        {
            File.WriteAllLines(Path.Combine(folder, "all.stp"), IntrinsicTable.All.Select(Function).Prepend("// One function for each built-in."));
            var refused = IntrinsicTable.All.Where(i => !IsTranslated(folder, i)).Select(i => i.Id).Order();
            Assert.Equal(NotInModules.Keys.Order(), refused);
        }
        finally
        {
            Directory.Delete(folder, true);
        }
    }

    private static string Name(Intrinsic intrinsic) => "covers_" + intrinsic.Id;

    // "errno" names a table, and a text as good as any other. Parameters keep calls from being evaluated while translating.
    private static string Function(Intrinsic intrinsic)
    {
        var call = $"{intrinsic.Name}({string.Join(", ", intrinsic.Parameters.Select(p => p == ScriptType.String ? "\"errno\"" : "n"))})";
        return intrinsic.ReturnType switch
        {
            ScriptType.Void => $"function {Name(intrinsic)}(n:long) {{ {call} }}",
            var type => $"function {Name(intrinsic)}:{(type == ScriptType.String ? "string" : "long")}(n:long) {{ return {call} }}",
        };
    }

    private static bool IsTranslated(string folder, Intrinsic intrinsic)
    {
        var call = $"{Name(intrinsic)}(cpu())";
        var body = intrinsic.ReturnType == ScriptType.Void ? call : $"println({call})";
        var translated = CHarness.Translate(["--runtime=kernel", "-g", "-w", "-I", folder, "-e", $"probe timer.ms(1) {{ {body} }}"]);
        return translated is { } done && Calls.In(done.Program, intrinsic.Id);
    }

    // Dead code is not translated: what is not in the program any more was not tried.
    private sealed class Calls(IntrinsicId id) : LoweredWalker
    {
        private bool _found;

        public static bool In(LoweredProgram program, IntrinsicId id)
        {
            var calls = new Calls(id);
            foreach (var function in program.Functions)
            {
                calls.Visit(function.Body);
            }

            foreach (var probe in program.Probes)
            {
                calls.Visit(probe.Body);
            }

            return calls._found;
        }

        public override void Visit(Expr? expression)
        {
            _found |= expression is IntrinsicExpr e && e.Intrinsic.Id == id;
            base.Visit(expression);
        }
    }
}
