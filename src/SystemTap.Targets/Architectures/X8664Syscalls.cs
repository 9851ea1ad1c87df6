namespace SystemTap.Targets;

// Numbers: arch/x86/entry/syscalls/syscall_64.tbl of the kernel, up to 6.19; a test compares it with <asm/unistd_64.h>.

/// <summary>System calls of 64-bit programs on x86-64.</summary>
internal static class X8664Syscalls
{
    public const string Source = """
        0 read write open close stat fstat lstat
        7 poll lseek mmap mprotect munmap brk rt_sigaction
        14 rt_sigprocmask rt_sigreturn ioctl pread64 pwrite64 readv writev
        21 access pipe select sched_yield mremap msync mincore
        28 madvise shmget shmat shmctl dup dup2 pause
        35 nanosleep getitimer alarm setitimer getpid sendfile socket
        42 connect accept sendto recvfrom sendmsg recvmsg shutdown
        49 bind listen getsockname getpeername socketpair setsockopt getsockopt
        56 clone fork vfork execve exit wait4 kill
        63 uname semget semop semctl shmdt msgget msgsnd
        70 msgrcv msgctl fcntl flock fsync fdatasync truncate
        77 ftruncate getdents getcwd chdir fchdir rename mkdir
        84 rmdir creat link unlink symlink readlink chmod
        91 fchmod chown fchown lchown umask gettimeofday getrlimit
        98 getrusage sysinfo times ptrace getuid syslog getgid
        105 setuid setgid geteuid getegid setpgid getppid getpgrp
        112 setsid setreuid setregid getgroups setgroups setresuid getresuid
        119 setresgid getresgid getpgid setfsuid setfsgid getsid capget
        126 capset rt_sigpending rt_sigtimedwait rt_sigqueueinfo rt_sigsuspend sigaltstack utime
        133 mknod uselib personality ustat statfs fstatfs sysfs
        140 getpriority setpriority sched_setparam sched_getparam sched_setscheduler sched_getscheduler sched_get_priority_max
        147 sched_get_priority_min sched_rr_get_interval mlock munlock mlockall munlockall vhangup
        154 modify_ldt pivot_root _sysctl prctl arch_prctl adjtimex setrlimit
        161 chroot sync acct settimeofday mount umount2 swapon
        168 swapoff reboot sethostname setdomainname iopl ioperm create_module
        175 init_module delete_module get_kernel_syms query_module quotactl nfsservctl getpmsg
        182 putpmsg afs_syscall tuxcall security gettid readahead setxattr
        189 lsetxattr fsetxattr getxattr lgetxattr fgetxattr listxattr llistxattr
        196 flistxattr removexattr lremovexattr fremovexattr tkill time futex
        203 sched_setaffinity sched_getaffinity set_thread_area io_setup io_destroy io_getevents io_submit
        210 io_cancel get_thread_area lookup_dcookie epoll_create epoll_ctl_old epoll_wait_old remap_file_pages
        217 getdents64 set_tid_address restart_syscall semtimedop fadvise64 timer_create timer_settime
        224 timer_gettime timer_getoverrun timer_delete clock_settime clock_gettime clock_getres clock_nanosleep
        231 exit_group epoll_wait epoll_ctl tgkill utimes vserver mbind
        238 set_mempolicy get_mempolicy mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify
        245 mq_getsetattr kexec_load waitid add_key request_key keyctl ioprio_set
        252 ioprio_get inotify_init inotify_add_watch inotify_rm_watch migrate_pages openat mkdirat
        259 mknodat fchownat futimesat newfstatat unlinkat renameat linkat
        266 symlinkat readlinkat fchmodat faccessat pselect6 ppoll unshare
        273 set_robust_list get_robust_list splice tee sync_file_range vmsplice move_pages
        280 utimensat epoll_pwait signalfd timerfd_create eventfd fallocate timerfd_settime
        287 timerfd_gettime accept4 signalfd4 eventfd2 epoll_create1 dup3 pipe2
        294 inotify_init1 preadv pwritev rt_tgsigqueueinfo perf_event_open recvmmsg fanotify_init
        301 fanotify_mark prlimit64 name_to_handle_at open_by_handle_at clock_adjtime syncfs sendmmsg
        308 setns getcpu process_vm_readv process_vm_writev kcmp finit_module sched_setattr
        315 sched_getattr renameat2 seccomp getrandom memfd_create kexec_file_load bpf
        322 execveat userfaultfd membarrier mlock2 copy_file_range preadv2 pwritev2
        329 pkey_mprotect pkey_alloc pkey_free statx io_pgetevents rseq uretprobe
        336 uprobe
        424 pidfd_send_signal io_uring_setup io_uring_enter io_uring_register open_tree move_mount fsopen
        431 fsconfig fsmount fspick pidfd_open clone3 close_range openat2
        438 pidfd_getfd faccessat2 process_madvise epoll_pwait2 mount_setattr quotactl_fd landlock_create_ruleset
        445 landlock_add_rule landlock_restrict_self memfd_secret process_mrelease futex_waitv set_mempolicy_home_node cachestat
        452 fchmodat2 map_shadow_stack futex_wake futex_wait futex_requeue statmount listmount
        459 lsm_get_self_attr lsm_set_self_attr lsm_list_modules mseal setxattrat getxattrat listxattrat
        466 removexattrat open_tree_attr file_getattr file_setattr listns
        """;
}
