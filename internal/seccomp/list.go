// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// files are the calls that carry out guests' requests, and read what /proc says. Names lead to nothing
// outside of the share by other means: hostfs gives single components, and the sandbox hides the rest.
var files = calls(
	unix.SYS_CLOSE, unix.SYS_COPY_FILE_RANGE, unix.SYS_FALLOCATE, unix.SYS_FCHMODAT, unix.SYS_FCHOWNAT,
	unix.SYS_FDATASYNC, unix.SYS_FLOCK, unix.SYS_FSTAT, unix.SYS_FSTATFS, unix.SYS_FSYNC, unix.SYS_FTRUNCATE,
	unix.SYS_GETDENTS64, unix.SYS_LINKAT, unix.SYS_LSEEK, unix.SYS_MKDIRAT, unix.SYS_MKNODAT, unix.SYS_OPENAT,
	unix.SYS_OPENAT2, unix.SYS_PREADV2, unix.SYS_PWRITEV2, unix.SYS_READLINKAT, unix.SYS_RENAMEAT2, unix.SYS_STATX,
	unix.SYS_SYMLINKAT, unix.SYS_SYNCFS, unix.SYS_UNLINKAT, unix.SYS_UTIMENSAT,
	unix.SYS_GETXATTR, unix.SYS_LISTXATTR, unix.SYS_REMOVEXATTR, unix.SYS_SETXATTR,
	unix.SYS_GETXATTRAT, unix.SYS_LISTXATTRAT, unix.SYS_REMOVEXATTRAT, unix.SYS_SETXATTRAT,
)

// handles are those for files that are opened by handle.
var handles = calls(unix.SYS_NAME_TO_HANDLE_AT, unix.SYS_OPEN_BY_HANDLE_AT)

// others are the daemon's other calls: a guest user's ids and rights, its memory, sockets that are
// there, eventfds.
var others = calls(
	unix.SYS_CAPGET, unix.SYS_CAPSET, unix.SYS_GETEGID, unix.SYS_GETEUID, unix.SYS_GETGROUPS, unix.SYS_SETGROUPS, unix.SYS_SETRESGID, unix.SYS_SETRESUID,
	unix.SYS_MADVISE, unix.SYS_MEMFD_CREATE, unix.SYS_MUNMAP, unix.SYS_SYSINFO, unix.SYS_UMASK,
	unix.SYS_ACCEPT4, unix.SYS_GETPEERNAME, unix.SYS_GETSOCKNAME, unix.SYS_GETSOCKOPT, unix.SYS_RECVFROM, unix.SYS_RECVMSG, unix.SYS_SENDMSG, unix.SYS_SHUTDOWN,
	unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EVENTFD2, unix.SYS_PPOLL,
)

// goRuntime are the calls of the Go runtime and its packages after main has started (Go 1.26, runtime,
// internal/poll), and of the kernel on a thread's behalf.
var goRuntime = calls(
	unix.SYS_CLOCK_GETTIME, // where the kernel cannot answer without a call
	unix.SYS_EPOLL_PWAIT, unix.SYS_EXIT, unix.SYS_EXIT_GROUP, unix.SYS_FUTEX, unix.SYS_GETPID, unix.SYS_GETRANDOM,
	unix.SYS_GETTID, unix.SYS_MINCORE, unix.SYS_NANOSLEEP, unix.SYS_PIPE2,
	unix.SYS_PREAD64, // the number of processors that a cgroup has, looked up now and then
	unix.SYS_READ, unix.SYS_RESTART_SYSCALL, unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN,
	unix.SYS_SCHED_GETAFFINITY, unix.SYS_SCHED_YIELD, unix.SYS_SIGALTSTACK, unix.SYS_WRITE,
)

// Threads of this process: what they share, and what glibc adds in builds with cgo (clone(2)).
const (
	threadNeeds = unix.CLONE_THREAD | unix.CLONE_SIGHAND | unix.CLONE_VM
	threadMay   = threadNeeds | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SYSVSEM | unix.CLONE_SETTLS |
		unix.CLONE_PARENT_SETTID | unix.CLONE_CHILD_CLEARTID
)

// limited are the calls that pass with certain arguments only.
func limited() []rule {
	rs := []rule{
		{number: unix.SYS_CLONE, when: []condition{{0, threadNeeds, threadNeeds}, none(0, ^uint32(threadMay))}},
		// Its arguments lie in memory, where a filter cannot look. glibc then uses clone.
		{number: unix.SYS_CLONE3, errno: unix.ENOSYS},
		{number: unix.SYS_TGKILL, when: []condition{is(0, uint32(os.Getpid()))}},
		// The runtime names its memory where the kernel can, at each new mapping, until this answer.
		{number: unix.SYS_PRCTL, when: []condition{is(0, unix.PR_SET_VMA)}, errno: unix.EINVAL},
		{number: unix.SYS_MMAP, when: []condition{none(2, unix.PROT_EXEC)}},
		// No address: what a socket is connected to.
		{number: unix.SYS_SENDTO, when: []condition{is(4, 0), is(5, 0)}},
		{number: unix.SYS_PRLIMIT64, when: []condition{is(0, 0), is(2, 0)}}, // getrlimit
	}
	for _, command := range []uint32{unix.F_DUPFD_CLOEXEC, unix.F_GETFD, unix.F_SETFD, unix.F_GETFL, unix.F_SETFL, unix.F_OFD_GETLK, unix.F_OFD_SETLK} {
		rs = append(rs, rule{number: unix.SYS_FCNTL, when: []condition{is(1, command)}})
	}
	for _, request := range []uint32{
		0x80086601, 0x40086602, // FS_IOC_GETFLAGS, FS_IOC_SETFLAGS of Linux include/uapi/linux/fs.h
		0x801c581f, 0x401c5820, // FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR
		unix.TIOCINQ, // kicks that came by a socket
	} {
		rs = append(rs, rule{number: unix.SYS_IOCTL, when: []condition{is(1, request)}})
	}
	return rs
}

// rules is the whole list.
func rules(o Options) []rule {
	rs := slices.Concat(files, others, goRuntime, ofMachine, ofBuild, limited())
	if o.FileHandles {
		rs = append(rs, handles...)
	}
	return rs
}

// calls are rules by which calls pass with any arguments.
func calls(numbers ...uintptr) (rs []rule) {
	for _, n := range numbers {
		rs = append(rs, rule{number: n})
	}
	return rs
}

func is(arg int, value uint32) condition  { return condition{arg, ^uint32(0), value} }
func none(arg int, bits uint32) condition { return condition{arg, bits, 0} }
