namespace SystemTap.Cli.CommandLine;

/// <summary>Texts of <c>--help</c> and <c>--version</c>.</summary>
internal static class Help
{
    public const string Version = "0.1.0";

    /// <summary>Version of the SystemTap language understood.</summary>
    public const string LanguageVersion = "5.6";

    public static string VersionText =>
        $"""
        Systemtap translator/driver (version {LanguageVersion}/{Version}, SystemTap in C#)
        The language and library are those of SystemTap {LanguageVersion}; the program is {Version} of another maker.
        Enabled runtimes: bpf (Linux 5.15 and newer), kernel. Licence: MIT; there is no warranty.

        """;

    public const string Text =
        """
        Usage: stap [options] FILE [arguments]     run the script in FILE ('-': standard input)
               stap [options] -e SCRIPT [arguments]
               stap [options] -l PROBE             list matching probe points (-L: with their variables)

        stap watches a running Linux system. A script says at which event ("probe") what is to be done; Ctrl-C ends it.
          stap -e 'probe syscall.openat { printf("%s %s\n", execname(), argstr) }'       each file opened, and by whom
          stap -e 'global n  probe syscall.read { n[execname()]++ }' -c 'ls -lR /etc'    reads by program, while a command runs
          stap -l 'syscall.*'                                                            events there are
          stap --example opens                                                           a script that comes with stap
        Numbers and tables that a script fills but never prints are shown at its end.

        Scripts
          -e SCRIPT        run SCRIPT
          -E SCRIPT        add SCRIPT to the main script (may be repeated)
          --example NAME   run one of the example scripts
          -i               put a script together at a prompt
          -I DIR           look for library scripts ("tapsets") in DIR too
          -D NAME=VALUE    change a limit, e.g. -DMAXMAPENTRIES=10000, -DMAXSTRINGLEN=4096
          -G VAR=VALUE     give global VAR its first value
          -g               guru mode: allow scripts to change things
          -m NAME          name of the session
          -B NAME=VALUE, --modinfo NAME=VALUE   for modules: make variable, further information
          --sign-module    make a module signed with SYSTEMTAP_SIGN_KEY and SYSTEMTAP_SIGN_CERT, or not at all
        What to watch
          -c CMD           start CMD when the probes are live, end with it; target() is its process
          -x PID           target() is process PID
          -T SECONDS       end after this time
          --target-namespaces=PID   ns_pid(), ns_uid() … tell ids as the container of process PID sees them
        Output
          -o FILE          write to FILE; strftime patterns such as %T are replaced
          -S SIZE[,N]      with -o: new file every SIZE MB, keep the newest N
          -F               with -o: go into the background when all probes are live; the process id is printed
          -s MB            buffer for output, MB for each CPU
          -b               a file of output for each CPU, FILE_0 FILE_1 … with -o, else stpd_cpu0 … (kernel runtime)
          -v               say what each pass does and how long it takes (-vv: more)
          --vp ABCDE       verbosity of each pass, one digit for each
          -t               how often and how long each probe ran
          -w, -W           hide warnings; make them errors
          --color[=WHEN]   colour messages: never, always, auto
        Passes
          -p N             stop after pass N: 1 parse, 2 elaborate, 3 translate, 4 load, 5 run
          -u               do not optimise; keep unused things
          -k               keep temporary files
          --runtime=NAME   auto (default), bpf or kernel
          --compatible=V   language as of SystemTap version V
          --check-version  warn where a script depends on that version
          --semantic-keep-going     list the errors of pass 2 for programs to read
          --rlimit-NAME=N  limits of stap itself: as, cpu, nproc, stack, fsize
          --privilege=P    check the script for stapusr, stapsys or stapdev
          --skip-badvars   variables that do not exist become 0
          --suppress-handler-errors, --suppress-time-limits, --no-global-var-display
        Lists
          -l PROBE, -L PROBE, --dump-probe-types, --dump-probe-aliases, --dump-functions
          --version, --help

        Options that should always be set go into the file ~/.systemtap/rc. The scripts of --example are in examples/, the language is
        explained in docs/language.md.

        """;
}
