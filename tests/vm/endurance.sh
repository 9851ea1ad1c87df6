#!/bin/bash
# Long safety runs of the kernel-module runtime in one boot of a virtual machine; about 20 minutes with the usual numbers.
# usage: endurance.sh 6.1|6.12 [CYCLES [SECONDS]]     1000 loads and unloads, 300 s of full load
# Each check is a line 'PASS name: numbers' or 'FAIL name: numbers'; the exit status is 1 when one failed or is missing.
#   cycles     load, run with probes of every kind, unload; then memory as before. What the first cycles take for caches is taken once; so the second
#              half of the cycles must not take anything: at most 256 KB and 256 bytes a cycle
#   functions  few sessions with 1,500 kernel functions each: 12 KB of addresses that staprun hands over, which must go with the module
#   load       two busy CPUs: each call is counted, put into an array and an aggregate, checked under a lock and printed; exact to the unit
#   killed     staprun killed while events come; the next start removes what it left
#   memory     scripts that want more than there is are refused at start, nobody else is killed for them
#   log        nothing in the kernel log but the lines about out-of-tree modules, of this script's drop_caches and of slow emulated timers and clocks
set -eu
want=${1:?usage: endurance.sh 6.1|6.12 [CYCLES [SECONDS]]}
cycles=${2:-1000} seconds=${3:-300}
root=$(dirname "$(dirname "$(dirname "$(readlink -f "$0")")")")
tree=$("$root/tests/vm/fetch-headers.sh" "$want")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/endurance"
cd "$work/endurance"
build() { SYSTEMTAP_NOSIGN=1 "$root/out/stap" --runtime=kernel -r "$tree" -p4 -DSTP_NO_OVERLOAD -DMAXSKIPPED=2000000000 "${@:2}" -m "$1" "$1.stp" >"$1.log" 2>&1 || { cat "$1.log" >&2; exit 1; }; }
cat >cycle.stp <<'P'
global n, by, s
probe begin { n = 0 }
probe syscall.read { n++ by[execname()]++ }
probe syscall.read.return { n++ }
probe kernel.trace("sched_switch") { s <<< cpu() }
probe kprobe.function("vfs_read") { n++ }
probe kprobe.function("vfs_write").return { n++ }
probe timer.profile { n++ }
probe perf.sw.cpu_clock { n++ }
probe process.begin { n++ }
probe timer.ms(5) { if (n > 0) exit() }
probe end { foreach (e in by) n += by[e]  println(n > 0, @count(s) >= 0) }
P
cat >soak.stp <<'P'
global seen, all, by, sizes, a, b, broken
probe kernel.trace("sys_enter") {
  if ($id != 110 || !target_set_pid(pid())) next
  seen++
  by[tid(), $id]++
  sizes[cpu()] <<< $id
  a++; b++
  if (a != b) broken++
  printf("%d\n", cpu())
}
probe timer.ms(100) { foreach ([t, i] in by) all += by[t, i]  delete by }
probe end { foreach ([t, i] in by) all += by[t, i]  printf("seen %d %d %d\n", seen, all, broken) delete sizes }
P
echo 'probe begin { println("begin") } probe syscall.* { n = pid() } probe kernel.trace("sched_switch") { n = pid() }' >killed.stp
# Each function many times, for what staprun hands over is as long as the list of probes; only few need to be looked up.
{ echo 'global n'; for i in $(seq 1 40); do echo 'probe kernel.function("vfs_[a-r]*") { n++ }'; done; echo 'probe timer.ms(1) { exit() } probe end { println(n >= 0) }'; } >functions.stp
for k in 100000 1000000 4000000 16000000 60000000; do echo "global a[$k] probe begin { a[1] = 1 println(a[1]) exit() }" >"want$k.stp"; build "want$k"; done
echo "global a[4000000], b[4000000], c[4000000], d[4000000], e[4000000] probe begin { a[1] = b[1] = c[1] = d[1] = e[1] = 1 println(a[1] + b[1] + c[1] + d[1] + e[1]) exit() }" >many.stp
build cycle; build functions; build soak; build killed; build many
gcc -O2 -static -o load "$root/bench/soak.c"
cat >"$work/run.sh" <<I
cd /work/endurance
cycles=$cycles seconds=$seconds
I
cat >>"$work/run.sh" <<'I'
check() { if [ "$2" = 1 ]; then echo "PASS $1: $3"; else echo "FAIL $1: $3"; fi; }
# KB that the kernel holds itself: all, slab, vmalloc, per-CPU data. All is what is neither free nor of programs and files. Each CPU keeps megabytes of free pages
# in lists of its own, which MemFree and MemAvailable do not count: they stand in zoneinfo.
memory() {
    sync; echo 3 >/proc/sys/vm/drop_caches; sleep 2; echo 3 >/proc/sys/vm/drop_caches
    lists=$(awk '/^ +count: / { n += $2 } END { print 4 * n }' /proc/zoneinfo)
    awk -v lists="$lists" '{ kb[$1] = $2 } END { print kb["MemTotal:"] - kb["MemFree:"] - lists - kb["AnonPages:"] - kb["Cached:"] - kb["Buffers:"], kb["Slab:"], kb["VmallocUsed:"], kb["Percpu:"] }' /proc/meminfo
}
field() { echo "$2" | cut -d' ' -f"$1"; }
# compare NAME BEFORE AFTER ALL: the kernel's memory may not grow by more than ALL KB, that of per-CPU data and vmalloc not at all (64 KB)
compare() {
    all=$(( $(field 1 "$3") - $(field 1 "$2") )) slab=$(( $(field 2 "$3") - $(field 2 "$2") )) vmalloc=$(( $(field 3 "$3") - $(field 3 "$2") )) percpu=$(( $(field 4 "$3") - $(field 4 "$2") ))
    [ $all -lt $4 ] && [ $slab -lt $4 ] && [ $vmalloc -lt 64 ] && [ $percpu -lt 64 ] && good=1 || good=0
    check "$1" $good "kernel memory +$all KB (allowed $4), of it slab +$slab KB, vmalloc +$vmalloc KB, per-CPU +$percpu KB"
}
dmesg -c >/dev/null
i=0; while [ $i -lt 20 ]; do staprun cycle.ko >/dev/null 2>&1; i=$((i+1)); done
before=$(memory)
half=$before failed=0 i=0 from=$(date +%s)
while [ $i -lt $cycles ]; do
    [ "$(staprun cycle.ko 2>/tmp/err)" = 11 ] || { failed=$((failed+1)); head -n 3 /tmp/err; }
    i=$((i+1))
    [ $i != $((cycles / 2)) ] || half=$(memory)
done
check cycles $((failed == 0)) "$cycles cycles in $(( $(date +%s) - from )) s, $failed failed"
after=$(memory)
compare cycles-memory "$before" "$after" 4096
compare cycles-growth "$half" "$after" $((256 + cycles / 8))

i=0; while [ $i -lt 5 ]; do staprun functions.ko >/dev/null 2>&1; i=$((i+1)); done
before=$(memory) failed=0 i=0
while [ $i -lt 25 ]; do [ "$(staprun functions.ko 2>/tmp/err)" = 1 ] || { failed=$((failed+1)); head -n 3 /tmp/err; }; i=$((i+1)); done
check functions $((failed == 0)) "25 sessions, $failed failed"
after=$(memory)
compare functions-memory "$before" "$after" 160

before=$(memory)
staprun -c "/work/endurance/load $seconds" soak.ko 2>/tmp/err | awk '/^seen/ { print; next } { n++ } END { print "lines " n+0 }' >/tmp/out
cat /tmp/out /tmp/err
calls=$(sed -n 's/^calls: //p' /tmp/err)
set -- $(sed -n 's/^seen //p' /tmp/out); seen=${1:-0} all=${2:-0} broken=${3:-1}
lines=$(sed -n 's/^lines //p' /tmp/out)
skipped=$(sed -n 's/.*skipped probes: \([0-9]*\).*/\1/p' /tmp/err); lost=$(sed -n 's/.*Lost output.*: \([0-9]*\)$/\1/p' /tmp/err)
check load $(( calls == seen + ${skipped:-0} && seen == all && seen == lines + ${lost:-0} && broken == 0 && calls > 1000 )) \
    "$seconds s, calls $calls = seen $seen + skipped ${skipped:-0}; in the array $all; printed $lines + lost ${lost:-0}; broken $broken"
after=$(memory)
compare load-memory "$before" "$after" 4096

good=1 i=0
while [ $i -lt 20 ]; do
    staprun killed.ko >/tmp/out 2>&1 & pid=$!
    n=0; while ! grep -q begin /tmp/out && [ $n -lt 100 ]; do usleep 100000; n=$((n+1)); done
    kill -9 $pid; wait $pid 2>/dev/null
    grep -q '^killed ' /proc/modules || { good=0; echo "the module went with staprun"; }
    i=$((i+1))
done
[ "$(staprun cycle.ko)" = 11 ] || good=0
grep -q '^killed ' /proc/modules && good=0
check killed $good "staprun killed 20 times, modules left: $(grep -c -E '^(killed|cycle) ' /proc/modules)"

sleep 10000 & bystander=$!
good=1 said=""
for module in want100000 want1000000 want4000000 want16000000 want60000000 many; do
    out=$(staprun $module.ko 2>/tmp/err); status=$?
    if [ $status = 0 ]; then said="$said $module ran,"
    elif grep -q 'not enough memory' /tmp/err; then said="$said $module refused,"
    else good=0; said="$said $module: status $status $(head -n 1 /tmp/err),"; fi
done
staprun -b 1000 cycle.ko >/dev/null 2>/tmp/err && good=0
grep -q 'not enough memory' /tmp/err || { good=0; cat /tmp/err; }
kill -0 $bystander || good=0
echo "$said" | grep -q 'want100000 ran' || good=0
echo "$said" | grep -q 'want60000000 refused' || good=0
check memory $good "$said"
kill $bystander
after2=$(memory)
compare memory-memory "$after" "$after2" 4096
dmesg | grep -vE 'loading out-of-tree module taints|module verification failed|drop_caches|hrtimer: interrupt took|clocksource: (timekeeping watchdog on CPU|wd-tsc-wd read-back delay)' >/tmp/log
check log $(( $(wc -l </tmp/log) == 0 )) "$(wc -l </tmp/log) lines"
head -n 40 /tmp/log
I
VM_TIMEOUT=${VM_TIMEOUT:-$((600 + cycles * 3 + seconds * 2))} "$root/tests/vm/run-vm.sh" "$want" "$work/run.sh" "$work/endurance" >"$work/out" || true
grep -v '^@@@' "$work/out" || true
[ "$(grep -c '^PASS ' "$work/out")" = 11 ] && ! grep -q '^FAIL ' "$work/out"
