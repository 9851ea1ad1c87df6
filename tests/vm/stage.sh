# Sourced by run-vm.sh and run-cases.sh: what both put into the virtual machine's initramfs, and how they boot it.
# Expects: root (of the tree), want (kernel). Sets: kernel, stage (removed at exit).
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
fs="$stage/fs"
mkdir -p "$fs/bin" "$fs/proc" "$fs/sys" "$fs/dev" "$fs/tmp" "$fs/root" "$fs/stap/out" "$fs/work" "$fs/etc" "$fs/var/tmp" "$fs/run"
cp "$(command -v busybox)" "$fs/bin/busybox"
cp -r "$root/tapset" "$fs/stap/tapset"
# The kernel's configuration lies where its package puts it (%( CONFIG_… %) reads it).
mkdir -p "$fs/boot"
cp "$(dirname "$kernel")"/image/boot/config-* "$fs/boot/"
# A dynamically linked program with its libraries: add_program FILE FOLDER
add_program() {
    cp "$1" "$fs$2/"
    ldd "$1" 2>/dev/null | sed -n 's/.*=> \(\/[^ ]*\).*/\1/p; s/^[[:space:]]*\(\/[^ ]*\) (.*/\1/p' | while read -r lib; do
        [ -e "$fs$lib" ] || { mkdir -p "$fs$(dirname "$lib")"; cp -L "$lib" "$fs$lib"; }
    done
}
for program in stap staprun stap-launch; do
    [ ! -x "$root/out/$program" ] || add_program "$root/out/$program" /stap/out
done
# Programs whose busybox stand-ins lack options that cases use.
for program in nice printf prlimit setpriv setsid; do
    path=$(command -v "/usr/bin/$program" || command -v "/bin/$program" || true)
    [ -z "$path" ] || add_program "$path" /bin
done
# Debug information is read by elfutils' libdw, which stap loads when it needs it.
libdw=$(ldconfig -p 2>/dev/null | sed -n 's/.*libdw\.so\.1 .*=> //p' | head -n 1)
[ -z "$libdw" ] || { mkdir -p "$fs$(dirname "$libdw")"; add_program "$libdw" "$(dirname "$libdw")"; }
echo 'root:x:0:0:root:/root:/bin/sh' > "$fs/etc/passwd"
cat > "$fs/init" <<'I'
#!/bin/busybox sh
/bin/busybox --install -s /bin; mkdir -p /usr; [ -e /usr/bin ] || ln -s /bin /usr/bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev; mount -t tmpfs tmp /tmp
mount -t debugfs debugfs /sys/kernel/debug; mount -t tracefs tracefs /sys/kernel/tracing; mount -t bpf bpf /sys/fs/bpf
mkdir -p /run/lock
ln -s /proc/self/fd /dev/fd
ip link set lo up
export HOME=/root PATH=/bin:/stap/out LC_ALL=C
echo "@@@ begin"
sh /work.sh 2>&1
echo "@@@ end"
poweroff -f
I
chmod +x "$fs/init"
# The guest's clock is the host's time-stamp counter, the same for both CPUs. A kernel that tests this finds them apart under emulation (6.1 does),
# and measures a second CPU's delay loop as nearly nothing, so that its udelay() returns at once: both are told instead.
clock="tsc=reliable"
mhz=$(sed -n 's/^cpu MHz[[:space:]]*: *\([0-9]*\).*/\1/p' /proc/cpuinfo | head -n 1)
[ -z "$mhz" ] || clock="$clock lpj=$((mhz * 4000))"
# Packs the stage and boots; console on standard output. boot [more qemu options]; VM_OPTIONS has more of them, too, VM_MEMORY other MB than the files ask for, and VM_APPEND more words for the kernel.
# shellcheck disable=SC2086
boot() {
    (cd "$fs" && find . | cpio -o -H newc --quiet | gzip -1) > "$stage/initramfs.gz"
    # The files are in memory packed and unpacked; a thousand modules are more than half of the usual size.
    memory=$(($(du -sm "$fs" | cut -f 1) * 2 + 512))
    [ "$memory" -ge 1024 ] || memory=1024
    timeout "${VM_TIMEOUT:-300}" qemu-system-x86_64 -accel tcg,thread=single -cpu max -smp "${VM_CPUS:-2}" -m "${VM_MEMORY:-$memory}" -nographic -monitor none -no-reboot \
        -kernel "$kernel" -initrd "$stage/initramfs.gz" -append "console=ttyS0 quiet loglevel=${VM_LOGLEVEL:-3} panic=-1 nokaslr $clock ${VM_APPEND:-}" ${VM_OPTIONS:-} "$@" < /dev/null
}
