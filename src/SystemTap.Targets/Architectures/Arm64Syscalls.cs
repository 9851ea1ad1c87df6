namespace SystemTap.Targets;

// Numbers: include/uapi/asm-generic/unistd.h of the kernel with what arm64 asks of it, up to 6.19.

/// <summary>System calls of 64-bit programs on arm64.</summary>
internal static class Arm64Syscalls
{
    public const string Source = """
        0 io_setup io_destroy io_submit io_cancel io_getevents setxattr lsetxattr
        7 fsetxattr getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr
        14 removexattr lremovexattr fremovexattr getcwd lookup_dcookie eventfd2 epoll_create1
        21 epoll_ctl epoll_pwait dup dup3 fcntl inotify_init1 inotify_add_watch
        28 inotify_rm_watch ioctl ioprio_set ioprio_get flock mknodat mkdirat
        35 unlinkat symlinkat linkat renameat umount2 mount pivot_root
        42 nfsservctl statfs fstatfs truncate ftruncate fallocate faccessat
        49 chdir fchdir chroot fchmod fchmodat fchownat fchown
        56 openat close vhangup pipe2 quotactl getdents64 lseek
        63 read write readv writev pread64 pwrite64 preadv
        70 pwritev sendfile pselect6 ppoll signalfd4 vmsplice splice
        77 tee readlinkat newfstatat fstat sync fsync fdatasync
        84 sync_file_range timerfd_create timerfd_settime timerfd_gettime utimensat acct capget
        91 capset personality exit exit_group waitid set_tid_address unshare
        98 futex set_robust_list get_robust_list nanosleep getitimer setitimer kexec_load
        105 init_module delete_module timer_create timer_gettime timer_getoverrun timer_settime timer_delete
        112 clock_settime clock_gettime clock_getres clock_nanosleep syslog ptrace sched_setparam
        119 sched_setscheduler sched_getscheduler sched_getparam sched_setaffinity sched_getaffinity sched_yield sched_get_priority_max
        126 sched_get_priority_min sched_rr_get_interval restart_syscall kill tkill tgkill sigaltstack
        133 rt_sigsuspend rt_sigaction rt_sigprocmask rt_sigpending rt_sigtimedwait rt_sigqueueinfo rt_sigreturn
        140 setpriority getpriority reboot setregid setgid setreuid setuid
        147 setresuid getresuid setresgid getresgid setfsuid setfsgid times
        154 setpgid getpgid getsid setsid getgroups setgroups uname
        161 sethostname setdomainname getrlimit setrlimit getrusage umask prctl
        168 getcpu gettimeofday settimeofday adjtimex getpid getppid getuid
        175 geteuid getgid getegid gettid sysinfo mq_open mq_unlink
        182 mq_timedsend mq_timedreceive mq_notify mq_getsetattr msgget msgctl msgrcv
        189 msgsnd semget semctl semtimedop semop shmget shmctl
        196 shmat shmdt socket socketpair bind listen accept
        203 connect getsockname getpeername sendto recvfrom setsockopt getsockopt
        210 shutdown sendmsg recvmsg readahead brk munmap mremap
        217 add_key request_key keyctl clone execve mmap fadvise64
        224 swapon swapoff mprotect msync mlock munlock mlockall
        231 munlockall mincore madvise remap_file_pages mbind get_mempolicy set_mempolicy
        238 migrate_pages move_pages rt_tgsigqueueinfo perf_event_open accept4 recvmmsg
        260 wait4 prlimit64 fanotify_init fanotify_mark name_to_handle_at open_by_handle_at clock_adjtime
        267 syncfs setns sendmmsg process_vm_readv process_vm_writev kcmp finit_module
        274 sched_setattr sched_getattr renameat2 seccomp getrandom memfd_create bpf
        281 execveat userfaultfd membarrier mlock2 copy_file_range preadv2 pwritev2
        288 pkey_mprotect pkey_alloc pkey_free statx io_pgetevents rseq kexec_file_load
        424 pidfd_send_signal io_uring_setup io_uring_enter io_uring_register open_tree move_mount fsopen
        431 fsconfig fsmount fspick pidfd_open clone3 close_range openat2
        438 pidfd_getfd faccessat2 process_madvise epoll_pwait2 mount_setattr quotactl_fd landlock_create_ruleset
        445 landlock_add_rule landlock_restrict_self memfd_secret process_mrelease futex_waitv set_mempolicy_home_node cachestat
        452 fchmodat2 map_shadow_stack futex_wake futex_wait futex_requeue statmount listmount
        459 lsm_get_self_attr lsm_set_self_attr lsm_list_modules mseal setxattrat getxattrat listxattrat
        466 removexattrat open_tree_attr file_getattr file_setattr listns
        """;
}
