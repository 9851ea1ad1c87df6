#!/bin/bash
# What one event costs with a kernel module of ours, with one of SystemTap's (Debian's package), and with a probe that does nothing, in one boot of a
# virtual machine with Linux 6.1. usage: bench/event-times.sh [--instructions] [TURNS]
# The machine is emulated: nanoseconds are those of the emulation, the fastest of nine loops in each of TURNS (3) turns; a busy host makes them larger.
# --instructions: the machine's clock counts instructions instead (QEMU's -icount), so numbers are instructions an event and the same however busy the host is.
# Ratio: (theirs - empty) / (ours - empty); the target is 1.43 (0.7 the other way).
set -eu
root=$(dirname "$(dirname "$(readlink -f "$0")")")
unit=nanoseconds
options=${VM_OPTIONS:-}
if [ "${1:-}" = --instructions ]; then unit=instructions; options="-icount shift=0,sleep=off"; export VM_CPUS=1; shift; fi
turns=${1:-3}
"$root/build/build-stap.sh"
"$root/build/install-needs.sh" peer || echo "note: continuing without it; its column will be empty" >&2
tree=$("$root/tests/vm/fetch-headers.sh" 6.1)
empty=$("$root/tests/vm/build-module.sh" 6.1 stap_empty)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
. "$root/bench/peer.sh"
keep="$root/out/bench-peer"
mkdir -p "$work/events" "$keep"
cd "$work/events"
cp "$empty" .
gcc -O2 -static -o events "$root/bench/events.c"
cat >kprobe.stp <<'P'
global n
probe begin { println("live") }
probe kprobe.function("__x64_sys_getpgid") { n++ }
probe end { println(n) }
P
cat >trace.stp <<'P'
global n
probe begin { println("live") }
probe kernel.trace("task_rename") { n[execname()]++ }
probe end { println(n["events"]) }
P
cat >syscall.stp <<'P'
global n
probe begin { println("live") }
probe syscall.getpgid { n++ }
probe end { println(n) }
P
cat >bypid.stp <<'P'
global n
probe begin { println("live") }
probe syscall.getpgid { n[pid()]++ }
probe end { foreach (p in n) if (n[p] > 1000) println(n[p]) }
P
cases="kprobe trace syscall bypid"
for c in $cases; do SYSTEMTAP_NOSIGN=1 "$root/out/stap" --runtime=kernel -r "$tree" -p4 -DSTP_NO_OVERLOAD -m "our_$c" "$c.stp" >/dev/null; done
if [ -n "$peer" ]; then
    if [ ! -s "$keep/System.map" ]; then
        echo "grep -i ' [tdrb] ' /proc/kallsyms | gzip -9 | base64" >"$work/symbols.sh"
        "$root/tests/vm/run-vm.sh" 6.1 "$work/symbols.sh" | grep -E '^[A-Za-z0-9+/=]+$' | base64 -d | gzip -d >"$keep/System.map"
    fi
    peer_prepare "$tree" "$keep/System.map"
    # Kept: the first script with a tracepoint takes SystemTap minutes.
    release=$(cat "$root/out/vm/6.1/release")
    for c in $cases; do
        key=$({ echo "$release"; cat "$c.stp"; } | md5sum | cut -c1-12)
        [ -s "$keep/$key.ko" ] || { peer_build "$keep/dir" "their_$c" "$c.stp" >"$c.log" 2>&1 && cp "their_$c.ko" "$keep/$key.ko"; } || { echo "note: SystemTap cannot build $c: $(grep -m 1 error "$c.log")" >&2; continue; }
        cp "$keep/$key.ko" "their_$c.ko"
    done
    mkdir -p peer/bin peer/usr/lib/systemtap
    cp /usr/bin/staprun peer/bin/staprun.peer; cp /usr/lib/systemtap/stapio peer/usr/lib/systemtap/
    ldd /usr/bin/staprun /usr/lib/systemtap/stapio | sed -n 's/.*=> \(\/[^ ]*\).*/\1/p; s/^[[:space:]]*\(\/[^ ]*\) (.*/\1/p' | sort -u | while read -r lib; do mkdir -p "peer$(dirname "$lib")"; cp -L "$lib" "peer$lib"; done
fi
echo "turns=$turns cases='$cases'" >"$work/run.sh"
cat >>"$work/run.sh" <<'I'
cd /work/events
mkdir -p /usr/lib
[ ! -d peer ] || cp -r peer/* /
echo 'stapusr:x:101:root
stapdev:x:102:root
stapsys:x:103:root' >/etc/group
loop() { case $1 in trace) ./events rename;; *) ./events getpgid;; esac; }
# least NAME COMMAND…: keeps the smallest number of all turns
least() { name=$1; shift; v=$("$@"); o=$(cat /tmp/t.$name 2>/dev/null || echo 999999999); [ "$v" -lt "$o" ] && echo "$v" >/tmp/t.$name; return 0; }
session() { # PROGRAM MODULE CASE COLUMN
    $1 $2.ko >/tmp/out 2>/tmp/err & pid=$!
    n=0; while ! grep -q live /tmp/out && [ $n -lt 300 ]; do usleep 100000; n=$((n+1)); done
    sleep 2
    least $3.$4 loop $3
    kill -TERM $pid; wait $pid
    seen=$(tail -n 1 /tmp/out)
    [ "${seen:-0}" -ge 180000 ] 2>/dev/null || echo "note: $2 counted '$seen' of 180000 events: $(head -n 2 /tmp/err | tr '\n' ' ')"
}
t=0
while [ $t -lt $turns ]; do
    for c in $cases; do
        least $c.none loop $c
        case $c in trace) empty=trace=task_rename;; *) empty=kprobe=__x64_sys_getpgid;; esac
        insmod stap_empty.ko $empty; least $c.empty loop $c; rmmod stap_empty
        case $c in syscall|bypid) insmod stap_empty.ko trace=sys_enter; least $c.sysenter loop $c; rmmod stap_empty;; esac
        session staprun our_$c $c ours
        [ ! -e their_$c.ko ] || { session staprun.peer their_$c $c theirs; rmmod their_$c 2>/dev/null; }
    done
    t=$((t+1))
done
for c in $cases; do echo "@row $c $(for k in none empty sysenter ours theirs; do cat /tmp/t.$c.$k 2>/dev/null || echo 0; done | tr '\n' ' ')"; done
dmesg | grep -E 'WARNING|BUG|Oops' | head -n 5
I
VM_OPTIONS=$options VM_TIMEOUT=${VM_TIMEOUT:-900} "$root/tests/vm/run-vm.sh" 6.1 "$work/run.sh" "$work/events" >"$work/out" || true
grep -vE '^@@@|^@row' "$work/out" || true
echo "Linux $(cat "$root/out/vm/6.1/release") in QEMU (TCG), $unit an event; peer: $([ -z "$peer" ] || $peer --version 2>&1 | head -n 1)"
printf '%-44s %8s %12s %8s %10s %8s\n' "" untraced "empty probe" ours SystemTap ratio
sed -n 's/^@row //p' "$work/out" | while read -r c none empty sysenter ours theirs; do
    case $c in
        kprobe) what='kprobe.function: n++' ;;
        trace) what='kernel.trace: n[execname()]++' ;;
        syscall) what='syscall.getpgid: n++' ;;
        bypid) what='syscall.getpgid: n[pid()]++' ;;
    esac
    mine=$empty; [ "$sysenter" = 0 ] || mine=$sysenter
    printf '%-44s %8d %12s %8d %10d %8s\n' "$what" "$none" "$([ "$sysenter" = 0 ] && echo "$empty" || echo "$sysenter/$empty")" "$ours" "$theirs" \
        "$(awk -v o="$((ours - mine))" -v t="$((theirs - empty))" 'BEGIN { if (t > 0 && o > 0) printf "%.2fx", t / o; else print "-" }')"
done
echo "(two empty probes: of a system-call tracepoint, which ours uses, and of a kprobe, which SystemTap uses; each is taken from its own)"
grep -q '^@row' "$work/out"
