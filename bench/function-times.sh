#!/bin/bash
# What one call of a probed kernel function costs under BPF with stap and with bpftrace (Debian's package), in one boot of a virtual machine.
# usage: bench/function-times.sh [--instructions] [6.1|6.12 [TURNS]]     default: Linux 6.12, 3 turns
# The developers' machines have no kernel probes, so this is emulated: nanoseconds are those of the emulation, the fastest of nine loops in each turn.
# --instructions: the machine's clock counts instructions instead (QEMU's -icount): the same however busy the host is.
# Ratio: (bpftrace - untraced) / (ours - untraced), above 1 is good for us.
set -eu
root=$(dirname "$(dirname "$(readlink -f "$0")")")
unit=nanoseconds
options=${VM_OPTIONS:-}
if [ "${1:-}" = --instructions ]; then unit=instructions; options="-icount shift=0,sleep=off"; export VM_CPUS=1; shift; fi
kernel=${1:-6.12} turns=${2:-3}
"$root/build/build-stap.sh"
"$root/build/install-needs.sh" bench || echo "note: continuing without it; its column will be empty" >&2
"$root/tests/vm/fetch-headers.sh" "$kernel" >/dev/null
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/functions/peer"
cd "$work/functions"
gcc -O2 -static -o events "$root/bench/events.c"
peer=$(command -v bpftrace || true)
if [ -n "$peer" ]; then
    cp "$peer" peer/bpftrace
    ldd "$peer" | sed -n 's/.*=> \(\/[^ ]*\).*/\1/p; s/^[[:space:]]*\(\/[^ ]*\) (.*/\1/p' | sort -u | while read -r lib; do mkdir -p "peer$(dirname "$lib")"; cp -L "$lib" "peer$lib"; done
fi
f=__x64_sys_getpgid
echo "turns=$turns" >"$work/run.sh"
# Each case: a line NAME|stap script|bpftrace script
cat >cases <<C
count at entry|global n probe kernel.function("$f").call { n++ }|kprobe:$f { @n++ }
count at return|global n probe kernel.function("$f").return { n++ }|kretprobe:$f { @n++ }
latency histogram|global s probe kernel.function("$f").return { s <<< gettimeofday_ns() - @entry(gettimeofday_ns()) }|kprobe:$f { @t[tid] = nsecs; } kretprobe:$f /@t[tid]/ { @s = hist(nsecs - @t[tid]); delete(@t[tid]); }
count by kernel stack|global n probe kernel.function("$f").call { n[backtrace()]++ }|kprobe:$f { @n[kstack] = count(); }
C
cat >>"$work/run.sh" <<'I'
cd /work/functions
cp -r peer/lib* peer/usr / 2>/dev/null
mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null; mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null
least() { name=$1; v=$(./events getpgid); o=$(cat /tmp/t.$name 2>/dev/null || echo 999999999); [ "$v" -lt "$o" ] && echo "$v" >/tmp/t.$name; return 0; }
session() { # COLUMN READY COMMAND…: the loop while the command traces
    name=$1 ready=$2; shift 2; rm -f /tmp/out      # or the first look finds the last session's
    "$@" >/tmp/out 2>/tmp/err & pid=$!
    n=0; while ! grep -q "$ready" /tmp/out && kill -0 $pid 2>/dev/null && [ $n -lt 600 ]; do usleep 100000; n=$((n+1)); done
    grep -q "$ready" /tmp/out || { echo "note: $name did not start: $(head -n 2 /tmp/err | tr '\n' ' ')"; return 0; }
    sleep 2
    least $name
    kill -INT $pid; wait $pid
}
t=0
while [ $t -lt $turns ]; do
    c=0
    least none
    while IFS='|' read -r what ours theirs; do
        c=$((c+1))
        session $c.ours live stap -e "$ours probe begin { println(\"live\") }" </dev/null
        [ ! -e peer/bpftrace ] || session $c.theirs live ./peer/bpftrace -e "$theirs BEGIN { printf(\"live\\n\"); }" </dev/null
    done <cases
    t=$((t+1))
done
c=0
while IFS='|' read -r what ours theirs; do c=$((c+1)); echo "@row $(cat /tmp/t.none) $(cat /tmp/t.$c.ours 2>/dev/null || echo 0) $(cat /tmp/t.$c.theirs 2>/dev/null || echo 0) $what"; done <cases
dmesg | grep -E 'WARNING|BUG|Oops' | head -n 5
I
VM_OPTIONS=$options VM_MEMORY=${VM_MEMORY:-2048} VM_TIMEOUT=${VM_TIMEOUT:-1200} "$root/tests/vm/run-vm.sh" "$kernel" "$work/run.sh" "$work/functions" >"$work/out" || true
grep -vE '^@@@|^@row' "$work/out" || true
echo "Linux $(cat "$root/out/vm/$kernel/release") in QEMU (TCG), $unit a call; peer: $([ -z "$peer" ] || "$peer" --version 2>&1 | head -n 1)"
printf '%-28s %8s %8s %10s %8s\n' "kernel.function" untraced ours bpftrace ratio
sed -n 's/^@row //p' "$work/out" | while read -r none ours theirs what; do
    printf '%-28s %8d %8d %10d %8s\n' "$what" "$none" "$ours" "$theirs" "$(awk -v o="$((ours - none))" -v t="$((theirs - none))" 'BEGIN { if (t > 0 && o > 0) printf "%.2fx", t / o; else print "-" }')"
done
grep -q '^@row' "$work/out"
