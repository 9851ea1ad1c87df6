#!/bin/bash
# What staprun says when the kernel loads no module of ours: boots of a virtual machine that enforces signatures, that is locked down, and that asks for nothing.
# usage: refusals.sh 6.1|6.12
# Each check is a line 'PASS name' or 'FAIL name: output'; the exit status is 1 when one failed or is missing.
set -eu
want=${1:?usage: refusals.sh 6.1|6.12}
root=$(dirname "$(dirname "$(dirname "$(readlink -f "$0")")")")
tree=$("$root/tests/vm/fetch-headers.sh" "$want")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/refusals"
cd "$work/refusals"
openssl req -new -x509 -newkey rsa:2048 -nodes -sha256 -days 30 -subj '/CN=stap test' -keyout "$work/key" -out "$work/certificate" 2>/dev/null
build() { SYSTEMTAP_NOSIGN=$2 SYSTEMTAP_SIGN_KEY=$work/key SYSTEMTAP_SIGN_CERT=$work/certificate "$root/out/stap" --runtime=kernel -r "$tree" -p4 -m "$1" -e 'probe begin { println("runs") exit() }' >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }; }
build unsigned 1
build signed ''
cat >"$work/checks.sh" <<'I'
# refused NAME MODULE TEXT HINT: one error line with the text, one hint with that text, nothing of the script runs
refused() {
    staprun "$2.ko" >/tmp/out 2>&1; status=$?
    if [ $status = 1 ] && [ "$(wc -l </tmp/out)" = 2 ] && sed -n 1p /tmp/out | grep -qF "ERROR: module '$2' cannot be loaded: $3" && sed -n 2p /tmp/out | grep -qF "$4" && ! grep -q "^$2 " /proc/modules
    then echo "PASS $1"; else echo "FAIL $1: status $status: $(tr '\n' '|' </tmp/out)"; fi
}
mount -t securityfs securityfs /sys/kernel/security
cd /work/refusals
I
boot() { VM_APPEND=$1 "$root/tests/vm/run-vm.sh" "$want" "$work/run.sh" "$work/refusals" | grep -v '^@@@' | tee -a "$work/out"; }
{ cat "$work/checks.sh"; cat <<'I'
refused enforced-unsigned unsigned 'the kernel loads signed modules only (module.sig_enforce) and this one has no signature' 'set SYSTEMTAP_SIGN_KEY and SYSTEMTAP_SIGN_CERT'
refused enforced-unknown signed "the kernel loads signed modules only (module.sig_enforce) and does not know the key of this one's signature" "mokutil --import CERTIFICATE"
echo 1 >/proc/sys/kernel/modules_disabled
refused disabled signed 'loading of modules is switched off (kernel.modules_disabled)' 'restart the machine without that setting'
I
} >"$work/run.sh"
boot module.sig_enforce=1
{ cat "$work/checks.sh"; cat <<'I'
refused lockdown-unsigned unsigned 'the kernel is locked down (secure boot) and this one has no signature' 'set SYSTEMTAP_SIGN_KEY'
refused lockdown-unknown signed "the kernel is locked down (secure boot) and does not know the key of this one's signature" "mokutil --import CERTIFICATE"
I
} >"$work/run.sh"
boot lockdown=integrity
{ cat "$work/checks.sh"; cat <<'I'
# A signature of an unknown key does no harm where none is asked for.
[ "$(staprun signed.ko 2>&1)" = runs ] && [ "$(staprun unsigned.ko 2>&1)" = runs ] && echo "PASS free" || echo "FAIL free"
I
} >"$work/run.sh"
boot ''
[ "$(grep -c '^PASS ' "$work/out")" = 6 ] && ! grep -q '^FAIL ' "$work/out"
