// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestFaults has programs in a guest meet a host that fails by rules.
func TestFaults(t *testing.T) {
	dir := t.TempDir()
	var args []string
	for _, rule := range []string{
		"write path=/third nth=3 error=EIO",
		"fsync path=/full error=ENOSPC",
		"read path=bad range=8K+1 error=EIO",
		"mkdir path=/**/no error=EDQUOT",
		"open path=*.slow delay=1s",
		"fsync path=/stuck hang",
	} {
		args = append(args, "--fault", rule)
	}
	d := serve(t, DaemonSpec{Shared: dir, Tag: "share", Args: append(args, "--cache=never"), Race: true})
	b := boot(t, Spec{Kind: UML61, Shares: []Share{{d.Socket, "share", 1}}})
	b.mount("share")
	writeFile(t, filepath.Join(dir, "bad"), strings.Repeat("b", 16<<10))
	for _, tt := range []struct {
		script string
		want   []string // in the output
	}{
		{"dd if=/dev/zero of=third bs=4k count=5", []string{"error writing 'third': Input/output error", "2+0 records out"}},
		{"dd if=/dev/zero of=full bs=4k count=1 conv=fsync", []string{"fsync failed for 'full': No space left on device"}},
		{"dd if=bad of=/dev/null bs=4k", []string{"error reading 'bad': Input/output error", "2+0 records in"}},
		{"dd if=bad of=/dev/null bs=6k", []string{"error reading 'bad': Input/output error", "1+0 records in"}},
		{"mkdir -p a/yes a/no", []string{"cannot create directory 'a/no': Disk quota exceeded"}},
	} {
		out, code := b.run(commandTime, "cd /mnt/share; %s 2>&1", tt.script)
		for _, want := range tt.want {
			if code != 1 || !strings.Contains(out, want) {
				t.Errorf("%s: status %d\n%swant %q", tt.script, code, out, want)
			}
		}
	}
	if st, err := os.Stat(filepath.Join(dir, "third")); err != nil || st.Size() != 8<<10 {
		t.Errorf("the host has %v bytes of three writes, %v", st.Size(), err)
	}
	start := time.Now()
	if b.must("cd /mnt/share; echo x > a.slow; cat a.slow"); time.Since(start) < time.Second {
		t.Errorf("a slow open took %v", time.Since(start))
	}
	checkHang(b, d)
}

// checkHang has a program hang that cannot even be killed, as Linux has no INTERRUPT for virtio-fs
// (fs/fuse/virtio_fs.c, virtio_fs_send_interrupt), and releases it.
func checkHang(b *box, d *Daemon) {
	b.t.Helper()
	b.must("cd /mnt/share; touch stuck; (sync stuck; echo $? > /tmp/done) > /dev/null 2>&1 & sleep 1")
	if !strings.Contains(d.Log(), "FAULT: fsync path=/stuck hang") {
		b.t.Errorf("the log does not speak of the FSYNC:\n%s", d.Log())
	}
	b.must("test ! -e /tmp/done; ls /mnt/share; pkill -KILL -x sync; sleep 1; pgrep -x sync")
	if err := syscall.Kill(d.Pid(), syscall.SIGUSR1); err != nil {
		b.t.Fatal(err)
	}
	b.must("while pgrep -x sync; do sleep 0.1; done")
}
