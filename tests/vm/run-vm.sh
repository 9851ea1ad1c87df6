#!/bin/sh
# Boots a Debian kernel under QEMU (TCG, one thread: the developers' machines have no usable KVM) and runs shell commands in it.
# usage: run-vm.sh 6.1|6.12 FILE.sh [folder to copy to /work ...]
# The guest has busybox, /stap/out/stap, /stap/tapset and the folders given; FILE.sh runs as root; its output comes to standard output between marker lines.
set -eu
want=${1:?usage: run-vm.sh 6.1|6.12 FILE.sh [folder...]}
script=$(readlink -f "${2:?usage: run-vm.sh 6.1|6.12 FILE.sh [folder...]}")
shift 2
root=$(dirname "$(dirname "$(dirname "$(readlink -f "$0")")")")
for tool in qemu-system-x86_64:qemu-system-x86 busybox:busybox-static cpio:cpio; do
    if ! command -v "${tool%%:*}" >/dev/null 2>&1; then
        apt-get update -qq >/dev/null 2>&1 || true
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${tool##*:}" >/dev/null 2>&1 ||
            { echo "ERROR: package '${tool##*:}' is missing and could not be installed" >&2; exit 1; }
    fi
done
kernel=$("$root/tests/vm/fetch-kernel.sh" "$want")
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT INT TERM
mkdir -p "$stage/fs/bin" "$stage/fs/proc" "$stage/fs/sys" "$stage/fs/dev" "$stage/fs/tmp" "$stage/fs/root" "$stage/fs/stap/out" "$stage/fs/work" "$stage/fs/etc" "$stage/fs/var/tmp"
cp "$(command -v busybox)" "$stage/fs/bin/busybox"
cp "$root/out/stap" "$stage/fs/stap/out/stap"
cp -r "$root/tapset" "$stage/fs/stap/tapset"
for binary in "$root/out/stap"; do
    ldd "$binary" | sed -n 's/.*=> \(\/[^ ]*\).*/\1/p; s/^[[:space:]]*\(\/[^ ]*\) (.*/\1/p' | while read -r lib; do
        mkdir -p "$stage/fs$(dirname "$lib")"
        cp -L "$lib" "$stage/fs$lib"
    done
done
for folder in "$@"; do cp -r "$folder" "$stage/fs/work/"; done
cp "$script" "$stage/fs/work.sh"
echo 'root:x:0:0:root:/root:/bin/sh' > "$stage/fs/etc/passwd"
cat > "$stage/fs/init" <<'I'
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev; mount -t tmpfs tmp /tmp
mount -t debugfs debugfs /sys/kernel/debug; mount -t tracefs tracefs /sys/kernel/tracing; mount -t bpf bpf /sys/fs/bpf
export HOME=/root PATH=/bin:/stap/out
echo "@@@ begin"
sh /work.sh 2>&1
echo "@@@ end"
poweroff -f
I
chmod +x "$stage/fs/init"
(cd "$stage/fs" && find . | cpio -o -H newc --quiet | gzip -1) > "$stage/initramfs.gz"
timeout "${VM_TIMEOUT:-300}" qemu-system-x86_64 -accel tcg,thread=single -cpu max -smp "${VM_CPUS:-2}" -m "${VM_MEMORY:-1024}" -nographic -no-reboot \
    -kernel "$kernel" -initrd "$stage/initramfs.gz" -append "console=ttyS0 quiet loglevel=3 panic=-1 nokaslr" < /dev/null |
    tr -d '\r' | sed -n '/@@@ begin/,/@@@ end/p'
