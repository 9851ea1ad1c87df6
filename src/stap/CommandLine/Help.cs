namespace SystemTap.Cli.CommandLine;

/// <summary>Texts of <c>--help</c> and <c>--version</c>.</summary>
internal static class Help
{
    public const string Version = "0.1.0";

    /// <summary>Version of the SystemTap language understood.</summary>
    public const string LanguageVersion = "5.6";

    public static string VersionText =>
        $"""
        stap (SystemTap in C#) {Version}, language of SystemTap {LanguageVersion}
        Runtimes: bpf (Linux 5.15 and newer). Licence: MIT; there is no warranty.

        """;

    public const string Text =
        """
        Usage: stap [options] FILE [arguments]     run the script in FILE ('-': standard input)
               stap [options] -e SCRIPT [arguments]
               stap [options] -l PROBE             list matching probe points (-L: with their variables)

        A script says what to do at which event:
          stap -e 'probe syscall.openat { printf("%s %s\n", execname(), argstr) }'
          stap -e 'global n  probe syscall.read { n[execname()]++ }' -c 'ls -lR /etc'
        Ctrl-C ends it; globals that were written but never printed are shown then.

        Scripts
          -e SCRIPT        run SCRIPT
          -E SCRIPT        add SCRIPT to the main script (may be repeated)
          -I DIR           look for tapset files (library scripts) in DIR too
          -D NAME=VALUE    change a limit, e.g. -DMAXMAPENTRIES=10000
          -G VAR=VALUE     give global VAR its first value
          -g               guru mode: allow scripts to change things
          -m NAME          name of the session
        Target
          -c CMD           start CMD when the probes are live, end with it; target() is its process
          -x PID           target() is process PID
          -T SECONDS       end after this time
        Output
          -o FILE          write to FILE; strftime patterns such as %T are replaced
          -S SIZE[,N]      with -o: new file every SIZE MB, keep the newest N
          -s MB            buffer for output, MB for each CPU
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
          --privilege=P    check the script for stapusr, stapsys or stapdev
          --skip-badvars   variables that do not exist become 0
          --suppress-handler-errors, --suppress-time-limits, --no-global-var-display
        Lists
          -l PROBE, -L PROBE, --dump-probe-types, --dump-probe-aliases, --dump-functions
          --version, --help

        Example scripts are in examples/, the language is explained in docs/.

        """;
}
