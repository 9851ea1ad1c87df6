using System.Text;

namespace SystemTap.KernelModule.Building;

/// <summary>
/// The C compiler of a build. The kernel's own version when it is installed; else the machine's gcc behind a small script that leaves out the options
/// it does not know: kernels accept modules of another gcc of the same era, and what is left out concerns layout and warnings, not the ABI.
/// </summary>
internal sealed class Compiler
{
    private Compiler(string program, bool isOther)
    {
        Program = program;
        IsOther = isOther;
    }

    /// <summary>Absolute path.</summary>
    public string Program { get; }

    /// <summary>True when it is not the version that built the kernel.</summary>
    public bool IsOther { get; }

    /// <summary>Part of the key of what it compiles.</summary>
    public string Identity
    {
        get
        {
            var target = new FileInfo(Program).ResolveLinkTarget(returnFinalTarget: true) as FileInfo ?? new FileInfo(Program);
            return $"{target.FullName} {target.Length} {target.LastWriteTimeUtc.Ticks}";
        }
    }

    /// <summary>Finds it. <paramref name="asked"/>: the value of <c>-B CC=</c>, or null.</summary>
    public static Compiler Find(BuildTree tree, string? asked)
    {
        if (asked is not null)
        {
            return new Compiler(Tool.Find(asked) ?? throw new ModuleBuildException($"compiler '{asked}' of option '-B' is not on PATH", "install it, or leave the option out"), false);
        }

        if (tree.Value("CONFIG_CC_IS_CLANG") is not null)
        {
            return new Compiler(Tool.Find("clang") ?? throw new ModuleBuildException($"kernel '{tree.Release}' was built with clang, which is not on PATH", "install the packages 'clang' and 'lld'"), false);
        }

        var wanted = tree.GccMajor;
        if (wanted > 0 && Tool.Find($"gcc-{wanted}") is { } same)
        {
            return new Compiler(same, false);
        }

        var other = Tool.Find("gcc") ?? throw new ModuleBuildException("no C compiler: 'gcc' is not on PATH", wanted > 0 ? $"install the package 'gcc-{wanted}' or 'gcc'" : "install the package 'gcc'");
        return new Compiler(other, true);
    }

    /// <summary>The word to call it by, for the build system: itself, or the script, which is written to <paramref name="folder"/>.</summary>
    public string Command(string folder)
    {
        if (!IsOther)
        {
            return Program;
        }

        var path = Path.Combine(folder, "cc");
        var script = new StringBuilder();
        script.Append("#!/bin/sh\n# Made by stap: calls ").Append(Program).Append(" without the options it does not know; it is not the compiler of this kernel.\n");
        script.Append("cc='").Append(Program).Append("'\nlist='").Append(Path.Combine(folder, "cc.left-out")).Append("'\n");
        script.Append("""
            exec 3>&1
            while :; do
                bad="|$(tr '\n' '|' <"$list" 2>/dev/null)"
                n=$#
                while [ $n -gt 0 ]; do
                    word=$1; shift; n=$((n - 1))
                    case $word in -fmin-function-alignment=*) word=-falign-functions=${word#*=} ;; esac
                    case $bad in *"|$word|"*) ;; *) set -- "$@" "$word" ;; esac
                done
                if errors=$(LC_ALL=C "$cc" "$@" 2>&1 1>&3); then
                    [ -z "$errors" ] || printf '%s\n' "$errors" >&2
                    exit 0
                fi
                unknown=$(printf '%s\n' "$errors" | sed -n "s/.*unrecognized command-line option '\([^']*\)'.*/\1/p" | head -n 1)
                if [ -z "$unknown" ]; then printf '%s\n' "$errors" >&2; exit 1; fi
                echo "$unknown" >>"$list"
            done

            """);
        File.WriteAllText(path, script.ToString());
        File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        return path;
    }
}
