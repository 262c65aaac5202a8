// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"encoding/binary"
	"os"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// ask runs the filter as the kernel would.
func ask(t testing.TB, p []bpf.Instruction, audit uint32, number uintptr, args ...uint64) uint32 {
	t.Helper()
	vm, err := bpf.NewVM(p)
	if err != nil {
		t.Fatal(err)
	}
	// struct seccomp_data; the interpreter reads words as a network has them.
	data := make([]byte, 64)
	word := func(at int, v uint32) { binary.BigEndian.PutUint32(data[at:], v) }
	word(offNumber, uint32(number))
	word(offArch, audit)
	for i, a := range args {
		word(offArgs+8*i, uint32(a))
		word(offArgs+8*i+4, uint32(a>>32))
	}
	verdict, err := vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(verdict)
}

const (
	pass = uint32(unix.SECCOMP_RET_ALLOW)
	stop = uint32(Trap)
)

func fails(e unix.Errno) uint32 { return unix.SECCOMP_RET_ERRNO | uint32(e) }

// TestVerdicts: what passes and what does not, by this machine's list.
func TestVerdicts(t *testing.T) {
	const goThread = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_SYSVSEM | unix.CLONE_THREAD
	self := uint64(os.Getpid())
	for _, tt := range []struct {
		what   string
		number uintptr
		args   []uint64
		want   uint32
	}{
		{"read", unix.SYS_READ, []uint64{1, 2, 3}, pass},
		{"a thread", unix.SYS_CLONE, []uint64{goThread}, pass},
		{"a process", unix.SYS_CLONE, []uint64{uint64(unix.SIGCHLD)}, stop},
		{"a thread in a new namespace", unix.SYS_CLONE, []uint64{goThread | unix.CLONE_NEWNS}, stop},
		{"a thread without memory of ours", unix.SYS_CLONE, []uint64{unix.CLONE_THREAD}, stop},
		{"clone3", unix.SYS_CLONE3, nil, fails(unix.ENOSYS)},
		{"signal to ourselves", unix.SYS_TGKILL, []uint64{self, 1, 2}, pass},
		{"signal to others", unix.SYS_TGKILL, []uint64{self + 1, 1, 2}, stop},
		{"name memory", unix.SYS_PRCTL, []uint64{unix.PR_SET_VMA, 0}, fails(unix.EINVAL)},
		{"other prctl", unix.SYS_PRCTL, []uint64{unix.PR_SET_DUMPABLE, 1}, stop},
		{"memory", unix.SYS_MMAP, []uint64{0, 4096, unix.PROT_READ | unix.PROT_WRITE}, pass},
		{"code", unix.SYS_MMAP, []uint64{0, 4096, unix.PROT_READ | unix.PROT_EXEC}, stop},
		{"memory becomes code", unix.SYS_MPROTECT, []uint64{0, 4096, unix.PROT_READ | unix.PROT_EXEC}, stop},
		{"flags of an inode", unix.SYS_IOCTL, []uint64{3, 0x80086601}, pass},
		{"flags of an inode, odd high half", unix.SYS_IOCTL, []uint64{3, 1<<32 | 0x80086601}, pass}, // unsigned int to the kernel
		{"terminal input", unix.SYS_IOCTL, []uint64{3, unix.TIOCSTI}, stop},
		{"lock", unix.SYS_FCNTL, []uint64{3, unix.F_OFD_SETLK}, pass},
		{"signals for a file", unix.SYS_FCNTL, []uint64{3, unix.F_SETOWN}, stop},
		{"send", unix.SYS_SENDTO, []uint64{3, 4, 1, unix.MSG_DONTWAIT, 0, 0}, pass},
		{"send to an address", unix.SYS_SENDTO, []uint64{3, 4, 1, 0, 0xc000000000, 16}, stop},
		{"socket", unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_STREAM}, stop},
		{"own limit", unix.SYS_PRLIMIT64, []uint64{0, unix.RLIMIT_NOFILE, 0, 1}, pass},
		{"raise a limit", unix.SYS_PRLIMIT64, []uint64{0, unix.RLIMIT_NOFILE, 0xc000001000}, stop},
		{"by handle", unix.SYS_OPEN_BY_HANDLE_AT, nil, stop},
		{"exec", unix.SYS_EXECVE, nil, stop}, {"execveat", unix.SYS_EXECVEAT, nil, stop}, {"ptrace", unix.SYS_PTRACE, nil, stop},
		{"read another", unix.SYS_PROCESS_VM_READV, nil, stop}, {"io_uring", unix.SYS_IO_URING_SETUP, nil, stop},
		{"unshare", unix.SYS_UNSHARE, nil, stop}, {"setns", unix.SYS_SETNS, nil, stop}, {"mount", unix.SYS_MOUNT, nil, stop},
		{"move_mount", unix.SYS_MOVE_MOUNT, nil, stop}, {"bpf", unix.SYS_BPF, nil, stop}, {"userfaultfd", unix.SYS_USERFAULTFD, nil, stop},
		{"connect", unix.SYS_CONNECT, nil, stop}, {"kexec", unix.SYS_KEXEC_LOAD, nil, stop}, {"module", unix.SYS_FINIT_MODULE, nil, stop},
		{"keys", unix.SYS_KEYCTL, nil, stop}, {"chroot", unix.SYS_CHROOT, nil, stop}, {"personality", unix.SYS_PERSONALITY, nil, stop},
		{"kill", unix.SYS_KILL, []uint64{self}, stop}, {"filter", unix.SYS_SECCOMP, nil, stop},
		{"number of none", 100000, nil, stop}, {"number -1", ^uintptr(0), nil, uint32(Kill)},
	} {
		if tt.number == ^uintptr(0) && machine.foreign == 0 {
			tt.want = stop
		}
		p := program(machine, rules(Options{}), uint32(Trap))
		if got := ask(t, p, machine.audit, tt.number, tt.args...); got != tt.want {
			t.Errorf("%s: %#x, want %#x", tt.what, got, tt.want)
		}
		if got := ask(t, p, machine.audit^1, tt.number, tt.args...); got != uint32(Kill) {
			t.Errorf("%s of another machine: %#x, want %#x", tt.what, got, uint32(Kill))
		}
	}
	p := program(machine, rules(Options{FileHandles: true}), uint32(Trap))
	if got := ask(t, p, machine.audit, unix.SYS_OPEN_BY_HANDLE_AT); got != pass {
		t.Errorf("by handle, which is in use: %#x", got)
	}
	if machine.foreign != 0 {
		if got := ask(t, p, machine.audit, uintptr(machine.foreign)+unix.SYS_READ); got != uint32(Kill) {
			t.Errorf("a call by its other number: %#x", got)
		}
	}
}

// TestProgram compares the program with what its rules say, for random ones.
func TestProgram(t *testing.T) {
	few := rapid.Uint32Range(0, 7)
	conditions := rapid.Custom(func(t *rapid.T) condition {
		mask := few.Draw(t, "mask")
		return condition{rapid.IntRange(0, 5).Draw(t, "arg"), mask, mask & few.Draw(t, "want")}
	})
	some := rapid.Custom(func(t *rapid.T) rule {
		return rule{uintptr(few.Draw(t, "number")), rapid.SliceOfN(conditions, 0, 4).Draw(t, "when"), unix.Errno(few.Draw(t, "errno"))}
	})
	rapid.Check(t, func(rt *rapid.T) {
		rs := rapid.SliceOfN(some, 0, 20).Draw(rt, "rules")
		p := program(arch{audit: 7, foreign: 6}, rs, uint32(Log))
		if _, err := bpf.Assemble(p); err != nil {
			rt.Fatal(err)
		}
		number := uintptr(few.Draw(rt, "number"))
		args := make([]uint64, 6)
		for i := range args {
			args[i] = uint64(few.Draw(rt, "arg")) | uint64(few.Draw(rt, "high"))<<32
		}
		if got, want := ask(t, p, 7, number, args...), judge(rs, number, args); got != want {
			rt.Fatalf("%d %v: %#x, want %#x", number, args, got, want)
		}
	})
}

// judge is the verdict by the words of program's description.
func judge(rs []rule, number uintptr, args []uint64) uint32 {
	if number >= 6 {
		return uint32(Kill)
	}
	for _, first := range []bool{true, false} { // without conditions, then with
		for _, r := range rs {
			holds := r.number == number && first == (len(r.when) == 0)
			for _, c := range r.when {
				holds = holds && uint32(args[c.arg])&c.mask == c.want
			}
			if holds {
				return r.verdict()
			}
		}
	}
	return uint32(Log)
}

// TestEveryRuleOnce: a call stands in one place of the list, or in one place with arguments.
func TestEveryRuleOnce(t *testing.T) {
	plain := map[uintptr]bool{}
	rs := rules(Options{FileHandles: true})
	for _, r := range rs {
		if len(r.when) == 0 {
			if plain[r.number] {
				t.Errorf("call %d is in the list twice", r.number)
			}
			plain[r.number] = true
		}
	}
	for _, r := range rs {
		if len(r.when) > 0 && plain[r.number] {
			t.Errorf("call %d has conditions in one place and none in another", r.number)
		}
	}
	if n := len(program(machine, rs, 0)); n > 4096 { // BPF_MAXINSNS
		t.Errorf("%d instructions", n)
	} else {
		t.Logf("%d rules, %d instructions", len(rs), n)
	}
}
