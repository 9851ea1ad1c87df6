using CsCheck;
using SystemTap.Targets;
using SystemTap.Tests.Corpus;
using Xunit;

namespace SystemTap.Tests.UserProbes;

/// <summary>The ELF and SDT readers, compared with what binutils say, and fed with damaged files.</summary>
public sealed class ElfTests
{
    private static async Task<string> Tool(params string[] words)
    {
        var got = await StapProcess.RunProgramAsync(words, null, 60, null, null);
        Assert.True(got.Status == 0, got.Err);
        return got.Out;
    }

    /// <summary>Full symbol tables of libraries write versions behind names; scripts do not.</summary>
    [Fact]
    public async Task Symbols_are_named_without_their_version()
    {
        Assert.SkipWhen(ProbedPrograms.Missing("x.c", "") is not null, "gcc is not installed");
        var folder = Directory.CreateTempSubdirectory("stap-versions").FullName;
        try
        {
            var source = Path.Combine(folder, "v.c");
            await File.WriteAllTextAsync(source, "int old(void) { return 1; } int now(void) { return 2; }\n__asm__(\".symver old,answer@V_1\"); __asm__(\".symver now,answer@@V_2\");\n", TestContext.Current.CancellationToken);
            await File.WriteAllTextAsync(Path.Combine(folder, "v.map"), "V_1 { }; V_2 { global: answer; } V_1;\n", TestContext.Current.CancellationToken);
            var library = Path.Combine(folder, "v.so");
            var got = await SystemTap.Tests.Corpus.StapProcess.RunProgramAsync(["gcc", "-shared", "-fPIC", "-Wl,--version-script=" + Path.Combine(folder, "v.map"), "-o", library, source], null, 60, folder, null);
            Assert.True(got.Status == 0, got.Err);
            var symbols = ElfFile.Open(library).Symbols;
            var now = symbols.Find("now");
            Assert.NotNull(now);
            var found = symbols.Find("answer");
            Assert.NotNull(found);
            Assert.Equal("answer", found.Value.Name);
            Assert.Equal(now.Value.Value, found.Value.Value);
            Assert.False(found.Value.IsSuperseded);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    /// <summary>A damaged program is said to be damaged, not to lack debug information; a whole or stripped one is not.</summary>
    [Fact]
    public async Task Damage_is_named()
    {
        Assert.SkipWhen(ProbedPrograms.Missing("shapes.c", "-g -O2") is not null, "gcc is not installed");
        var whole = await File.ReadAllBytesAsync(await ProbedPrograms.Build("shapes.c", "-g -O2"), TestContext.Current.CancellationToken);
        var folder = Directory.CreateTempSubdirectory("stap-damaged").FullName;
        try
        {
            var program = Path.Combine(folder, "p");
            await File.WriteAllBytesAsync(program, whole, TestContext.Current.CancellationToken);
            Assert.Null(ElfDamage.Of(ElfFile.Open(program)));
            Assert.Null(ElfDamage.Of(ElfFile.Open("/proc/self/exe")));
            await Tool("strip", program);
            Assert.Null(ElfDamage.Of(ElfFile.Open(program)));

            var table = (int)BitConverter.ToUInt64(whole, 40);
            Assert.Contains("section table is at byte", ElfDamage.Of(ElfFile.Parse(whole[..(whole.Length / 2)])), StringComparison.Ordinal);
            Assert.Contains("of them in the file", ElfDamage.Of(ElfFile.Parse(whole[..(table + 200)])), StringComparison.Ordinal);
            Assert.Contains("entries of 7 bytes", ElfDamage.Of(Changed(58, 7)), StringComparison.Ordinal);
            Assert.Contains("section 1 does not hold its names", ElfDamage.Of(Changed(62, 1)), StringComparison.Ordinal);
            Assert.Contains("reaches to byte", ElfDamage.Of(Changed(table + 64 + 32 + 4, 1)), StringComparison.Ordinal);

            await File.WriteAllBytesAsync(program, whole[..(whole.Length / 2)], TestContext.Current.CancellationToken);
            foreach (var point in (string[])["function(\"nosuch\")", "statement(\"*@shapes.c:1\")"])
            {
                var got = await StapProcess.RunProgramAsync([.. StapProcess.Program, "-p2", "-e", $"probe process(\"{program}\").{point} {{ println(1) }}"], null, 60, folder, null);
                Assert.Equal(1, got.Status);
                Assert.Contains($"\"{program}\" is damaged: its section table is at byte {table}", got.Err, StringComparison.Ordinal);
                Assert.DoesNotContain("has no debug information", got.Err, StringComparison.Ordinal);
            }
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }

        ElfFile Changed(int at, byte value)
        {
            var bytes = (byte[])whole.Clone();
            bytes[at] = value;
            return ElfFile.Parse(bytes);
        }
    }

    [Fact]
    public async Task Symbols_are_those_of_nm()
    {
        var path = await ProbedPrograms.Build("shapes.c", "-g -O2");
        var expected = new SortedDictionary<string, ulong>(StringComparer.Ordinal);
        foreach (var line in (await Tool("nm", path)).Split('\n'))
        {
            var words = line.Split(' ');
            if (words.Length == 3 && words[1] is "T" or "t")
            {
                expected[words[2]] = Convert.ToUInt64(words[0], 16);
            }
        }

        var got = new SortedDictionary<string, ulong>(StringComparer.Ordinal);
        var symbols = ElfFile.Open(path).Symbols;
        for (var i = 0; i < symbols.Count; i++)
        {
            if (symbols[i].IsFunction)
            {
                got[symbols[i].Name] = symbols[i].Value;
            }
        }

        // nm also lists labels without a type.
        foreach (var (name, value) in got)
        {
            Assert.Equal(expected[name], value);
        }

        Assert.Contains("members", got.Keys);
        Assert.True(got.Count > 15);
    }

    [Fact]
    public async Task Build_id_and_stubs_are_those_of_readelf_and_objdump()
    {
        foreach (var flags in (string[])["-g -O2", "-g -O2 -no-pie", "-O2 -Wl,-z,now", "-O2 -fcf-protection=full -Wl,-z,lazy"])
        {
            var path = await ProbedPrograms.Build("shapes.c", flags);
            var file = ElfFile.Open(path);
            Assert.Contains("Build ID: " + file.BuildId, await Tool("readelf", "-n", path), StringComparison.Ordinal);
            var plt = ElfPlt.Of(file);
            Assert.Contains(plt, p => p.Name == "printf" || p.Name == "__printf_chk");
            var listing = await Tool("objdump", "-d", "-j", ".plt", "-j", ".plt.sec", "-j", ".plt.got", path).ContinueWith(t => t.IsCompletedSuccessfully ? t.Result : "", TaskScheduler.Default);
            if (listing.Length == 0)
            {
                continue; // a section is absent in this build
            }

            foreach (var entry in plt)
            {
                Assert.Contains($"{entry.Address:x16} <{entry.Name}@", listing, StringComparison.Ordinal);
            }
        }
    }

    [Fact]
    public async Task Addresses_and_file_offsets_correspond()
    {
        var file = ElfFile.Open(await ProbedPrograms.Build("shapes.c", "-g -O2 -no-pie"));
        var main = file.Symbols.Find("main")!.Value;
        var offset = file.FileOffset(main.Value)!.Value;
        Assert.Equal(main.Value, file.Address((ulong)offset));
        Assert.True(file.IsCode(main.Value));
        Assert.False(file.IsCode(file.Symbols.Find("counter")!.Value.Value));
        Assert.Null(file.FileOffset(1));
        Assert.True(file.IsProgram);
        Assert.False(file.IsGo);
        Assert.Equal("main", file.Symbols.At(main.Value + 1)!.Value.Name);
    }

    [Fact]
    public async Task Marks_are_those_of_readelf()
    {
        var path = await ProbedPrograms.Build("marks.c", "-O2");
        var text = await Tool("readelf", "-n", "-W", path);
        var marks = SdtMark.Of(ElfFile.Open(path));
        Assert.Equal(4, marks.Count);
        foreach (var mark in marks)
        {
            Assert.Contains($"Name: {mark.Name}\n", text, StringComparison.Ordinal);
            Assert.Contains($"Location: 0x{mark.Address:x16}", text, StringComparison.Ordinal);
            Assert.Contains($"Arguments: {mark.Arguments}", text, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData("-4@%edi", SdtArgumentKind.Register, 4, true, 0, "edi", null, 1, null)]
    [InlineData("8@$0x10", SdtArgumentKind.Constant, 8, false, 16, null, null, 1, null)]
    [InlineData("-4@$-1", SdtArgumentKind.Constant, 4, true, -1, null, null, 1, null)]
    [InlineData("5", SdtArgumentKind.Constant, 8, true, 5, null, null, 1, null)]
    [InlineData("-4@-20(%rbp)", SdtArgumentKind.Memory, 4, true, -20, "rbp", null, 1, null)]
    [InlineData("8@(%rax)", SdtArgumentKind.Memory, 8, false, 0, "rax", null, 1, null)]
    [InlineData("8@8(%rax,%rbx,4)", SdtArgumentKind.Memory, 8, false, 8, "rax", "rbx", 4, null)]
    [InlineData("1@(%rax,%rbx)", SdtArgumentKind.Memory, 1, false, 0, "rax", "rbx", 1, null)]
    [InlineData("8@16(,%rbx,8)", SdtArgumentKind.Memory, 8, false, 16, null, "rbx", 8, null)]
    [InlineData("-2@counter(%rip)", SdtArgumentKind.Memory, 2, true, 0, null, null, 1, "counter")]
    [InlineData("4@counter+8(%rip)", SdtArgumentKind.Memory, 4, false, 8, null, null, 1, "counter")]
    [InlineData("-8@8+big@GOTOFF(%rbx)", SdtArgumentKind.Memory, 8, true, 8, null, null, 1, "big")]
    [InlineData("4@table@GOTOFF(%rbx,%rcx,4)", SdtArgumentKind.Memory, 4, false, 0, null, "rcx", 4, "table")]
    [InlineData("4@-8+table(%rip)", SdtArgumentKind.Memory, 4, false, -8, null, null, 1, "table")]
    [InlineData("%rax", SdtArgumentKind.Register, 8, false, 0, "rax", null, 1, null)]
    [InlineData("%ax", SdtArgumentKind.Register, 2, false, 0, "ax", null, 1, null)]
    [InlineData("1@%ah", SdtArgumentKind.Register, 1, false, 0, "ah", null, 1, null)]
    [InlineData("8f@%xmm0", SdtArgumentKind.Vector, 8, false, 0, null, null, 1, null)]
    [InlineData("-4f@%xmm15", SdtArgumentKind.Vector, 4, true, 15, null, null, 1, null)]
    [InlineData("8f@%xmm16", SdtArgumentKind.Unreadable, 8, false, 0, null, null, 1, null)]
    [InlineData("8@%fs:16", SdtArgumentKind.Unreadable, 8, false, 0, null, null, 1, null)]
    [InlineData("8@", SdtArgumentKind.Unreadable, 8, false, 0, null, null, 1, null)]
    public void Argument_forms_of_x86(string text, SdtArgumentKind kind, int size, bool signed, long constant, string? register, string? index, int scale, string? symbol)
    {
        var argument = Assert.Single(SdtArgument.Parse(text, X8664.Instance));
        Assert.Equal((kind, size, signed), (argument.Kind, argument.Size, argument.IsSigned));
        Assert.Equal((constant, register, index, scale, symbol), (argument.Constant, argument.Register?.Name, argument.IndexRegister?.Name, argument.Scale, argument.Symbol));
    }

    [Theory]
    [InlineData("-4@w0", SdtArgumentKind.Register, 0, null)]
    [InlineData("8@5", SdtArgumentKind.Constant, 5, null)]
    [InlineData("-4@[sp, 12]", SdtArgumentKind.Memory, 12, null)]
    [InlineData("8@[x0]", SdtArgumentKind.Memory, 0, null)]
    [InlineData("8@[x19, #-8]", SdtArgumentKind.Memory, -8, null)]
    [InlineData("8@[x0, x1, lsl 3]", SdtArgumentKind.Memory, 0, "x1")]
    public void Argument_forms_of_arm64(string text, SdtArgumentKind kind, long constant, string? index)
    {
        var argument = Assert.Single(SdtArgument.Parse(text, Arm64.Instance));
        Assert.Equal((kind, constant, index), (argument.Kind, argument.Constant, argument.IndexRegister?.Name));
        if (index is not null)
        {
            Assert.Equal(8, argument.Scale);
        }
    }

    [Fact]
    public void Several_arguments_are_told_apart()
    {
        Assert.Equal(["-4@w0", "8@[x0, x1, lsl 3]", "8@5"], SdtArgument.Parse("-4@w0 8@[x0, x1, lsl 3] 8@5", Arm64.Instance).Select(a => a.Text));
        Assert.Empty(SdtArgument.Parse("", X8664.Instance));
    }

    /// <summary>Damaged files give answers or TargetExceptions, never another exception.</summary>
    [Fact]
    public async Task Damaged_files()
    {
        var original = await File.ReadAllBytesAsync(await ProbedPrograms.Build("marks.c", "-O2"));
        var opened = 0;
        Gen.Select(Gen.Int[0, original.Length - 1].Array[1, 24], Gen.Byte.Array[24], Gen.Int[0, 3]).Sample((places, values, mode) =>
        {
            var bytes = (byte[])original.Clone();
            for (var i = 0; i < places.Length; i++)
            {
                // Headers are where damage hurts.
                bytes[mode == 0 ? places[i] : mode == 1 ? places[i] % 64 : mode == 2 ? 64 + (places[i] % 800) : bytes.Length - 1 - (places[i] % 2600)] = values[i];
            }

            ElfFile file;
            try
            {
                file = ElfFile.Parse(mode == 3 ? bytes[..(places[0] + 1)] : bytes);
            }
            catch (TargetException)
            {
                return;
            }

            Interlocked.Increment(ref opened);
            _ = file.BuildId;
            _ = file.DebugLink;
            _ = file.IsProgram;
            _ = file.Dynamic.Needed.Count;
            _ = ElfPlt.Of(file).Count;
            foreach (var mark in SdtMark.Of(file))
            {
                _ = SdtArgument.Parse(mark.Arguments, X8664.Instance);
            }

            var symbols = file.Symbols;
            for (var i = 0; i < Math.Min(symbols.Count, 200); i++)
            {
                _ = symbols[i].Name;
                _ = file.FileOffset(symbols[i].Value);
            }
        }, iter: 3000);
        Assert.True(opened > 100);
    }

    [Fact]
    public void Damaged_argument_texts() => Gen.Char["-+0123456789@$%()[],.:fabceirspxlw "].Array[0, 24].Sample(text =>
    {
        var line = new string(text);
        _ = SdtArgument.Parse(line, X8664.Instance);
        _ = SdtArgument.Parse(line, Arm64.Instance);
    }, iter: 20000);

    [Theory]
    [InlineData("_ZN3geo5Shape5scaleEi", "geo::Shape::scale(int)", "geo::Shape::scale", "scale")]
    [InlineData("_ZN3geo5twiceIiEET_S1_", "int geo::twice<int>(int)", "geo::twice<int>", "twice<int>")]
    [InlineData("_ZN12_GLOBAL__N_15innerEv", "(anonymous namespace)::inner()", "(anonymous namespace)::inner", "inner")]
    [InlineData("_ZNKSt6vectorIiSaIiEE4sizeEv", "std::vector<int, std::allocator<int> >::size() const", "std::vector<int, std::allocator<int> >::size", "size")]
    [InlineData("_ZlsRSoRK3Foo", "operator<<(std::ostream&, Foo const&)", "operator<<", "operator<<")]
    [InlineData("_ZN3FooclEi", "Foo::operator()(int)", "Foo::operator()", "operator()")]
    [InlineData("_ZZN2ns1fEiENKUlcE_clEc", "ns::f(int)::{lambda(char)#1}::operator()(char) const", "ns::f::{lambda(char)#1}::operator()", "operator()")]
    [InlineData("_ZZNK2ns3BoxIiE1fEiE1n", "ns::Box<int>::f(int) const::n", "ns::Box<int>::f::n", "n")]
    public void Mangled_names(string mangled, string full, string plain, string last)
    {
        Assert.SkipWhen(Demangler.Full("_Z1fv") is null, "libstdc++ is not installed");
        Assert.Equal(full, Demangler.Full(mangled));
        Assert.Equal(plain, Demangler.Plain(mangled));
        Assert.Equal(last, Demangler.Last(plain));
    }

    [Theory]
    [InlineData("_RNvCs4Jz2Mtfmu5I_1vu9gre_6ka8i", "v::größe")]
    [InlineData("_RNvXsd_NtCsgEmfK2I1SDS_4core5arrayAlj3_INtNtNtB7_3ops5index5IndexNtNtBG_5range9RangeFullE5indexCs4Jz2Mtfmu5I_1v", "<[i32; 3] as core::ops::index::Index<core::ops::range::RangeFull>>::index")]
    [InlineData("_RNvMCs4Jz2Mtfmu5I_1vINtB2_1WKj3_Kb1_Kc78_Kan5_E4showB2_", "v::W<3, true, 'x', -5>::show")]
    [InlineData("_RNvMCs4Jz2Mtfmu5I_1vINtB2_1WKj1869f_Kb0_Kce9_Ka7_E4showB2_", "v::W<99999, false, 'é', 7>::show")]
    [InlineData("_RINvCs4Jz2Mtfmu5I_1v1fFG0_RL1_eRL0_hERL1_eEB2_", "v::f<for<'a, 'b> fn(&'a str, &'b u8) -> &'a str>")]
    [InlineData("_RINvCs4Jz2Mtfmu5I_1v1fFKClEhEB2_", "v::f<extern \"C\" fn(i32) -> u8>")]
    [InlineData("_RINvCs4Jz2Mtfmu5I_1v1fThQlEEB2_", "v::f<(u8, &mut i32)>")]
    [InlineData("_RINvCs4Jz2Mtfmu5I_1v1fTlEEB2_", "v::f<(i32,)>")]
    [InlineData("_RINvCs4Jz2Mtfmu5I_1v1fOdEB2_", "v::f<*mut f64>")]
    [InlineData("_RNCNvMs0_NtCs4Jz2Mtfmu5I_1v1mNtB7_1S3own0B9_", "v::m::S::own::{closure#0}")]
    [InlineData("_RINvMNtCsgEmfK2I1SDS_4core3stre18trim_start_matchesReECsgY6Mt91CT9J_14rustc_demangle", "<str>::trim_start_matches<&str>")]
    [InlineData("_RINvCs4Jz2Mtfmu5I_1v1fAhj4_EB2_", "v::f<[u8; 4]>")]
    [InlineData("_RINvCs4Jz2Mtfmu5I_1v1fINtNtCslNYArtu3iFV_5alloc5boxed3BoxDG_INtNtNtCsgEmfK2I1SDS_4core3ops8function2FnTRL0_eEEp6OutputRL0_eEL_EEB2_", "v::f<alloc::boxed::Box<dyn for<'a> core::ops::function::Fn<(&'a str,), Output = &'a str>>>")]
    [InlineData("_RINvCs4Jz2Mtfmu5I_1v1fINtNtCslNYArtu3iFV_5alloc5boxed3BoxDNtNtB2_1m2Trp1AhNtNtCsgEmfK2I1SDS_4core6marker4SendEL_EEB2_", "v::f<alloc::boxed::Box<dyn v::m::Tr<A = u8> + core::marker::Send>>")]
    [InlineData("_RINvCs4Jz2Mtfmu5I_1v1fRDNtNtCsgEmfK2I1SDS_4core3fmt5DebugEL_EB2_", "v::f<&dyn core::fmt::Debug>")]
    [InlineData("_RNSNvYNCNvCs4Jz2Mtfmu5I_1v4mains_0INtNtNtCsgEmfK2I1SDS_4core3ops8function6FnOnceTReEE9call_once6vtableB8_", "<v::main::{closure#1} as core::ops::function::FnOnce<(&str,)>>::call_once::{shim:vtable#0}")]
    [InlineData("_RNvXNtCs4Jz2Mtfmu5I_1v1mNtB2_1SNtB2_2Tr2go", "<v::m::S as v::m::Tr>::go")]
    [InlineData("_RNvXs8_NtCslNYArtu3iFV_5alloc5boxedINtB5_3BoxDNtNtCs4Jz2Mtfmu5I_1v1m2Trp1AhNtNtCsgEmfK2I1SDS_4core6marker4SendEL_ENtNtNtB1f_3ops4drop4Drop4dropBM_", "<alloc::boxed::Box<dyn v::m::Tr<A = u8> + core::marker::Send> as core::ops::drop::Drop>::drop")]
    [InlineData("_RNvXs_NtCs4Jz2Mtfmu5I_1v1mRSlNtB4_2Tr2go", "<&[i32] as v::m::Tr>::go")]
    [InlineData("_RNvYNCNvCs4Jz2Mtfmu5I_1v4main0INtNtNtCsgEmfK2I1SDS_4core3ops8function6FnOnceTlReEE9call_onceB6_", "<v::main::{closure#0} as core::ops::function::FnOnce<(i32, &str)>>::call_once")]
    [InlineData("_RNvYNCNvCs4Jz2Mtfmu5I_1v4mains0_0INtNtNtCsgEmfK2I1SDS_4core3ops8function6FnOnceTReRhEE9call_onceB6_", "<v::main::{closure#2} as core::ops::function::FnOnce<(&str, &u8)>>::call_once")]
    [InlineData("_RNvYNCNvCs4Jz2Mtfmu5I_1v4mains_0INtNtNtCsgEmfK2I1SDS_4core3ops8function6FnOnceTReEE9call_onceB6_", "<v::main::{closure#1} as core::ops::function::FnOnce<(&str,)>>::call_once")]
    [InlineData("_ZN37_$LT$r..Point$u20$as$u20$r..Speak$GT$5speak17hc8a93f749672a9ddE", "<r::Point as r::Speak>::speak")]
    [InlineData("_ZN3std2rt10lang_start28_$u7b$$u7b$closure$u7d$$u7d$17h0123456789abcdefE", "std::rt::lang_start::{{closure}}")]
    [InlineData("_RINvCsbsFkZsjFIc5_1w1fTINtNtCslNYArtu3iFV_5alloc5boxed3BoxDINtB2_2IthEp1AlEL_EBl_EEB2_", "w::f<(alloc::boxed::Box<dyn w::It<u8, A = i32>>, alloc::boxed::Box<dyn w::It<u8, A = i32>>)>")]
    public void Names_of_Rust(string mangled, string name)
    {
        Assert.SkipWhen(mangled[1] == 'Z' && Demangler.Full("_Z1fv") is null, "libstdc++ is not installed");
        Assert.True(Demangler.IsMangled(System.Text.Encoding.UTF8.GetBytes(mangled)));
        Assert.Equal(name, Demangler.Full(mangled));
        Assert.Equal(name, Demangler.Plain(mangled));
    }

    [Theory]
    [InlineData("_R")]
    [InlineData("_RNvC1v")]
    [InlineData("_RNvC1v1")]
    [InlineData("_RNvC1v1ff")]
    [InlineData("_RNvB_1f")]
    [InlineData("_RINvC1v1fTB9_B9_EE")]
    [InlineData("_RINvC1v1fKj_EE")]
    [InlineData("_RNvC1v99999999999f")]
    [InlineData("_Rename")]
    public void Names_that_look_like_Rust(string name) => Assert.Null(Demangler.Full(name));

    [Fact]
    public void Damaged_names_of_Rust()
    {
        Assert.Equal("<(), ((), ()), (((), ()), ((), ()))>", Demangler.Full(Doubled(2)));
        Assert.Null(Demangler.Full(Doubled(60)));
        Gen.Char["_RCMXYNIBKLTFDGEUpasu0123456789vmhj"].Array[0, 40].Sample(text => _ = Demangler.Full("_R" + new string(text)), iter: 20000);

        // Types of twice the one before: the last one's name would be as long as 2 to the power of the count.
        static string Doubled(int count)
        {
            var (name, before) = ("_RINvC0_0u", 7);
            for (; count > 0; count--)
            {
                var next = name.Length - 2;
                name += $"TB{Base62(before)}B{Base62(before)}E";
                before = next;
            }

            return name + "E";
        }

        static string Base62(int value)
        {
            const string digits = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
            var text = "";
            for (value--; value >= 0; value = (value / 62) - 1)
            {
                text = digits[value % 62] + text;
            }

            return text + "_";
        }
    }

    [Theory]
    [InlineData("main", "main", null, "None", 0, 0)]
    [InlineData("main@a.c", "main", "a.c", "None", 0, 0)]
    [InlineData("*@dir/a.c:12", "*", "dir/a.c", "Absolute", 12, 12)]
    [InlineData("f@a.c:3-9", "f", "a.c", "Range", 3, 9)]
    [InlineData("f@a.c:7,3-4,12", "f", "a.c", "Range", 3, 12)]
    [InlineData("f@a.c:*", "f", "a.c", "All", 0, int.MaxValue)]
    [InlineData("f@a.c+4", "f", "a.c", "Relative", 4, 4)]
    [InlineData("ns::f@c++/a.cc:5", "ns::f", "c++/a.cc", "Absolute", 5, 5)]
    public void Function_patterns(string text, string function, string? file, string lines, int first, int last)
    {
        var pattern = SystemTap.Semantics.Probes.User.FunctionPattern.Parse(text)!;
        Assert.Equal((function, file, lines, first, last), (pattern.Function, pattern.File, pattern.Lines.ToString(), pattern.Line, pattern.LastLine));
    }

    [Fact]
    public void Lists_of_lines()
    {
        var pattern = SystemTap.Semantics.Probes.User.FunctionPattern.Parse("f@a.c:7,3-4,12-13")!;
        Assert.Equal([3, 4, 7, 12, 13], Enumerable.Range(0, 20).Where(pattern.Includes));
    }

    [Theory]
    [InlineData("")]
    [InlineData("f@")]
    [InlineData("f@a.c:x")]
    [InlineData("f@a.c:9-3")]
    [InlineData("f@a.c:1,,3")]
    [InlineData("f@a.c:1,3-")]
    public void Malformed_function_patterns(string text) => Assert.Null(SystemTap.Semantics.Probes.User.FunctionPattern.Parse(text));

    [Theory]
    [InlineData("open.c", "/src/fs/open.c", true)]
    [InlineData("fs/open.c", "/src/fs/open.c", true)]
    [InlineData("s/open.c", "/src/fs/open.c", false)]
    [InlineData("*.c", "/src/fs/open.c", true)]
    [InlineData("fs/*.c", "/src/fs/open.c", true)]
    [InlineData("/src/fs/open.c", "/src/fs/open.c", true)]
    [InlineData("/fs/open.c", "/src/fs/open.c", false)]
    [InlineData("pen.c", "/src/fs/open.c", false)]
    public void Source_files(string pattern, string file, bool fits) => Assert.Equal(fits, SourceFiles.Matches(pattern, file));

}
