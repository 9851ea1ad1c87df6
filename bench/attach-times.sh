#!/bin/bash
# How long it takes to attach and to detach probes on more than a thousand kernel functions, entries and returns, on both run-times, in one boot of a virtual machine (emulated: a real one is
# several times faster).
# usage: bench/attach-times.sh [6.1|6.12 [TURNS]]     default: Linux 6.12, 3 turns
# attach: from the begin handler to the target's exec; detach: from the target's exit to the end handler.
set -eu
root=$(dirname "$(dirname "$(readlink -f "$0")")")
kernel=${1:-6.12} turns=${2:-3}
"$root/build/build-stap.sh"
tree=$("$root/tests/vm/fetch-headers.sh" "$kernel")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/attach"
cd "$work/attach"
points() { echo "kernel.function(\"v[e-l]*\")$1, kernel.function(\"d[a-d]*\")$1, kernel.function(\"sk*\")$1, kernel.function(\"tc*\")$1"; }
for what in entry return; do
    suffix=.call; [ $what = entry ] || suffix=.return
    cat >$what.stp <<I
global n, t0, t1, t2, ran
probe $(points $suffix) { n++ }
probe kernel.trace("sched_process_exec") { if (pid() == target() && !t1) t1 = gettimeofday_us() }
probe kernel.trace("sched_process_exit") { if (pid() == target()) { t2 = gettimeofday_us() ran = n } }
probe begin { t0 = gettimeofday_us() }
probe end { printf("attach %d ms, detach %d ms, %s\n", (t1 - t0) / 1000, (gettimeofday_us() - t2) / 1000, ran > 0 ? "handlers ran" : "no handler ran") }
I
    "$root/out/stap" -w --runtime=kernel -r "$tree" -p4 -m attach_$what -DSTP_NO_OVERLOAD -DMAXSKIPPED=100000 $what.stp >/dev/null
done
cat >run.sh <<I
cd /work/attach
turns=$turns
echo "functions: \$(for p in 'v[e-l]*' 'd[a-d]*' 'sk*' 'tc*'; do stap -l "kernel.function(\"\$p\").call" 2>/dev/null; done | wc -l)"
I
cat >>run.sh <<'I'
t=0
while [ $t -lt $turns ]; do
    for what in entry return; do
        [ "$(uname -r | cut -d. -f1,2)" = 6.1 ] && [ $t != 0 ] || echo "bpf $what: $(stap -DSTP_NO_OVERLOAD -DMAXSKIPPED=100000 $what.stp -c 'exec /bin/dd if=/dev/zero of=/dev/null bs=1234 count=7' 2>&1 | grep ^attach | tr '\n' ' ')"
        echo "kernel $what: $(staprun -c 'exec /bin/dd if=/dev/zero of=/dev/null bs=1234 count=7' attach_$what.ko 2>&1 | grep ^attach | tr '\n' ' ')"
    done
    t=$((t+1))
done
I
VM_TIMEOUT=${VM_TIMEOUT:-900} "$root/tests/vm/run-vm.sh" "$kernel" run.sh "$work/attach" | grep -v '@@@'
