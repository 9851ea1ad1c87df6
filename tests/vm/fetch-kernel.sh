#!/bin/sh
# Gets a Debian kernel image for the virtual machine: fetch-kernel.sh 6.1|6.12 prints the path of its vmlinuz (and leaves its modules folder beside it).
# 6.1 is Debian 12's, 6.12 Debian 13's; the latter comes from the suite 'trixie' of the mirror that this machine's apt already uses.
set -eu
want=${1:?usage: fetch-kernel.sh 6.1|6.12}
root=$(dirname "$(dirname "$(dirname "$(readlink -f "$0")")")")
dir="$root/out/vm/$want"
if [ -e "$dir/vmlinuz" ]; then echo "$dir/vmlinuz"; exit 0; fi
mkdir -p "$dir/apt/lists/partial" "$dir/apt/archives/partial"
case $want in
    6.1) suite=bookworm ;;
    6.12) suite=trixie ;;
    *) echo "ERROR: no such kernel: '$want'; 6.1 and 6.12 are known" >&2; exit 1 ;;
esac
# The machine's own sources with the suite's name replaced; backports and the like are left out.
for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
    [ -r "$f" ] || continue
    case $f in *.sources) kind=sources ;; *) kind=list ;; esac
    sed -E "s/\b(bookworm|trixie)\b/$suite/g" "$f" > "$dir/apt/debian-$(basename "$f" | tr -c 'a-z\n' _).$kind"
done
opts="-o Dir::Etc::sourcelist=- -o Dir::Etc::sourceparts=$dir/apt -o Dir::State::lists=$dir/apt/lists -o Dir::Cache::archives=$dir/apt/archives -o APT::Get::List-Cleanup=0 -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache="
# shellcheck disable=SC2086 # words
apt-get $opts update -qq >"$dir/apt.log" 2>&1 || true
# shellcheck disable=SC2086
package=$(apt-cache $opts depends linux-image-amd64 2>/dev/null | sed -n 's/ *Depends: \(linux-image-[0-9].*\)/\1/p' | grep "linux-image-$want\." | head -n 1)
if [ -z "$package" ]; then echo "ERROR: kernel $want is not in the package lists of suite '$suite'" >&2; exit 1; fi
cd "$dir"
# shellcheck disable=SC2086
apt-get $opts download -qq "$package" >/dev/null 2>&1
dpkg -x "$package"_*.deb image
rm -f "$package"_*.deb
cp image/boot/vmlinuz-* vmlinuz
ls image/lib/modules 2>/dev/null > release || ls image/usr/lib/modules > release
echo "$dir/vmlinuz"
