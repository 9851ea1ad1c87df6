using SystemTap.Tests.Corpus;
using SystemTap.Tests.Vm;
using Xunit;

namespace SystemTap.Tests.KernelModule;

/// <summary>A folder of its own, and the build tree of the virtual machines' older kernel.</summary>
public sealed class BuilderFixture : IAsyncLifetime
{
    private string? _tree;
    private string _reason = "";

    internal string Folder { get; } = Directory.CreateTempSubdirectory("stap-builder-").FullName;

    /// <summary>The real tree; the test is skipped where its packages cannot be had.</summary>
    internal string Tree
    {
        get
        {
            Assert.SkipWhen(_tree is null, "the kernel's headers could not be fetched: " + _reason);
            return _tree!;
        }
    }

    public async ValueTask InitializeAsync()
    {
        var (tree, reason) = await VirtualMachine.ToolAsync("fetch-headers.sh", "6.1");
        (_tree, _reason) = (tree?.Trim(), reason.Trim());
    }

    public ValueTask DisposeAsync()
    {
        Directory.Delete(Folder, recursive: true);
        return ValueTask.CompletedTask;
    }

    /// <summary>A tree that has no more than the files by which a tree is known.</summary>
    internal string BareTree(string name, string config, string? release = "6.1.0-test")
    {
        var tree = Path.Combine(Folder, name);
        Directory.CreateDirectory(Path.Combine(tree, "include/config"));
        File.WriteAllText(Path.Combine(tree, ".config"), config);
        if (release is not null)
        {
            File.WriteAllText(Path.Combine(tree, "include/config/kernel.release"), release + "\n");
        }

        return tree;
    }

    /// <summary>A PATH on which only these programs of this machine are.</summary>
    internal string Programs(string name, params string[] programs)
    {
        var folder = Directory.CreateDirectory(Path.Combine(Folder, name)).FullName;
        foreach (var program in (string[])["dotnet", .. programs])
        {
            var found = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':').Select(f => Path.Combine(f, program)).FirstOrDefault(File.Exists);
            if (found is not null && !File.Exists(Path.Combine(folder, program)))
            {
                File.CreateSymbolicLink(Path.Combine(folder, program), found);
            }
        }

        return folder;
    }

    /// <summary>Builds a module in <see cref="Folder"/>; <paramref name="environment"/>: NAME=VALUE words.</summary>
    internal Task<StapResult> Build(string[] environment, params string[] words) =>
        StapProcess.RunProgramAsync(["/usr/bin/env", .. environment, .. StapProcess.Program, "--runtime=kernel", "-p4", .. words], null, 180, Folder, null);
}

/// <summary>
/// The module builder from outside: what stands in the way of a build is said in one sentence with one action, and options do what they are for.
/// Whether modules work is for the virtual machines' tests.
/// </summary>
public sealed class BuilderTests(BuilderFixture fixture) : IClassFixture<BuilderFixture>
{
    private const string Hello = "probe begin { println(\"hello\") exit() }";

    private static void Refused(StapResult got, string message, string hint)
    {
        Assert.Equal((1, ""), (got.Status, got.Out));
        Assert.Matches("^ERROR: .*\nhint: .*\nPass 4: compilation failed.\n$|^ERROR: .*\nhint: .*\n$", got.Err);
        Assert.Contains(message, got.Err, StringComparison.Ordinal);
        Assert.Contains("hint: " + hint, got.Err, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Headers_that_are_not_there_name_their_package() =>
        Refused(await fixture.Build([], "-r", "9.9.9-none", "-e", Hello), "the headers of kernel '9.9.9-none' are not there: folder '/lib/modules/9.9.9-none/build' does not exist", "install the package 'linux-headers-9.9.9-none'");

    [Fact]
    public async Task Tree_that_does_not_exist() =>
        Refused(await fixture.Build([], "-r", "/no/such/tree", "-e", Hello), "kernel build tree '/no/such/tree' of option '-r' does not exist", "give the path of a tree");

    [Fact]
    public async Task Tree_that_is_not_prepared() =>
        Refused(await fixture.Build([], "-r", fixture.BareTree("unprepared", "CONFIG_MODULES=y\n", release: null), "-e", Hello), "does not name a release", "give the path of a tree in which 'make modules_prepare' was run");

    [Fact]
    public async Task Folder_that_is_no_tree() =>
        Refused(await fixture.Build([], "-r", "/usr/share", "-e", Hello), "'/usr/share' of option '-r' is no kernel build tree", "give the path of a tree");

    [Fact]
    public async Task Option_B_without_a_name() =>
        Refused(await fixture.Build([], "-r", fixture.Tree, "-B", "garbage", "-e", Hello), "option '-B': 'garbage' is not NAME=VALUE", "write for instance -B CC=gcc-12");

    [Fact]
    public async Task Folders_that_cannot_be_used_are_named()
    {
        foreach (var variable in (string[])["SYSTEMTAP_DIR", "TMPDIR"])
        {
            var got = await fixture.Build([variable + "=/proc/nope"], "-r", fixture.Tree, "-e", Hello);
            Assert.Equal((1, ""), (got.Status, got.Out));
            Assert.Contains("/proc/nope", got.Err, StringComparison.Ordinal);
            Assert.DoesNotContain("IO_", got.Err, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Kernel_without_modules() =>
        Refused(await fixture.Build([], "-r", fixture.BareTree("nomodules", "CONFIG_X86=y\n"), "-e", Hello), "kernel '6.1.0-test' was built without loadable modules", "use --runtime=bpf");

    [Fact]
    public async Task No_compiler() =>
        Refused(await fixture.Build(["PATH=" + fixture.Programs("nocc", "make")], "-r", fixture.BareTree("gcc", "CONFIG_MODULES=y\nCONFIG_GCC_VERSION=120200\n"), "-e", Hello),
            "no C compiler: 'gcc' is not on PATH", "install the package 'gcc-12' or 'gcc'");

    [Fact]
    public async Task Kernel_made_by_clang_without_clang() =>
        Refused(await fixture.Build(["PATH=" + fixture.Programs("noclang", "make", "gcc")], "-r", fixture.BareTree("clang", "CONFIG_MODULES=y\nCONFIG_CC_IS_CLANG=y\n"), "-e", Hello),
            "was built with clang, which is not on PATH", "install the packages 'clang' and 'lld'");

    [Fact]
    public async Task Compiler_of_an_option_that_is_not_there() =>
        Refused(await fixture.Build([], "-r", fixture.Tree, "-B", "CC=no-such-gcc", "-e", Hello), "compiler 'no-such-gcc' of option '-B' is not on PATH", "install it, or leave the option out");

    [Fact]
    public async Task Compiler_that_cannot_build_for_the_kernel()
    {
        // Of another version than the kernel's, and without the options that decide about code.
        var programs = fixture.Programs("oldgcc", "make", "sh", "rm", "tr", "sed", "head", "cat", "dirname", "expr", "uname", "mkdir");
        await File.WriteAllTextAsync(Path.Combine(programs, "gcc"), "#!/bin/sh\necho \"gcc: error: unrecognized argument in option '-mindirect-branch=thunk-extern'\" >&2\nexit 1\n", TestContext.Current.CancellationToken);
        File.SetUnixFileMode(Path.Combine(programs, "gcc"), (UnixFileMode)0x1ed);
        Refused(await fixture.Build(["PATH=" + programs, "SYSTEMTAP_DIR=" + Path.Combine(fixture.Folder, "oldgcc-cache")], "-r", fixture.Tree, "-e", Hello),
            "was built with gcc 12, and '", "install the package 'gcc-12'");
    }

    [Fact]
    public async Task No_make() =>
        Refused(await fixture.Build(["PATH=" + fixture.Programs("nomake", "gcc-12", "gcc"), "SYSTEMTAP_DIR=" + Path.Combine(fixture.Folder, "nomake-cache")], "-r", fixture.Tree, "-e", Hello),
            "'make' is not on PATH", "install the package 'make'");

    [Fact]
    public async Task No_linker_of_the_build_system()
    {
        var programs = fixture.Programs("noname", "make", "gcc-12", "gcc", "sh", "rm", "sed", "cat", "uname", "mkdir");
        var got = await fixture.Build(["PATH=" + programs, "SYSTEMTAP_DIR=" + Path.Combine(fixture.Folder, "noname-cache")], "-r", fixture.Tree, "-e", Hello);
        Assert.Equal(1, got.Status);
        Assert.Matches("^ERROR: the module run-time cannot be built for kernel '6.1[^']*': .*\nhint: see the log '.*'\nPass 4: compilation failed.\n$", got.Err);
    }

    [Fact]
    public async Task Mode_of_one_file_for_each_cpu_says_that_it_needs_a_module()
    {
        var got = await StapProcess.RunAsync(["-b", "-r", "9.9.9-none", "-e", Hello]);
        Assert.Equal((1, ""), (got.Status, got.Out));
        Assert.Contains("the headers of kernel '9.9.9-none' are not there", got.Err, StringComparison.Ordinal);
        Assert.SkipWhen(Directory.Exists($"/lib/modules/{File.ReadAllText("/proc/sys/kernel/osrelease").Trim()}/build"), "this machine has its kernel's headers");
        got = await StapProcess.RunAsync(["-b", "-e", Hello]);
        Assert.Equal((1, ""), (got.Status, got.Out));
        Assert.Matches("^ERROR: option '-b', a file of output for each CPU, needs the kernel-module runtime: the headers of kernel '.*' are not there.*\nhint: install the package '.*\n", got.Err);
    }

    [Fact]
    public async Task Option_b_makes_a_module_where_it_can()
    {
        var got = await StapProcess.RunAsync(["-b", "-p4", "-v", "-m", "bulk_" + Environment.ProcessId, "-r", fixture.Tree, "-e", Hello], seconds: 180, folder: fixture.Folder);
        Assert.Equal(0, got.Status);
        Assert.Contains("option '-b', a file of output for each CPU, is why this becomes a kernel module", got.Err, StringComparison.Ordinal);
        Assert.True(File.Exists(got.Out.Trim()), got.Out);
    }

    [Fact]
    public async Task Name_goes_into_the_module_and_the_current_folder()
    {
        var got = await fixture.Build([], "-r", fixture.Tree, "-m", "my_name_1", "--modinfo=vendor=me", "-e", Hello);
        Assert.Equal((0, Path.Combine(fixture.Folder, "my_name_1.ko") + "\n"), (got.Status, got.Out));
        var text = System.Text.Encoding.Latin1.GetString(await File.ReadAllBytesAsync(got.Out.Trim(), TestContext.Current.CancellationToken));
        Assert.Contains("\0name=my_name_1\0", text, StringComparison.Ordinal);
        Assert.Contains("\0vendor=me\0", text, StringComparison.Ordinal);
        Assert.Contains("\0vermagic=6.1.", text, StringComparison.Ordinal);
        Assert.DoesNotContain("stap_name_", text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Option_k_keeps_the_c_text()
    {
        var got = await fixture.Build([], "-k", "-r", fixture.Tree, "-e", Hello);
        Assert.Equal(0, got.Status);
        var kept = System.Text.RegularExpressions.Regex.Match(got.Err, "Keeping temporary directory \"(.*)\"").Groups[1].Value;
        Assert.Contains("hello", await File.ReadAllTextAsync(Path.Combine(kept, "script.c"), TestContext.Current.CancellationToken), StringComparison.Ordinal);
        Directory.Delete(kept, recursive: true);
    }

    [Fact]
    public async Task Option_B_reaches_the_build_system()
    {
        var got = await fixture.Build(["SYSTEMTAP_DIR=" + Path.Combine(fixture.Folder, "b-cache")], "-vv", "-r", fixture.Tree, "-B", "KCFLAGS=-DSTAP_TEST_OPTION=1", "-g", "-e",
            "function f:long() %{ STAP_RETVALUE = STAP_TEST_OPTION; %} probe begin { println(f()) exit() }");
        Assert.True(got.Status == 0, got.Err);
        Assert.Contains(" KCFLAGS=-DSTAP_TEST_OPTION=1 ", got.Err, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Embedded_c_that_does_not_compile_is_told_with_its_place()
    {
        var got = await fixture.Build([], "-r", fixture.Tree, "-g", "-e", "probe begin { exit() }\nfunction f:long() %{\n  STAP_RETVALUE = no_such_thing;\n%}\nprobe end { println(f()) }");
        Assert.Equal(1, got.Status);
        Assert.Matches("ERROR: the script's embedded C does not compile: <input>:3:[0-9:]* error: .no_such_thing. undeclared", got.Err);
    }

    [Theory]
    [InlineData("vmlinuz")]
    [InlineData("vmlinux")]
    [InlineData("btf")]
    public async Task Types_of_another_kernel_come_from_its_image_or_a_file(string kind)
    {
        var image = new FileInfo(Path.Combine(fixture.Tree, "vmlinuz"));
        string[] script = ["-r", fixture.Tree, "-m", "types_" + kind, "-e", "probe kernel.function(\"vfs_read\") { println($count, $file->f_flags) }"];
        var environment = new List<string>();
        if (kind != "vmlinuz")
        {
            // Unpacked by a first run.
            var btf = SystemTap.Targets.KernelImages.ReadBtf(image.ResolveLinkTarget(true)!.FullName, null)!;
            var file = Path.Combine(fixture.Folder, kind + ".types");
            await File.WriteAllBytesAsync(file, btf, TestContext.Current.CancellationToken);
            if (kind == "vmlinux")
            {
                var elf = Path.Combine(fixture.Folder, "vmlinux.elf");
                var made = await StapProcess.RunProgramAsync(["sh", "-c", $"echo 'int x;' | gcc -c -x c - -o '{elf}' && objcopy --add-section .BTF='{file}' '{elf}'"], null, 20, fixture.Folder, null);
                Assert.True(made.Status == 0, made.Err);
                file = elf;
            }

            environment.Add("SYSTEMTAP_BTF=" + file);
        }

        var got = await fixture.Build([.. environment], script);
        Assert.True(got.Status == 0, got.Err);
    }

    [Theory]
    [InlineData("/no/such/file", "does not exist")]
    [InlineData("/etc/passwd", "holds no types (BTF)")]
    public async Task File_of_types_that_is_none(string file, string reason) =>
        Refused(await fixture.Build(["SYSTEMTAP_BTF=" + file], "-r", fixture.Tree, "-e", "probe kernel.function(\"vfs_read\") { println($count) }"), $"the file '{file}' of SYSTEMTAP_BTF {reason}", "name a kernel image");

    [Fact]
    public async Task Embedded_c_may_use_what_the_kernel_exports_and_nothing_else()
    {
        const string Script = "probe begin { println(f()) exit() } function f:long() %{ STAP_RETVALUE = ";
        var got = await fixture.Build([], "-r", fixture.Tree, "-g", "-m", "exported", "-e", Script + "jiffies_to_clock_t(100) + num_registered_fb_none; %} %{ static int num_registered_fb_none; %}");
        Assert.True(got.Status == 0, got.Err);
        Assert.Contains("jiffies_to_clock_t\0", System.Text.Encoding.Latin1.GetString(await File.ReadAllBytesAsync(got.Out.Trim(), TestContext.Current.CancellationToken)), StringComparison.Ordinal);
        Refused(await fixture.Build([], "-r", fixture.Tree, "-g", "-e", Script + "kallsyms_lookup_name(\"x\"); %} %{ #include <linux/kallsyms.h>\n %}"),
            "the script's embedded C uses 'kallsyms_lookup_name', which kernel '6.1", "use something that stands in the build tree's Module.symvers");
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Configured_key_signs_the_module(bool byVariables)
    {
        var folder = Directory.CreateDirectory(Path.Combine(fixture.Folder, "keys-" + byVariables)).FullName;
        var (key, certificate, name) = (Path.Combine(folder, "signing_key.pem"), Path.Combine(folder, "signing_key.x509"), "signed_" + (byVariables ? "1" : "2"));
        var made = await StapProcess.RunProgramAsync(["openssl", "req", "-new", "-x509", "-newkey", "rsa:2048", "-nodes", "-sha256", "-days", "30", "-subj", "/CN=stap test", "-keyout", key, "-out", certificate], null, 60, folder, null);
        Assert.True(made.Status == 0, made.Err);
        var got = await fixture.Build(byVariables ? ["SYSTEMTAP_SIGN_KEY=" + key, "SYSTEMTAP_SIGN_CERT=" + certificate] : ["SYSTEMTAP_DIR=" + folder], "--sign-module", "-r", fixture.Tree, "-m", name, "-e", Hello);
        Assert.True(got.Status == 0, got.Err);

        // The form (Linux, include/linux/module_signature.h): the module, the signature, 12 bytes about it, a line.
        var bytes = await File.ReadAllBytesAsync(got.Out.Trim(), TestContext.Current.CancellationToken);
        var end = "~Module signature appended~\n"u8.ToArray();
        Assert.True(bytes.AsSpan().EndsWith(end));
        var about = bytes.AsSpan()[..^end.Length][^12..].ToArray();
        Assert.Equal(2, about[2]); // PKCS#7
        var length = System.Buffers.Binary.BinaryPrimitives.ReadInt32BigEndian(about.AsSpan(8));
        var module = bytes[..^(end.Length + 12 + length)];
        var (content, signature) = (Path.Combine(folder, "content"), Path.Combine(folder, "signature"));
        await File.WriteAllBytesAsync(content, module, TestContext.Current.CancellationToken);
        await File.WriteAllBytesAsync(signature, bytes[module.Length..^(end.Length + 12)], TestContext.Current.CancellationToken);
        string[] verify = ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", signature, "-content", content, "-certfile", certificate, "-nointern", "-noverify", "-out", "/dev/null"];
        var verified = await StapProcess.RunProgramAsync(verify, null, 20, folder, null);
        Assert.True(verified.Status == 0, verified.Err);
        var printed = await StapProcess.RunProgramAsync(["openssl", "cms", "-cmsout", "-print", "-noout", "-inform", "DER", "-in", signature], null, 20, folder, null);
        Assert.Contains("algorithm: sha256 (", printed.Out, StringComparison.Ordinal);
        module[module.Length / 2] ^= 1;
        await File.WriteAllBytesAsync(content, module, TestContext.Current.CancellationToken);
        Assert.NotEqual(0, (await StapProcess.RunProgramAsync(verify, null, 20, folder, null)).Status);
    }

    [Fact]
    public async Task Key_that_is_none() =>
        Refused(await fixture.Build(["SYSTEMTAP_SIGN_KEY=/no/such/key", "SYSTEMTAP_SIGN_CERT=/no/such/certificate"], "-r", fixture.Tree, "-m", "badkey", "-e", Hello), "the module cannot be signed with key '/no/such/key'", "check key and certificate");
}
