#!/bin/sh
# Publishes stap and staprun, each as one Native AOT executable, to out/. Safe when two run at once: the second waits and finds it fresh.
set -u
root=$(dirname "$(dirname "$(readlink -f "$0")")")
mkdir -p "$root/out"
# Servers that dotnet leaves behind do not get the descriptor: they would hold the lock.
exec 9>"$root/out/.lock"
if command -v flock >/dev/null 2>&1; then flock 9; fi
bin="$root/out/stap"
if [ -x "$bin" ] && [ -x "$root/out/staprun" ] && [ -z "$(find "$root/src" "$root/Directory.Build.props" \( -name bin -o -name obj \) -prune -o -newer "$bin" -type f -print -quit)" ]; then
    exit 0
fi
"$root/build/install-needs.sh" build || exit 1
case $(uname -m) in
    x86_64) rid=linux-x64 ;;
    aarch64) rid=linux-arm64 ;;
    *) echo "ERROR: no native build for the machine type '$(uname -m)': x86_64 and aarch64 only" >&2; exit 1 ;;
esac
echo "building stap (first run or sources changed; about a minute) ..."
log="$root/out/build.log"
# The small privileged program for users who are not root; whoever installs it gives it root and the setuid bit.
if command -v gcc >/dev/null 2>&1; then gcc -O2 -o "$root/out/stap-launch" "$root/runtime/launcher/stap-launch.c" 2>>"$log" || echo "WARNING: stap-launch could not be compiled" >&2; fi
# staprun first: stap's file is what tells that everything is fresh. A rename, so that running ones keep their file.
for program in staprun stap; do
    if ! dotnet publish "$root/src/$program/$program.csproj" -c Release -r "$rid" -o "$root/out/publish-$program" -v q -nologo >"$log" 2>&1 9>&-; then
        grep -E 'error|Error' "$log" | sort -u | head -20
        echo "ERROR: building $program failed; the whole output is in $log"
        exit 1
    fi
    cp "$root/out/publish-$program/$program" "$root/out/.$program.new" && mv -f "$root/out/.$program.new" "$root/out/$program"
done
