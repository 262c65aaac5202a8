// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Offsets in struct seccomp_data of Linux include/uapi/linux/seccomp.h, on little-endian machines.
const (
	offNumber = 0
	offArch   = 4
	offArgs   = 16 // 8 bytes each, the low half first
)

// arch is a kind of processor: as audit(7) calls it, and the first number of another set of calls
// that the kernel has for it; 0: there is none.
type arch struct{ audit, foreign uint32 }

// rule is a system call that has a verdict of its own if all its conditions hold. Several rules for
// one call count in their order.
type rule struct {
	number uintptr
	when   []condition
	errno  unix.Errno // the call is not carried out, and fails with it; 0: it is
}

// condition is one on the low half of an argument: that of its bits under mask, exactly want are set.
type condition struct {
	arg        int // 0 to 5
	mask, want uint32
}

func (r rule) verdict() uint32 {
	if r.errno != 0 {
		return unix.SECCOMP_RET_ERRNO | uint32(r.errno)
	}
	return unix.SECCOMP_RET_ALLOW
}

// program is the filter: rs, and other for what they do not have. Calls by another machine's numbers
// end the process whatever other is, as nothing here makes them. Rules without conditions come first,
// so that the kernel can remember their verdict and need not run the filter (Linux 5.11).
func program(m arch, rs []rule, other uint32) []bpf.Instruction {
	p := []bpf.Instruction{
		bpf.LoadAbsolute{Off: offArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: m.audit, SkipTrue: 1},
		bpf.RetConstant{Val: unix.SECCOMP_RET_KILL_PROCESS},
		bpf.LoadAbsolute{Off: offNumber, Size: 4},
	}
	if m.foreign != 0 {
		p = append(p, bpf.JumpIf{Cond: bpf.JumpLessThan, Val: m.foreign, SkipTrue: 1},
			bpf.RetConstant{Val: unix.SECCOMP_RET_KILL_PROCESS})
	}
	for _, r := range rs {
		if len(r.when) == 0 {
			p = append(p, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(r.number), SkipTrue: 1}, bpf.RetConstant{Val: r.verdict()})
		}
	}
	for _, r := range rs {
		if len(r.when) > 0 {
			p = r.appendTo(p)
		}
	}
	return append(p, bpf.RetConstant{Val: other})
}

// appendTo appends the code of a rule with conditions. It begins by loading the number, as a rule
// before it has loaded arguments.
func (r rule) appendTo(p []bpf.Instruction) []bpf.Instruction {
	const each = 3                      // instructions of a condition
	last := uint8(each*len(r.when) + 1) // from the first condition to behind the verdict
	p = append(p, bpf.LoadAbsolute{Off: offNumber, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(r.number), SkipTrue: last})
	for i, c := range r.when {
		p = append(p, bpf.LoadAbsolute{Off: offArgs + 8*uint32(c.arg), Size: 4},
			bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: c.mask},
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: c.want, SkipTrue: last - uint8(each*(i+1))})
	}
	return append(p, bpf.RetConstant{Val: r.verdict()})
}
