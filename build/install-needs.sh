#!/bin/sh
# Installs what building or testing needs beyond the .NET SDK, from the distribution's packages. Says what is missing when it may not install.
# usage: install-needs.sh build|test|bench|peer
set -u
missing="" # without these it cannot be done
wanted=""  # without these, parts are left out
need() { # need COMMAND PACKAGE
    command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}
if ! command -v dotnet >/dev/null 2>&1; then
    echo "ERROR: the .NET SDK 10 is not installed: no 'dotnet' on PATH; install it, then run this again" >&2
    exit 1
fi
case ${1:-build} in
    build) command -v clang >/dev/null 2>&1 || need gcc gcc
           [ -e /usr/include/zlib.h ] || missing="$missing zlib1g-dev" ;;
    test)  need gcc gcc; need g++ g++; need objcopy binutils; need strace strace
           # Programs that tests probe: marks, and the reader of debug information.
           ls /usr/include/sys/sdt.h /usr/include/*/sys/sdt.h 2>/dev/null | grep -q . || missing="$missing systemtap-sdt-dev"
           ls /usr/lib/*/libdw.so.1 /lib/*/libdw.so.1 /usr/lib/libdw.so.1 /usr/lib64/libdw.so.1 2>/dev/null | grep -q . || missing="$missing libdw1"
           # 32-bit programs to probe, where the machine runs them.
           [ "$(uname -m)" != x86_64 ] || echo 'int main(void) { return 0; }' | gcc -m32 -x c -o /dev/null - 2>/dev/null || wanted="$wanted gcc-multilib"
           # Virtual machines: kernels and headers are unpacked below out/vm, not installed (tests/vm).
           need qemu-system-x86_64 qemu-system-x86; need busybox busybox-static; need cpio cpio; need make make; need xz xz-utils; need zstd zstd ;;
    bench) need bpftrace bpftrace ;;
    peer)  need /usr/bin/stap systemtap ;;
esac
may_install() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; }
updated=""
install() { # install PACKAGE…
    echo "installing: $*" >&2
    [ -n "$updated" ] || apt-get update -qq >/dev/null 2>&1
    updated=1
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>&1
}
# shellcheck disable=SC2086 # the lists are made of words
[ -z "$wanted" ] || { may_install && install $wanted; } || echo "note: going on without$wanted" >&2
[ -n "$missing" ] || exit 0
if ! may_install; then
    echo "ERROR: missing packages:$missing; install them (apt-get install$missing), then run this again" >&2
    exit 1
fi
# shellcheck disable=SC2086 # the list is made of words
if ! install $missing; then
    echo "ERROR: apt-get could not install:$missing; install them by hand, then run this again" >&2
    exit 1
fi
