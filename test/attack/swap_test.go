// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// swapRounds is how often each guest tries everything while the host swaps.
func swapRounds() int {
	if os.Getenv("VIRTIOFSD_GO_FULL") == "1" {
		return 2000
	}
	return 200
}

// The contents of files within the share, and of those that no guest may read or change.
const (
	inside = "inside"
	canary = "canary"
)

// stage is a share, and beside it what links in the share lead to.
type stage struct{ share, outside string }

// setStage has d, a directory, and l, a link to a directory outside with the same names; f, a file, and s,
// p and n, a link to a file outside, a fifo and a device, to be swapped with it.
func setStage(t *testing.T, share string) stage {
	t.Helper()
	s := stage{share, filepath.Join(filepath.Dir(share), "canaries")}
	for _, dir := range []string{share + "/d", s.outside} {
		text := inside
		if dir == s.outside {
			text = canary
		}
		for _, err := range []error{
			os.MkdirAll(dir+"/sub", 0o755), os.WriteFile(dir+"/f", []byte(text), 0o644), os.WriteFile(dir+"/sub/f", []byte(text), 0o644),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, err := range []error{
		os.Symlink(s.outside, share+"/l"), os.Symlink("../canaries/f", share+"/s"), unix.Mkfifo(share+"/p", 0o666),
		os.WriteFile(share+"/f", []byte(inside), 0o644), os.WriteFile(share+"/spare", []byte(inside), 0o644),
		os.Symlink("../canaries/sub", share+"/d/sl"),
	} {
		if err != nil && !os.IsExist(err) {
			t.Fatal(err)
		}
	}
	if os.Geteuid() == 0 { // only root may
		if err := unix.Mknod(share+"/n", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))); err != nil { // as /dev/zero
			t.Fatal(err)
		}
	}
	return s
}

// fingerprint is everything outside: names, kinds, owners, modes, times of change, contents.
func (s stage) fingerprint(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	err := filepath.Walk(s.outside, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		var data []byte
		if info.Mode().IsRegular() {
			if data, err = os.ReadFile(path); err != nil {
				return err
			}
		}
		xattrs, _ := unix.Llistxattr(path, nil)
		fmt.Fprintf(&b, "%s %v %d:%d %d links %d.%d %d %q\n", path, info.Mode(), st.Uid, st.Gid, st.Nlink, st.Ctim.Sec, st.Ctim.Nsec, xattrs, data)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// swap exchanges pairs of names in the share until it is told to stop.
func (s stage) swap(t *testing.T, stop *atomic.Bool, pairs ...[2]string) (swaps int) {
	for ; !stop.Load(); swaps++ {
		p := pairs[swaps%len(pairs)]
		err := unix.Renameat2(unix.AT_FDCWD, s.share+"/"+p[0], unix.AT_FDCWD, s.share+"/"+p[1], unix.RENAME_EXCHANGE)
		if err != nil && err != unix.ENOENT { // a guest has removed one of them, or it was never made
			t.Error(err)
			return
		}
	}
	return swaps
}

// blink makes g, a link to a file outside that is there or is not, and removes it, until it is told to stop.
func (s stage) blink(stop *atomic.Bool) {
	for n := 0; !stop.Load(); n++ {
		unix.Symlink([]string{"../canaries/f", "../canaries/new"}[n%2], s.share+"/g") // a guest may have made g
		unix.Unlink(s.share + "/g")
	}
}

// TestSwaps: while the host exchanges directories and files for links that lead outside, for fifos and for
// each other, guests do all that they can by names and by nodes that they know. Nothing outside is read
// or changed, and no fifo is opened, however files are known again: by fds, handles or names.
func TestSwaps(t *testing.T) {
	for name, args := range map[string][]string{
		"handles":    {"--inode-file-handles=prefer", "--rlimit-nofile=1400"},
		"names":      {"--inode-file-handles=never", "--rlimit-nofile=1400"},
		"no sandbox": {"--sandbox=none", "--inode-file-handles=never", "--rlimit-nofile=1400", "--cache=always"},
	} {
		t.Run(name, func(t *testing.T) {
			bin, err := realDaemon()
			if err != nil {
				t.Fatal(err)
			}
			d := startDaemon(t, bin, 1, append(args, "--xattr")...)
			s := setStage(t, d.shares[0])
			before := s.fingerprint(t)
			const queues = 4
			vm, g := guestOn(t, d.socks[0], frontend.Options{Queues: queues})
			defer vm.Close()
			var stop atomic.Bool
			var host, guests sync.WaitGroup
			swaps := 0
			host.Go(func() {
				swaps = s.swap(t, &stop, [2]string{"d", "l"}, [2]string{"f", "s"}, [2]string{"f", "p"}, [2]string{"f", "spare"}, [2]string{"d", "f"}, [2]string{"n", "f"})
			})
			host.Go(func() { s.blink(&stop) })
			guests.Go(func() { s.crowd(g.On(queues - 1)) })
			var seen [queues - 1]findings
			for i := range seen {
				guests.Go(func() { seen[i] = intrude(t, g.On(i), i) })
			}
			guests.Wait()
			stop.Store(true)
			host.Wait()
			d.alive()
			if after := s.fingerprint(t); after != before {
				t.Errorf("outside is\n%s\nand was\n%s", after, before)
			}
			var all findings
			for _, f := range seen {
				all.reads, all.links, all.failures = all.reads+f.reads, all.links+f.links, all.failures+f.failures
			}
			t.Logf("%d swaps, %+v", swaps, all)
			if swaps == 0 || all.reads == 0 || all.links == 0 || all.failures == 0 {
				t.Error("the swaps were not in the way: the test shows nothing")
			}
		})
	}
}

// crowd makes so many files known that the ones that are attacked lose their fds again and again.
func (s stage) crowd(c *frontend.Client) {
	for i := range 900 {
		c.Mknod(frontend.RootID, fmt.Sprintf("crowd-%d", i), unix.S_IFREG|0o644, 0, 0)
	}
	for n := range swapRounds() * 4 {
		c.Lookup(frontend.RootID, fmt.Sprintf("crowd-%d", n*7%900))
	}
}

// findings are what an intruder has met.
type findings struct{ reads, links, failures int }

// intrude does everything to d and f, and to what they were a moment ago.
func intrude(t *testing.T, c *frontend.Client, id int) (seen findings) {
	known := map[string]uint64{"d": frontend.RootID, "f": frontend.RootID}
	count := func(errno syscall.Errno) {
		if errno != 0 {
			seen.failures++
		}
	}
	for n := range swapRounds() {
		for _, name := range []string{"d", "f"} {
			e, errno := c.Lookup(frontend.RootID, name)
			if count(errno); errno != 0 {
				continue
			}
			switch e.Mode & unix.S_IFMT {
			case unix.S_IFLNK:
				seen.links++
			case unix.S_IFREG:
				seen.reads += readAll(t, c, e.NodeId)
			case unix.S_IFDIR:
				seen.reads += enter(t, c, e.NodeId, count)
			}
			for _, node := range []uint64{e.NodeId, known[name]} {
				count(meddle(c, node, fmt.Sprintf("new-%d-%d", id, n)))
			}
			if n%8 == 0 {
				known[name] = e.NodeId
			} else {
				c.Forget(e.NodeId, 1)
			}
		}
		create(c, fmt.Sprintf("f-%d", id), count)
	}
	return seen
}

// create makes f and g, over whatever they are now.
func create(c *frontend.Client, spare string, count func(syscall.Errno)) {
	for _, name := range []string{"f", "g", "g", "g"} {
		out, errno := c.Create(frontend.RootID, name, unix.O_RDWR|unix.O_TRUNC, 0o644, 0)
		if count(errno); errno == 0 {
			c.Write(out.NodeId, out.Fh, 0, []byte(inside))
			c.Release(out.NodeId, out.Fh, 0)
		}
	}
	c.Unlink(frontend.RootID, "g")
	count(c.Rename(frontend.RootID, "s", frontend.RootID, spare))
	count(c.Rename(frontend.RootID, spare, frontend.RootID, "s"))
}

// enter looks for files below a directory, which the guest was told it is.
func enter(t *testing.T, c *frontend.Client, dir uint64, count func(syscall.Errno)) (reads int) {
	f, errno := c.Lookup(dir, "f")
	if count(errno); errno == 0 {
		reads += readAll(t, c, f.NodeId)
	}
	if sub, errno := c.Lookup(dir, "sub"); errno == 0 {
		if f, errno := c.Lookup(sub.NodeId, "f"); errno == 0 {
			reads += readAll(t, c, f.NodeId)
		}
	}
	if l, errno := c.Lookup(dir, "sl"); errno == 0 {
		_, errno := c.Lookup(l.NodeId, "f")
		if count(errno); errno == 0 {
			t.Error("a link was walked through")
		}
	}
	return reads
}

// readAll opens and reads what the guest believes to be a file.
func readAll(t *testing.T, c *frontend.Client, node uint64) int {
	out, errno := c.Open(node, unix.O_RDWR)
	if errno != 0 {
		return 0
	}
	defer c.Release(node, out.Fh, 0)
	data := make([]byte, 64)
	n, errno := c.Read(node, out.Fh, 0, data)
	if errno != 0 {
		return 0
	}
	if n > len(inside) || strings.Contains(string(data[:n]), canary) { // a device would fill the buffer
		t.Errorf("read from something else: %q", data[:n])
	}
	return 1
}

// meddle changes a node, and makes and removes names in it as if it were a directory.
func meddle(c *frontend.Client, node uint64, name string) (last syscall.Errno) {
	if node == frontend.RootID {
		return 0
	}
	note := func(errno syscall.Errno) {
		if errno != 0 {
			last = errno
		}
	}
	second := func(_ any, errno syscall.Errno) syscall.Errno { return errno }
	a, errno := c.GetAttr(node)
	note(errno)
	if a.Mode&unix.S_IFMT != unix.S_IFLNK { // a link's own owner may change
		note(second(c.SetAttr(node, fuse.SetAttrInCommon{Valid: fuse.FATTR_MODE, Mode: 0o755})))
	}
	note(second(c.SetAttr(node, fuse.SetAttrInCommon{Valid: fuse.FATTR_UID, Owner: fuse.Owner{Uid: 12}})))
	note(c.SetXAttr(node, "user.attack", []byte("x"), 0))
	note(second(c.Mkdir(node, name, 0o755, 0)))
	note(c.Rmdir(node, name))
	note(second(c.Symlink(node, name, "/etc")))
	note(c.Unlink(node, name))
	note(second(c.Create(node, name, unix.O_RDWR|unix.O_EXCL, 0o644, 0)))
	note(c.Unlink(node, name))
	note(second(c.Link(node, frontend.RootID, name)))
	note(c.Unlink(frontend.RootID, name))
	if a.Mode&unix.S_IFMT == unix.S_IFREG {
		note(second(c.SetAttr(node, fuse.SetAttrInCommon{Valid: fuse.FATTR_SIZE, Size: uint64(len(inside))})))
	}
	return last
}
