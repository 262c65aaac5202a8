// SPDX-License-Identifier: Apache-2.0

#include "textflag.h"

// func loadAcquire16(p *byte) uint16
TEXT ·loadAcquire16(SB), NOSPLIT, $0-10
	MOVD  p+0(FP), R0
	LDARH (R0), R1
	MOVH  R1, ret+8(FP)
	RET

// func storeRelease16(p *byte, v uint16)
TEXT ·storeRelease16(SB), NOSPLIT, $0-10
	MOVD  p+0(FP), R0
	MOVHU v+8(FP), R1
	STLRH R1, (R0)
	RET

// func Fence()
TEXT ·Fence(SB), NOSPLIT, $0-0
	DMB $0xb // ISH: inner shareable domain, all accesses
	RET
