# Sourced by build-times.sh and event-times.sh: Debian's SystemTap as a peer that builds modules for the kernels of the virtual machines.
# Expects: work (a folder of the caller's). peer is empty when there is none.
peer=
[ ! -x /usr/bin/stap ] || peer=/usr/bin/stap
# peer_prepare TREE [SYSTEM_MAP]: makes $work/peer-tree, which has what SystemTap looks for in a build tree and Debian keeps elsewhere (headers of
# tracepoints, symbols), and $work/peer-runtime: its own run-time, where 4.8's differs from newer 6.1 kernels in one name.
peer_prepare() {
    [ -n "$peer" ] || return 0
    local tree=$1 common entry
    common=$(sed -n 's|^include \(/.*\)/Makefile$|\1|p' "$tree/Makefile")
    mkdir -p "$work/peer-tree/include"
    for entry in "$tree"/* "$tree"/.config "$tree"/.kernelvariables; do
        case ${entry##*/} in include|System.map) ;; *) [ ! -e "$entry" ] || ln -sfn "$entry" "$work/peer-tree/" ;; esac
    done
    for entry in "$tree"/include/*; do ln -sfn "$entry" "$work/peer-tree/include/"; done
    [ -z "$common" ] || ln -sfn "$common/include/trace" "$work/peer-tree/include/trace"
    [ -z "${2:-}" ] || cp "$2" "$work/peer-tree/System.map"
    cp -r /usr/share/systemtap/runtime "$work/peer-runtime"
    sed -i 's/\btask_work_cancel\b/task_work_cancel_func/g' "$work/peer-runtime/stp_task_work.c"
}
# peer_build CACHE NAME SCRIPT [option...]: a module in the current folder. Its watch for overload is off: under emulation everything is slow.
peer_build() {
    SYSTEMTAP_NOSIGN=1 SYSTEMTAP_DIR=$1 "$peer" -g -R "$work/peer-runtime" -B KCFLAGS=-Wno-error --suppress-time-limits -w -p4 -r "$work/peer-tree" -m "$2" "${@:4}" "$3" </dev/null
}
