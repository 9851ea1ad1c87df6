#!/bin/sh
# Builds a test module of tests/vm/modules with debug information (-g, no BTF): build-module.sh 6.1|6.12 NAME prints the path of the NAME.ko.
# When there is no such source, the module of that name is taken from the kernel's own package (types by BTF, no debug information).
set -eu
want=${1:?usage: build-module.sh 6.1|6.12 NAME}
name=${2:?usage: build-module.sh 6.1|6.12 NAME}
root=$(dirname "$(dirname "$(dirname "$(readlink -f "$0")")")")
tree=$("$root/tests/vm/fetch-headers.sh" "$want")
source="$root/tests/vm/modules/$name.c"
dir="$root/out/vm-modules/$want/$name"
mkdir -p "$dir"
exec 9>"$dir/.lock"
if command -v flock >/dev/null 2>&1; then flock 9; fi
if [ ! -e "$source" ]; then
    packed=$(find "$root/out/vm/$want/image/" -name "$name.ko" -o -name "$name.ko.xz" | head -n 1)
    case $packed in
        *.xz) xz -dc "$packed" > "$dir/.new" ;;
        *) cp "$packed" "$dir/.new" ;;
    esac
    mv "$dir/.new" "$dir/$name.ko"
elif [ ! -e "$dir/$name.ko" ] || [ "$source" -nt "$dir/$name.ko" ]; then
    cp "$source" "$dir/$name.c"
    echo "obj-m := $name.o" > "$dir/Kbuild"
    # The kernel may have been built by a newer gcc: what this one does not know is left out.
    cat > "$dir/cc" <<'I'
#!/bin/bash
words=()
for word in "$@"; do
    case $word in
        -fmin-function-alignment=*) word=-falign-functions=${word#*=} ;;
        -ftrivial-auto-var-init=*|-fzero-init-padding-bits=*|-fstrict-flex-arrays=*|-mharden-sls=*|-W*|-mindirect-branch-cs-prefix|-fplugin*)
            gcc "$word" -S -o /dev/null -x c /dev/null 2>/dev/null || continue ;;
    esac
    words+=("$word")
done
exec gcc "${words[@]}"
I
    chmod +x "$dir/cc"
    make -C "$tree" M="$dir" CC="$dir/cc" KCFLAGS=-g CONFIG_DEBUG_INFO_BTF_MODULES= CONFIG_GCC_PLUGINS= CONFIG_MODULE_SIG_ALL= modules >"$dir/log" 2>&1 </dev/null || { tail -n 20 "$dir/log" >&2; exit 1; }
fi
echo "$dir/$name.ko"
