// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// lifeKinds are the machines whose whole life is gone through.
func lifeKinds() []Kind {
	if full() {
		return []Kind{QEMU72, QEMU10, QEMU11}
	}
	return []Kind{QEMU72}
}

// TestLifecycle does to a guest what a VMM and an administrator do, with the share in use.
func TestLifecycle(t *testing.T) {
	for _, k := range lifeKinds() {
		t.Run(string(k), func(t *testing.T) { lifecycle(t, k) })
	}
}

func lifecycle(t *testing.T, k Kind) {
	sh := share{host: t.TempDir(), guest: "/mnt/share"}
	sh.d = serve(t, DaemonSpec{Shared: sh.host, Tag: "share", Args: []string{"--cache=auto", "--xattr"}, Race: true})
	g := boot(t, Spec{Kind: k, CPUs: 2, Shares: []Share{{sh.d.Socket, "share", 1}}})
	g.mount("share")
	makeReadTree(t, sh.host)
	sub := func(name string, f func(b *box, sh share)) {
		t.Run(name, func(t *testing.T) { f(g.on(t), sh) })
	}
	sub("posix", func(b *box, sh share) { checkPosix(b, sh, 1) })
	sub("stop-cont", checkStopCont)
	sub("unbind-bind", checkRebind)
	sub("unplug-plug", checkReplug)
	sub("memory", checkMemory)
	sub("reboot", checkReboot)
	sub("system-reset", checkReset)
	sub("after-all", func(b *box, sh share) { checkBothSides(b, sh.guest, sh.host) })
}

// TestUMLRebind unbinds and binds the driver of user-mode Linux, whose order of messages differs.
func TestUMLRebind(t *testing.T) {
	kinds := []Kind{UML61}
	if full() {
		kinds = append(kinds, UML72)
	}
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			sh := share{host: t.TempDir(), guest: "/mnt/share"}
			sh.d = serve(t, DaemonSpec{Shared: sh.host, Tag: "share", Race: true})
			g := boot(t, Spec{Kind: k, Shares: []Share{{Socket: sh.d.Socket, Tag: "share"}}})
			g.mount("share")
			makeReadTree(t, sh.host)
			checkRebind(g, sh)
		})
	}
}

// readFiles and readSize are the number and size of the files that readers go through.
const (
	readFiles = 8
	readSize  = 2 << 20
)

// makeReadTree makes files with known sums for readers.
func makeReadTree(t *testing.T, dir string) {
	t.Helper()
	var sums strings.Builder
	for i := range readFiles {
		name := fmt.Sprintf("read%d", i)
		line := fmt.Sprintf("%s line\n", name)
		writeFile(t, filepath.Join(dir, name), strings.Repeat(line, readSize/len(line)))
		fmt.Fprintf(&sums, "%s  %s\n", hashHostFile(t, filepath.Join(dir, name)), name)
	}
	writeFile(t, filepath.Join(dir, "sums"), sums.String())
}

// readLoop is a script that reads all files, uncached, until the file "enough" is there, and
// checks what it reads. It prints a line a round.
func readLoop(sh share) string {
	return fmt.Sprintf(`cd %s && while [ ! -e enough ]; do
		echo 3 > /proc/sys/vm/drop_caches
		sha256sum -c --quiet sums || exit 1
		echo round
	done`, sh.guest)
}

// startReader starts a read loop and waits until it has gone round once.
func startReader(b *box, sh share) *Command {
	b.t.Helper()
	b.must("rm -f %s/enough", sh.guest)
	cmd, err := b.Go(readLoop(sh), 10*time.Minute)
	if err != nil {
		b.t.Fatal(err)
	}
	b.waitRounds(cmd, 1)
	return cmd
}

// waitRounds waits until a read loop has printed n more lines.
func (b *box) waitRounds(cmd *Command, n int) {
	b.t.Helper()
	want := strings.Count(cmd.output(), "round") + n
	for end := time.Now().Add(commandTime); strings.Count(cmd.output(), "round") < want; {
		if time.Now().After(end) {
			b.t.Fatalf("the reader is stuck: %q", cmd.output())
		}
		select {
		case <-cmd.done:
			b.t.Fatalf("the reader has ended: %s", cmd.output())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// endReader ends a read loop, all of whose sums must have been right.
func endReader(b *box, sh share, cmd *Command) {
	b.t.Helper()
	b.must("touch %s/enough", sh.guest)
	if out, code, err := b.Wait(cmd, commandTime); err != nil || code != 0 {
		b.t.Errorf("the reader: status %d, %v\n%s", code, err, out)
	}
}

// qmpDo carries out a monitor command that must succeed.
func (b *box) qmpDo(command string, args any) json.RawMessage {
	b.t.Helper()
	r, err := b.QMP().Do(command, args)
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

// checkStopCont stops and resumes the machine while a reader is at work.
func checkStopCont(b *box, sh share) {
	cmd := startReader(b, sh)
	for range 10 {
		b.qmpDo("stop", nil)
		b.qmpDo("cont", nil)
		b.waitRounds(cmd, 1)
	}
	endReader(b, sh, cmd)
}

// device is the virtio device of the share's tag, as sysfs names it.
func (b *box) device() string {
	b.t.Helper()
	out := b.must("ls /sys/bus/virtio/drivers/virtiofs | grep virtio")
	return strings.TrimSpace(out)
}

// checkRebind takes the driver off the device and back on, unmounted and mounted.
func checkRebind(b *box, sh share) {
	const driver = "/sys/bus/virtio/drivers/virtiofs"
	dev := b.device()
	for range 3 {
		b.must("umount %s; echo %s > %s/unbind; echo %[2]s > %[3]s/bind", sh.guest, dev, driver)
		b.mount("share")
		checkBothSides(b, sh.guest, sh.host)
	}
	// With the share mounted what is open turns into errors, and a new mount works.
	b.must("echo %s > %s/unbind", dev, driver)
	if out, code := b.run(commandTime, "cat %s/sums", sh.guest); code == 0 {
		b.t.Errorf("a share without a driver can be read: %s", out)
	}
	b.must("umount %s; echo %s > %s/bind", sh.guest, dev, driver)
	b.mount("share")
	b.must("cd %s; sha256sum -c --quiet sums", sh.guest)
}

// unplug removes a device and waits until the guest has let it go.
func (b *box) unplug(id string) {
	b.t.Helper()
	mark := b.QMP().Mark()
	b.qmpDo("device_del", map[string]any{"id": id})
	_, err := b.QMP().WaitEvent(mark, time.Minute, func(e Event) bool {
		var d struct{ Device string }
		return e.Name == "DEVICE_DELETED" && json.Unmarshal(e.Data, &d) == nil && d.Device == id
	})
	if err != nil {
		b.t.Fatalf("unplug %s: %v", id, err)
	}
}

// checkReplug takes the whole device away and puts one back on the same connection.
func checkReplug(b *box, sh share) {
	for range 2 {
		b.must("umount %s", sh.guest)
		b.unplug("fs0")
		b.must("test -z \"$(ls /sys/bus/virtio/drivers/virtiofs | grep virtio)\"")
		b.qmpDo("device_add", map[string]any{
			"driver": "vhost-user-fs-pci", "id": "fs0", "chardev": "c0", "tag": "share",
		})
		b.must(`for i in $(seq 100); do ls /sys/bus/virtio/drivers/virtiofs | grep -q virtio && exit 0; sleep 0.1; done; exit 1`)
		b.mount("share")
		checkBothSides(b, sh.guest, sh.host)
		b.must("cd %s; sha256sum -c --quiet sums", sh.guest)
	}
}

// checkMemory adds and removes memory while a reader is at work. New memory is movable, where the
// kernel puts page cache first, so the daemon reads into it.
func checkMemory(b *box, sh share) {
	const size = 256 << 20
	b.must("echo online_movable > /sys/devices/system/memory/auto_online_blocks")
	memory := func() (kb int) {
		if _, err := fmt.Sscan(b.must("sed -n 's/MemTotal: *\\([0-9]*\\).*/\\1/p' /proc/meminfo"), &kb); err != nil {
			b.t.Fatal(err)
		}
		return kb
	}
	cmd := startReader(b, sh)
	for range 2 {
		before := memory()
		b.qmpDo("object-add", map[string]any{"qom-type": "memory-backend-memfd", "id": "more", "size": size, "share": true})
		b.qmpDo("device_add", map[string]any{"driver": "pc-dimm", "id": "dimm0", "memdev": "more"})
		for end := time.Now().Add(time.Minute); memory() < before+size/1024; time.Sleep(100 * time.Millisecond) {
			if time.Now().After(end) {
				b.t.Fatal("the guest does not take the memory")
			}
		}
		b.waitRounds(cmd, 2)
		if movableFilePages(b) == 0 {
			b.t.Error("no page of a file is in the new memory")
		}
		b.unplug("dimm0")
		b.qmpDo("object-del", map[string]any{"id": "more"})
		b.waitRounds(cmd, 2)
	}
	endReader(b, sh, cmd)
}

// movableFilePages counts the pages of files in movable memory.
func movableFilePages(b *box) (pages int) {
	_, zone, _ := strings.Cut(b.must("cat /proc/zoneinfo"), "zone  Movable")
	for line := range strings.SplitSeq(zone, "\n") {
		var n int
		if f := strings.Fields(line); len(f) == 2 && strings.HasSuffix(f[0], "active_file") {
			if _, err := fmt.Sscan(f[1], &n); err != nil {
				b.t.Fatal(err)
			}
			pages += n
		}
	}
	return pages
}

// afterReset waits for the guest to come up again and mounts the share anew.
func afterReset(b *box, sh share, boots int, cmd *Command) {
	b.t.Helper()
	if err := b.waitBoot(boots, BootTime); err != nil {
		b.t.Fatalf("%v\n%s", err, b.Console())
	}
	if out, _, err := b.Wait(cmd, commandTime); err == nil {
		b.t.Errorf("the reader has ended before the reset: %s", out)
	}
	b.mount("share")
	checkBothSides(b, sh.guest, sh.host)
	b.must("cd %s; sha256sum -c --quiet sums", sh.guest)
}

// checkReboot lets the guest reboot by itself while a reader is at work.
func checkReboot(b *box, sh share) {
	cmd := startReader(b, sh)
	_, boots := b.ctl.nextBoot()
	if _, err := b.Go("/tools/agent reboot", time.Minute); err != nil {
		b.t.Fatal(err)
	}
	afterReset(b, sh, boots, cmd)
}

// checkReset resets the machine under a reader, more than once.
func checkReset(b *box, sh share) {
	for range 3 {
		cmd := startReader(b, sh)
		_, boots := b.ctl.nextBoot()
		b.qmpDo("system_reset", nil)
		afterReset(b, sh, boots, cmd)
	}
}
