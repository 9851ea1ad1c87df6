#!/bin/sh
# Boots a Debian kernel under QEMU (TCG, one thread: the developers' machines have no usable KVM) and runs shell commands in it.
# usage: run-vm.sh 6.1|6.12 FILE.sh [folder to copy to /work ...]
# The guest has busybox, /stap/out/{stap,staprun}, /stap/tapset and the folders given; FILE.sh runs as root; its output comes to standard output between marker lines.
set -eu
want=${1:?usage: run-vm.sh 6.1|6.12 FILE.sh [folder...]}
script=$(readlink -f "${2:?usage: run-vm.sh 6.1|6.12 FILE.sh [folder...]}")
shift 2
root=$(dirname "$(dirname "$(dirname "$(readlink -f "$0")")")")
. "$root/tests/vm/stage.sh"
for folder in "$@"; do cp -r "$folder" "$fs/work/"; done
cp "$script" "$fs/work.sh"
boot | tr -d '\r' | sed -n '/@@@ begin/,/@@@ end/p'
