#!/bin/sh
# Gets the headers (build tree) of the kernel that fetch-kernel.sh got: fetch-headers.sh 6.1|6.12 prints the path of the build tree.
# Nothing is installed: the packages are unpacked below out/vm, and the two absolute paths in them are made to point there.
set -eu
want=${1:?usage: fetch-headers.sh 6.1|6.12}
root=$(dirname "$(dirname "$(dirname "$(readlink -f "$0")")")")
dir="$root/out/vm/$want"
"$root/tests/vm/fetch-kernel.sh" "$want" >/dev/null
release=$(cat "$dir/release")
tree="$dir/headers/usr/src/linux-headers-$release"
if [ -e "$dir/headers/done" ]; then echo "$tree"; exit 0; fi
exec 9>"$dir/.lock"
if command -v flock >/dev/null 2>&1; then flock 9; fi
if [ -e "$dir/headers/done" ]; then echo "$tree"; exit 0; fi
rm -rf "$dir/headers" "$dir/dl"
mkdir -p "$dir/dl" "$dir/headers"
opts="-o Dir::Etc::sourcelist=- -o Dir::Etc::sourceparts=$dir/apt -o Dir::State::lists=$dir/apt/lists -o Dir::Cache::archives=$dir/apt/archives -o APT::Get::List-Cleanup=0 -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache="
# shellcheck disable=SC2086 # words
[ -n "$(ls "$dir/apt/lists"/*Packages* 2>/dev/null)" ] || apt-get $opts update -qq >"$dir/apt.log" 2>&1 || true
# shellcheck disable=SC2086
packages=$(apt-cache $opts depends "linux-headers-$release" 2>/dev/null | sed -n 's/^ *Depends: \(linux-headers-.*\|linux-kbuild-.*\)/\1/p')
if [ -z "$packages" ]; then echo "ERROR: the headers of kernel '$release' are not in the package lists; remove $dir and run this again" >&2; exit 1; fi
cd "$dir/dl"
# shellcheck disable=SC2086
apt-get $opts download -qq "linux-headers-$release" $packages >>"$dir/apt.log" 2>&1
for package in *.deb; do dpkg -x "$package" "$dir/headers"; done
cd "$dir"; rm -rf "$dir/dl"
# The build tools of a newer release may need a newer C library than this machine has: then that release's libraries stand beside them, and
# each tool becomes a script that starts it with them.
tools=$(echo "$dir"/headers/usr/lib/linux-kbuild-*)
newer=$(find "$tools" -type f -perm -u+x | while read -r tool; do
    if [ "$(head -c 4 "$tool" | tail -c 3)" = ELF ] && "$tool" </dev/null 2>&1 | grep -q "GLIBC_.* not found"; then echo "$tool"; fi
done)
if [ -n "$newer" ]; then
    mkdir -p "$dir/dl"; cd "$dir/dl"
    # shellcheck disable=SC2086
    apt-get $opts download -qq libc6 libelf1t64 zlib1g libzstd1 libssl3t64 >>"$dir/apt.log" 2>&1
    for package in *.deb; do dpkg -x "$package" "$dir/libs"; done
    cd "$dir"; rm -rf "$dir/dl"
    libs="$dir/libs/usr/lib/x86_64-linux-gnu"
    for tool in $newer; do
        mv "$tool" "$tool.elf"
        printf '#!/bin/sh\nexec "%s" --library-path "%s" "%s" "$@"\n' "$libs/ld-linux-x86-64.so.2" "$libs" "$tool.elf" > "$tool"
        chmod +x "$tool"
    done
fi
# 6.1's kbuild package lies below /usr/lib, and its link names /usr/lib/..; both spellings work below headers/.
sed -i "s|/usr/src/|$dir/headers/usr/src/|g" "$tree/Makefile"
touch "$dir/headers/done"
echo "$tree"
