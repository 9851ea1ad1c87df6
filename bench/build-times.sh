#!/bin/bash
# Build time of kernel modules beside SystemTap's (Debian package 'systemtap'), on the same headers, in the same run, as a table with ratios.
# usage: bench/build-times.sh [RELEASE|TREE]     default: the headers of Linux 6.1 that the virtual machines use
# cold: the first script on a kernel (caches empty); warm: each script new, the run-time known.
set -u
root=$(dirname "$(dirname "$(readlink -f "$0")")")
"$root/build/build-stap.sh" || exit 1
"$root/build/install-needs.sh" peer || echo "note: continuing without it; its column will be empty" >&2
tree=${1:-$("$root/tests/vm/fetch-headers.sh" 6.1)}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
export SYSTEMTAP_NOSIGN=1
. "$root/bench/peer.sh"
peer_prepare "$tree"
cat > hello.stp <<'S'
probe begin { println("hello world") exit() }
S
{
    echo 'global n, by, s'
    for p in 'syscall.read' 'syscall.write' 'syscall.open*' 'syscall.close' 'syscall.read.return' 'timer.ms(100)' 'timer.s(1)' 'kernel.trace("sched_switch")' 'begin' 'end'; do
        echo "probe $p { n++; by[execname(), pid()]++; s <<< n }"
    done
} > ten.stp
{
    echo 'global t, x'
    for i in $(seq 1 45); do
        printf 'function f%d(a, b) {\n    if (a > b) return a * %d\n    t[a, sprintf("%%d", b)] = a + b\n    return b\n}\n' "$i" "$i"
        [ $((i % 5)) != 0 ] || printf 'probe syscall.read { x += f%d(pid(), tid()) }\n' "$i"
    done
    echo 'probe end { foreach ([a, b] in t- limit 10) printf("%d %s %d\n", a, b, t[a, b]); println(x) }'
} > long.stp
ours() { SYSTEMTAP_DIR=$1 "$root/out/stap" --runtime=kernel -p4 -r "$tree" -m "$2" "$3"; }
theirs() { peer_build "$1" "$2" "$3"; }
clock() { local from to; from=$(date +%s%N); "$@" >out 2>&1 || { echo "- $(head -n 1 out)" >&2; echo 0; return; }; to=$(date +%s%N); echo $(( (to - from) / 1000000 )); }
echo 0 > count
# measure PROGRAM DIR SCRIPT: milliseconds; each build is of a script that was never built (a comment with a number keeps caches from knowing it).
measure() { local n; n=$(($(cat count) + 1)); echo $n > count; { cat "$3"; echo "global fresh$n = $n"; echo "probe end { if (fresh$n == 0) println(fresh$n) }"; } > fresh.stp; clock "$1" "$2" "m$n" fresh.stp; }
printf '%-22s %10s %14s %8s\n' "script" "ours, ms" "SystemTap, ms" "ratio"
row() { if [ "$3" -gt 0 ] && [ "$2" -gt 0 ]; then printf '%-22s %10d %14d %7.1fx\n' "$1" "$2" "$3" "$(echo "$3 $2" | awk '{print $1/$2}')"; else printf '%-22s %10d %14s\n' "$1" "$2" "-"; fi; }
t=0; [ -z "$peer" ] || t=$(measure theirs "$work/their" hello.stp)
row "hello, cold" "$(measure ours "$work/our" hello.stp)" "$t"
for script in hello ten long; do
    best=0; for i in 1 2 3; do m=$(measure ours "$work/our" $script.stp); if [ $best = 0 ] || [ "$m" -lt $best ]; then best=$m; fi; done
    t=0; [ -z "$peer" ] || t=$(measure theirs "$work/their" $script.stp)
    row "$script, warm" "$best" "$t"
done
