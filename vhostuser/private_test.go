// SPDX-License-Identifier: Apache-2.0

package vhostuser

import (
	"strings"
	"testing"
)

func TestPrivate(t *testing.T) {
	const maps = `7f0000000000-7f0000010000 rw-s 00000000 00:01 7 /memfd:ram (deleted)
7f0000010000-7f0000020000 rw-p 00000000 00:01 7                              /memfd:ram (deleted)
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]
`
	for addr, want := range map[uint64]bool{
		0x7f0000000000: false, 0x7f000000ffff: false, 0x7f0000010000: true, 0x7f000001ffff: true,
		0x7f0000020000: false, 0: false, 0xffffffffff600000: true,
	} {
		if got := private(strings.NewReader(maps), addr); got != want {
			t.Errorf("%#x is private: %v, want %v", addr, got, want)
		}
	}
	for _, odd := range []string{"", "x", "1-2", "0-ffff", "0-ffff rw-s\n", strings.Repeat("9", 1<<17)} {
		if private(strings.NewReader(odd), 0x10) {
			t.Errorf("an address is private in %.20q", odd)
		}
	}
}
