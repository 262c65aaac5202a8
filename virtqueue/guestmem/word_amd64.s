// SPDX-License-Identifier: Apache-2.0

#include "textflag.h"

// On amd64 every load is an acquire and every store a release (Intel SDM vol. 3 section 9.2.2);
// being opaque to the compiler is all that these two must add.

// func loadAcquire16(p *byte) uint16
TEXT ·loadAcquire16(SB), NOSPLIT, $0-10
	MOVQ    p+0(FP), AX
	MOVWLZX (AX), AX
	MOVW    AX, ret+8(FP)
	RET

// func storeRelease16(p *byte, v uint16)
TEXT ·storeRelease16(SB), NOSPLIT, $0-10
	MOVQ p+0(FP), AX
	MOVW v+8(FP), CX
	MOVW CX, (AX)
	RET

// A locked operation on the stack drains the store buffer as MFENCE does, and is cheaper; Linux'
// smp_mb is the same (arch/x86/include/asm/barrier.h).

// func Fence()
TEXT ·Fence(SB), NOSPLIT, $8-0
	MOVL $0, 0(SP)
	LOCK
	ADDL $0, 0(SP)
	RET
