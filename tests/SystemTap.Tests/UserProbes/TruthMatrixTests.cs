using SystemTap.Tests.Corpus;
using Xunit;

namespace SystemTap.Tests.UserProbes;

/// <summary>
/// The corpus cases marked <c>%matrix</c> with every compiler, optimisation, version and form of debug information, and kind of program: hundreds of builds, about ten minutes, so
/// only on demand: <c>./test -class '*TruthMatrixTests' -explicit only</c>; MATRIX_FILTER names a part (<c>clang</c>, <c>-O3</c>).
/// </summary>
public sealed class TruthMatrixTests
{
    private static readonly Dictionary<string, UserProbeCase> Cases = Make();

    private static Dictionary<string, UserProbeCase> Make()
    {
        var result = new Dictionary<string, UserProbeCase>();
        var filter = Environment.GetEnvironmentVariable("MATRIX_FILTER") ?? "";
        foreach (var one in UserProbeCase.Load().Where(c => c.Matrix is not null).DistinctBy(c => c.Matrix))
        {
            foreach (var flags in one.Program.EndsWith(".rs", StringComparison.Ordinal) ? Rust() : C(one.Program.EndsWith(".cpp", StringComparison.Ordinal)))
            {
                var name = $"{one.Matrix} ({flags})";
                if (name.Contains(filter, StringComparison.Ordinal))
                {
                    result[name] = one with { Name = name, Flags = flags };
                }
            }
        }

        return result;
    }

    private static IEnumerable<string> C(bool isPlus)
    {
        foreach (var compiler in (string[])["", " +clang"])
        {
            foreach (var level in (string[])["-O0", "-O1", "-O2", "-O3", "-Os", "-Og"])
            {
                foreach (var version in (string[])["-gdwarf-4", "-gdwarf-5"])
                {
                    // Clang leaves out types whose definition another file is believed to have.
                    var common = $"{version} {level}{compiler}{(isPlus && compiler.Length > 0 ? " -fstandalone-debug" : "")}";
                    foreach (var form in (string[])["", " -no-pie", " -static", " +separate", " -gsplit-dwarf", " -gz", " +zstd", " -fomit-frame-pointer", " +dwz"])
                    {
                        // dwz does not know the address tables clang makes.
                        if (!(form == " +dwz" && compiler.Length > 0 && version == "-gdwarf-5"))
                        {
                            yield return common + form;
                        }
                    }
                }
            }
        }
    }

    private static IEnumerable<string> Rust()
    {
        foreach (var level in (string[])["0", "1", "2", "3", "s"])
        {
            foreach (var version in (string[])["4", "5"])
            {
                yield return $"-g -Copt-level={level} -Cdwarf-version={version}";
            }
        }
    }

    public static TheoryData<string> Names() => [.. Cases.Keys];

    [Theory(Explicit = true)]
    [MemberData(nameof(Names))]
    public Task Prints_what_the_program_prints(string name)
    {
        UserProbeCorpusTests.NeedUprobes();
        return UserProbeCorpusTests.Check(Cases[name]);
    }
}
