#!/bin/bash
# A module that stap signed with a key of the firmware's database (UEFI db) loads where the kernel enforces signatures and is locked down; others do not.
# usage: signed.sh 6.1|6.12
# Two boots with UEFI firmware (package ovmf): the first puts the certificate into the database, which is open as long as no platform key is set.
# Each check is a line 'PASS name' or 'FAIL name: output'; the exit status is 1 when one failed or is missing.
set -eu
want=${1:?usage: signed.sh 6.1|6.12}
root=$(dirname "$(dirname "$(dirname "$(readlink -f "$0")")")")
tree=$("$root/tests/vm/fetch-headers.sh" "$want")
firmware=/usr/share/OVMF
if [ ! -e $firmware/OVMF_CODE_4M.secboot.fd ]; then
    apt-get update -qq >/dev/null 2>&1 || true
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends ovmf >/dev/null 2>&1 || { echo "ERROR: package 'ovmf' is missing and could not be installed" >&2; exit 1; }
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/signed"
cd "$work/signed"
for key in known other; do
    openssl req -new -x509 -newkey rsa:2048 -nodes -sha256 -days 30 -subj "/CN=stap test $key" -keyout "$work/$key" -out "$work/$key.pem" 2>/dev/null
    SYSTEMTAP_SIGN_KEY=$work/$key SYSTEMTAP_SIGN_CERT=$work/$key.pem "$root/out/stap" --runtime=kernel -r "$tree" -p4 -m "${key}_key" -e 'probe begin { println("runs") exit() }' >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
done
SYSTEMTAP_NOSIGN=1 "$root/out/stap" --runtime=kernel -r "$tree" -p4 -m no_key -e 'probe begin { println("runs") exit() }' >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
openssl x509 -in "$work/known.pem" -outform DER -out "$work/known.der"

# The variable as efivarfs takes it: attributes (kept, visible to all, authenticated by time), an authentication without a signature, the list of one certificate.
le32() { printf '%b' "$(printf '\\x%02x\\x%02x\\x%02x\\x%02x' $(($1 & 255)) $(($1 >> 8 & 255)) $(($1 >> 16 & 255)) $(($1 >> 24 & 255)))"; }
size=$(stat -c %s "$work/known.der")
{
    le32 0x27
    printf '\xea\x07\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00'   # a time: 2026-01-01
    le32 24; printf '\x00\x02\xf1\x0e\x9d\xd2\xaf\x4a\xdf\x68\xee\x49\x8a\xa9\x34\x7d\x37\x56\x65\xa7'   # WIN_CERTIFICATE_UEFI_GUID, PKCS#7, empty
    printf '\xa1\x59\xc0\xa5\xe4\x94\xa7\x4a\x87\xb5\xab\x15\x5c\x2b\xf0\x72'   # EFI_CERT_X509_GUID
    le32 $((28 + 16 + size)); le32 0; le32 $((16 + size))
    printf 'stap test owner!'
    cat "$work/known.der"
} >"$work/signed/db"
# efivarfs is a module in Debian's kernels.
module=$(find "$root/out/vm/$want/image/" -name 'efivarfs.ko*' | head -n 1)
case $module in *.xz) xz -dc "$module" >"$work/signed/efivarfs.ko" ;; *) cp "$module" "$work/signed/efivarfs.ko" ;; esac
cp $firmware/OVMF_VARS_4M.fd "$work/vars"
# TCG's long mode needs the q35 machine for the firmware's management mode.
export VM_OPTIONS="-machine q35,smm=on -global driver=cfi.pflash01,property=secure,value=on -drive if=pflash,format=raw,unit=0,readonly=on,file=$firmware/OVMF_CODE_4M.secboot.fd -drive if=pflash,format=raw,unit=1,file=$work/vars"
boot() { VM_APPEND=$1 "$root/tests/vm/run-vm.sh" "$want" "$work/run.sh" "$work/signed" | tr -d '\033' | grep -v '@@@' | tee -a "$work/out"; }
cat >"$work/run.sh" <<'I'
insmod /work/signed/efivarfs.ko
mount -t efivarfs efivarfs /sys/firmware/efi/efivars || echo "FAIL enrolled: no efivarfs"
dd if=/work/signed/db of=/sys/firmware/efi/efivars/db-d719b2cb-3d3a-4596-a3bc-dad00e67656f bs=64k 2>/tmp/err && echo "PASS enrolled" || echo "FAIL enrolled: $(cat /tmp/err)"
I
boot ''
cat >"$work/run.sh" <<'I'
mount -t securityfs securityfs /sys/kernel/security
cd /work/signed
cat /sys/module/module/parameters/sig_enforce /sys/kernel/security/lockdown
out=$(staprun known_key.ko 2>&1) && [ "$out" = runs ] && echo "PASS trusted" || echo "FAIL trusted: $out $(dmesg | tail -n 5)"
for module in other_key no_key; do
    out=$(staprun $module.ko 2>&1) && echo "FAIL $module: $out" || { echo "$out" | grep -qF "ERROR: module '$module' cannot be loaded: the kernel loads signed modules only (module.sig_enforce)" && echo "PASS $module" || echo "FAIL $module: $out"; }
done
I
boot 'module.sig_enforce=1 lockdown=integrity'
[ "$(grep -c '^PASS ' "$work/out")" = 4 ] && ! grep -q '^FAIL ' "$work/out"
