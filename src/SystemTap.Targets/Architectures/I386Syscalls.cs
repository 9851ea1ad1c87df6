namespace SystemTap.Targets;

// Numbers: arch/x86/entry/syscalls/syscall_32.tbl of the kernel, up to 6.19; a test compares it with <asm/unistd_32.h>.

/// <summary>System calls of 32-bit programs on x86-64 (<c>int 0x80</c>, <c>sysenter</c>).</summary>
internal static class I386Syscalls
{
    public const string Source = """
        0 restart_syscall exit fork read write open close
        7 waitpid creat link unlink execve chdir time
        14 mknod chmod lchown break oldstat lseek getpid
        21 mount umount setuid getuid stime ptrace alarm
        28 oldfstat pause utime stty gtty access nice
        35 ftime sync kill rename mkdir rmdir dup
        42 pipe times prof brk setgid getgid signal
        49 geteuid getegid acct umount2 lock ioctl fcntl
        56 mpx setpgid ulimit oldolduname umask chroot ustat
        63 dup2 getppid getpgrp setsid sigaction sgetmask ssetmask
        70 setreuid setregid sigsuspend sigpending sethostname setrlimit getrlimit
        77 getrusage gettimeofday settimeofday getgroups setgroups select symlink
        84 oldlstat readlink uselib swapon reboot readdir mmap
        91 munmap truncate ftruncate fchmod fchown getpriority setpriority
        98 profil statfs fstatfs ioperm socketcall syslog setitimer
        105 getitimer stat lstat fstat olduname iopl vhangup
        112 idle vm86old wait4 swapoff sysinfo ipc fsync
        119 sigreturn clone setdomainname uname modify_ldt adjtimex mprotect
        126 sigprocmask create_module init_module delete_module get_kernel_syms quotactl getpgid
        133 fchdir bdflush sysfs personality afs_syscall setfsuid setfsgid
        140 _llseek getdents _newselect flock msync readv writev
        147 getsid fdatasync _sysctl mlock munlock mlockall munlockall
        154 sched_setparam sched_getparam sched_setscheduler sched_getscheduler sched_yield sched_get_priority_max sched_get_priority_min
        161 sched_rr_get_interval nanosleep mremap setresuid getresuid vm86 query_module
        168 poll nfsservctl setresgid getresgid prctl rt_sigreturn rt_sigaction
        175 rt_sigprocmask rt_sigpending rt_sigtimedwait rt_sigqueueinfo rt_sigsuspend pread64 pwrite64
        182 chown getcwd capget capset sigaltstack sendfile getpmsg
        189 putpmsg vfork ugetrlimit mmap2 truncate64 ftruncate64 stat64
        196 lstat64 fstat64 lchown32 getuid32 getgid32 geteuid32 getegid32
        203 setreuid32 setregid32 getgroups32 setgroups32 fchown32 setresuid32 getresuid32
        210 setresgid32 getresgid32 chown32 setuid32 setgid32 setfsuid32 setfsgid32
        217 pivot_root mincore madvise getdents64 fcntl64
        224 gettid readahead setxattr lsetxattr fsetxattr getxattr lgetxattr
        231 fgetxattr listxattr llistxattr flistxattr removexattr lremovexattr fremovexattr
        238 tkill sendfile64 futex sched_setaffinity sched_getaffinity set_thread_area get_thread_area
        245 io_setup io_destroy io_getevents io_submit io_cancel fadvise64
        252 exit_group lookup_dcookie epoll_create epoll_ctl epoll_wait remap_file_pages set_tid_address
        259 timer_create timer_settime timer_gettime timer_getoverrun timer_delete clock_settime clock_gettime
        266 clock_getres clock_nanosleep statfs64 fstatfs64 tgkill utimes fadvise64_64
        273 vserver mbind get_mempolicy set_mempolicy mq_open mq_unlink mq_timedsend
        280 mq_timedreceive mq_notify mq_getsetattr kexec_load waitid
        286 add_key request_key keyctl ioprio_set ioprio_get inotify_init inotify_add_watch
        293 inotify_rm_watch migrate_pages openat mkdirat mknodat fchownat futimesat
        300 fstatat64 unlinkat renameat linkat symlinkat readlinkat fchmodat
        307 faccessat pselect6 ppoll unshare set_robust_list get_robust_list splice
        314 sync_file_range tee vmsplice move_pages getcpu epoll_pwait utimensat
        321 signalfd timerfd_create eventfd fallocate timerfd_settime timerfd_gettime signalfd4
        328 eventfd2 epoll_create1 dup3 pipe2 inotify_init1 preadv pwritev
        335 rt_tgsigqueueinfo perf_event_open recvmmsg fanotify_init fanotify_mark prlimit64 name_to_handle_at
        342 open_by_handle_at clock_adjtime syncfs sendmmsg setns process_vm_readv process_vm_writev
        349 kcmp finit_module sched_setattr sched_getattr renameat2 seccomp getrandom
        356 memfd_create bpf execveat socket socketpair bind connect
        363 listen accept4 getsockopt setsockopt getsockname getpeername sendto
        370 sendmsg recvfrom recvmsg shutdown userfaultfd membarrier mlock2
        377 copy_file_range preadv2 pwritev2 pkey_mprotect pkey_alloc pkey_free statx
        384 arch_prctl io_pgetevents rseq
        393 semget semctl shmget shmctl shmat shmdt msgget
        400 msgsnd msgrcv msgctl clock_gettime64 clock_settime64 clock_adjtime64 clock_getres_time64
        407 clock_nanosleep_time64 timer_gettime64 timer_settime64 timerfd_gettime64 timerfd_settime64 utimensat_time64 pselect6_time64
        414 ppoll_time64
        416 io_pgetevents_time64 recvmmsg_time64 mq_timedsend_time64 mq_timedreceive_time64 semtimedop_time64 rt_sigtimedwait_time64 futex_time64
        423 sched_rr_get_interval_time64 pidfd_send_signal io_uring_setup io_uring_enter io_uring_register open_tree move_mount
        430 fsopen fsconfig fsmount fspick pidfd_open clone3 close_range
        437 openat2 pidfd_getfd faccessat2 process_madvise epoll_pwait2 mount_setattr quotactl_fd
        444 landlock_create_ruleset landlock_add_rule landlock_restrict_self memfd_secret process_mrelease futex_waitv set_mempolicy_home_node
        451 cachestat fchmodat2 map_shadow_stack futex_wake futex_wait futex_requeue statmount
        458 listmount lsm_get_self_attr lsm_set_self_attr lsm_list_modules mseal setxattrat getxattrat
        465 listxattrat removexattrat open_tree_attr file_getattr file_setattr listns
        """;
}
