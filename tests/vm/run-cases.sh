#!/bin/sh
# Runs many cases in one boot of a virtual machine.
# usage: run-cases.sh 6.1|6.12 FOLDER
# Each sub-folder of FOLDER is a case (in the order of their names); its file 'cmd' is run by sh, as root, in that folder, and killed after CASE_SECONDS (60).
# A program 'name.prog' in FOLDER itself is put on the guest's PATH as 'name', with its libraries.
# For each case four lines come to standard output, also when the machine dies in a later one:
#   @@case NAME STATUS CENTISECONDS      status of cmd; 137 when it was killed
#   @@out BASE64                         its standard output
#   @@err BASE64                         its standard error
#   @@log BASE64                         the kernel log of the case if it holds a warning, an oops or the like; else empty
set -eu
want=${1:?usage: run-cases.sh 6.1|6.12 FOLDER}
cases=$(readlink -f "${2:?usage: run-cases.sh 6.1|6.12 FOLDER}")
root=$(dirname "$(dirname "$(dirname "$(readlink -f "$0")")")")
. "$root/tests/vm/stage.sh"
mkdir -p "$fs/cases"
for entry in "$cases"/*; do
    case $entry in
        *.prog) add_program "$entry" /bin; mv "$fs/bin/${entry##*/}" "$fs/bin/$(basename "$entry" .prog)" ;;
        *) cp -r "$entry" "$fs/cases/" ;;
    esac
done
cat > "$fs/work.sh" <<I
stty -F /dev/ttyS1 raw 2>/dev/null
exec >/dev/ttyS1 2>&1
dmesg -c >/tmp/boot.log
echo "@@booted \$(uname -r)"
for dir in /cases/*; do
    name=\${dir##*/}
    cd "\$dir"
    set -- \$(cat /proc/uptime); from=\$1
    timeout -s KILL ${CASE_SECONDS:-60} sh ./cmd >/tmp/out 2>/tmp/err </dev/null
    status=\$?
    if [ \$status = 137 ]; then killall -q -9 stap staprun stap-launch; fi
    set -- \$(cat /proc/uptime); to=\$1
    dmesg -c >/tmp/log
    echo "@@case \$name \$status \$(( \$(echo \$to | tr -d .) - \$(echo \$from | tr -d .) ))"
    echo "@@out \$(base64 -w 0 /tmp/out)"
    echo "@@err \$(base64 -w 0 /tmp/err)"
    if grep -qE 'WARNING|BUG|Oops|Call Trace|general protection| stall|unpatched|refcount_t|scheduling while atomic|already registered' /tmp/log; then echo "@@log \$(base64 -w 0 /tmp/log)"; else echo "@@log"; fi
done
echo "@@done"
I
mkfifo "$stage/results"
cat "$stage/results" | tr -d '\r' &
reader=$!
VM_LOGLEVEL=${VM_LOGLEVEL:-4} boot -serial stdio -serial "file:$stage/results" > "$stage/console" || true
wait $reader
# The console's tail tells why, when the machine did not come to its end.
sed -n '/@@@ begin/,$p' "$stage/console" | tr -d '\r' | grep -v '^@@@' | tail -n 60 | sed 's/^/@@console /'
