// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"path/filepath"
	"testing"
)

// TestPeerDaemon boots a guest on the C daemon: when this fails, the fault is in the guests or
// in the machine and not in the daemon under test.
func TestPeerDaemon(t *testing.T) {
	dir := t.TempDir()
	d := serveC(t, dir)
	g := boot(t, Spec{Kind: QEMU72, Shares: []Share{{Socket: d.Socket, Tag: "share"}}})
	checkBothSides(g, g.mount("share"), dir)
}

// TestNoShare boots user-mode Linux without a device.
func TestNoShare(t *testing.T) {
	g := boot(t, Spec{Kind: UML61})
	g.must("git --version; fio --version; sqlite3 --version; getfacl --version; test -x /tools/posixtest")
}

// checkBothSides writes on each side and reads on the other.
func checkBothSides(b *box, mnt, dir string) {
	b.t.Helper()
	b.must("echo from the guest > %s/g", mnt)
	wantFile(b.t, filepath.Join(dir, "g"), "from the guest\n")
	writeFile(b.t, filepath.Join(dir, "h"), "from the host\n")
	if got := b.must("cat %s/h", mnt); got != "from the host\n" {
		b.t.Errorf("the guest reads %q", got)
	}
}
