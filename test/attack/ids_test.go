// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// creations is how many files each of the queues makes; ten times as many with VIRTIOFSD_GO_FULL=1.
func creations() int {
	if os.Getenv("VIRTIOFSD_GO_FULL") == "1" {
		return 10000
	}
	return 1000
}

const (
	makers   = 16   // queues that make files at once
	dirGroup = 4321 // of the setgid directory
)

// TestIdsDoNotLeak: files made at once on many queues, under every mix of user, group and further groups,
// all belong to whom they should, and all threads have the daemon's own ids when they rest. Once as the
// requests are carried out by the queues' own threads, and once by those that may wait.
func TestIdsDoNotLeak(t *testing.T) {
	for name, args := range map[string][]string{"queues": nil, "workers": {"--fault=syncfs delay=1ms"}} {
		t.Run(name, func(t *testing.T) {
			bin, err := realDaemon()
			if err != nil {
				t.Fatal(err)
			}
			d := startDaemon(t, bin, 1, append(args, "--cache=never")...)
			makeIDDirs(t, d.shares[0])
			before := identities(t, d)
			vm, g := guestOn(t, d.socks[0], frontend.Options{Queues: makers, Memory: []frontend.MemSpec{{Size: 64 << 20}}})
			defer vm.Close()
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			var wg sync.WaitGroup
			for i := range makers {
				m := &maker{t: t, c: g.On(i), rnd: rand.New(rand.NewPCG(seed, uint64(i))), share: d.shares[0], id: i}
				wg.Go(m.run)
			}
			wg.Wait()
			d.alive()
			after := identities(t, d)
			if len(before) != 1 || len(after) != 1 || before[0] != after[0] {
				t.Errorf("the threads are\n%s\nand were\n%s", strings.Join(after, "\n"), strings.Join(before, "\n"))
			}
		})
	}
}

// makeIDDirs makes the directories to create in: a usual one, and one that gives its group away.
func makeIDDirs(t *testing.T, share string) {
	t.Helper()
	for _, err := range []error{
		os.Mkdir(share+"/plain", 0o777), os.Chmod(share+"/plain", 0o777),
		os.Mkdir(share+"/setgid", 0o777),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(share+"/setgid", 0, dirGroup); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(share+"/setgid", 0o777|os.ModeSetgid); err != nil {
		t.Fatal(err)
	}
}

// identities are the different ids and capabilities that threads of the process that serves have.
func identities(t *testing.T, d *daemon) (all []string) {
	t.Helper()
	pids := d.pids()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pids[len(pids)-1]))
	if err != nil || len(tasks) < 2 {
		t.Fatalf("%d threads, %v", len(tasks), err)
	}
	for _, task := range tasks {
		b, err := os.ReadFile(task)
		if err != nil {
			continue // it has ended
		}
		var id []string
		for l := range strings.Lines(string(b)) {
			switch name, _, _ := strings.Cut(l, ":"); name {
			case "Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb":
				id = append(id, strings.Join(strings.Fields(l), " "))
			}
		}
		if s := strings.Join(id, "; "); !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all
}

// maker is one queue's guest processes. It is for one goroutine.
type maker struct {
	t     *testing.T
	c     *frontend.Client
	rnd   *rand.Rand
	share string
	id    int
	made  []creation
}

// creation is what was asked for, and what is expected on the host.
type creation struct {
	path, what string
	node       uint64
	uid, gid   uint32
	sgid       bool // the file keeps its setgid bit; for files only
	file       bool
}

func (m *maker) run() {
	dirs := map[string]uint64{}
	for _, name := range []string{"plain", "setgid"} {
		e, errno := m.c.Lookup(frontend.RootID, name)
		if errno != 0 {
			m.t.Errorf("LOOKUP: %v", errno)
			return
		}
		dirs[name] = e.NodeId
	}
	for n := range creations() {
		dir := []string{"plain", "setgid"}[m.rnd.IntN(2)]
		m.create(dirs[dir], dir, fmt.Sprintf("%d-%d", m.id, n))
		if len(m.made) == 100 {
			m.look()
		}
		if m.t.Failed() {
			return
		}
	}
	m.look()
}

func anyOf[T any](rnd *rand.Rand, all ...T) T { return all[rnd.IntN(len(all))] }

// create makes something as somebody.
func (m *maker) create(dir uint64, dirName, name string) {
	const none = ^uint32(0)
	uid := anyOf(m.rnd, 0, 0, 1000, 1001, 65534, 200000+uint32(m.id), none-1, none)
	gid := anyOf(m.rnd, 0, 0, 100, 1001, dirGroup, 300000+uint32(m.id), none-1, none)
	groups := anyOf(m.rnd, nil, nil, []uint32{dirGroup}, []uint32{7}, []uint32{7, dirGroup, 9})
	m.c.Caller, m.c.Extensions = fuse.Caller{Owner: fuse.Owner{Uid: uid, Gid: gid}}, groupsOf(groups)
	kind := m.rnd.IntN(5)
	node, errno := m.make(kind, dir, name)
	c := creation{path: filepath.Join(m.share, dirName, name), node: node, uid: uid, gid: gid, file: kind < 2,
		what: fmt.Sprintf("kind %d in %s by %d:%d of groups %v", kind, dirName, uid, gid, groups)}
	refused := os.Geteuid() == 0 && (uid == none || gid == none)
	switch {
	case refused && errno != syscall.EINVAL || !refused && errno != 0:
		m.t.Errorf("%s: %v", c.what, errno)
	case refused:
		if _, err := os.Lstat(c.path); err == nil {
			m.t.Errorf("%s is made nevertheless", c.what)
		}
	default:
		if dirName == "setgid" {
			c.gid = dirGroup
		}
		// Linux fs/inode.c, mode_strip_sgid: the caller is in the file's group, or has CAP_FSETID, as
		// the daemon has for a guest's root.
		c.sgid = uid == 0 || gid == c.gid || slices.Contains(groups, c.gid)
		m.made = append(m.made, c)
	}
}

func (m *maker) make(kind int, dir uint64, name string) (node uint64, errno syscall.Errno) {
	var e fuse.EntryOut
	switch kind {
	case 0:
		var f fuse.CreateOut
		f, errno = m.c.Create(dir, name, unix.O_RDWR|unix.O_EXCL, unix.S_IFREG|0o2755, 0)
		if errno == 0 {
			m.c.Extensions = nil
			m.c.Release(f.NodeId, f.Fh, 0)
		}
		return f.NodeId, errno
	case 1:
		e, errno = m.c.Mknod(dir, name, unix.S_IFREG|0o2755, 0, 0)
	case 2:
		e, errno = m.c.Mknod(dir, name, unix.S_IFIFO|0o644, 0, 0)
	case 3:
		e, errno = m.c.Mkdir(dir, name, 0o755, 0)
	case 4:
		e, errno = m.c.Symlink(dir, name, "nowhere")
	}
	return e.NodeId, errno
}

// look checks on the host what was made, and clears it away.
func (m *maker) look() {
	var gone []frontend.Forgotten
	for _, c := range m.made {
		var st unix.Stat_t
		if err := unix.Lstat(c.path, &st); err != nil {
			m.t.Errorf("%s: %v", c.what, err)
			continue
		}
		if os.Geteuid() == 0 && (st.Uid != c.uid || st.Gid != c.gid || c.file && (st.Mode&unix.S_ISGID != 0) != c.sgid) {
			m.t.Errorf("%s is %d:%d, mode %o", c.what, st.Uid, st.Gid, st.Mode)
		}
		if os.Geteuid() != 0 && int(st.Uid) != os.Geteuid() {
			m.t.Errorf("%s is %d:%d", c.what, st.Uid, st.Gid)
		}
		if err := os.Remove(c.path); err != nil {
			m.t.Error(err)
		}
		gone = append(gone, frontend.Forgotten{Node: c.node, Lookups: 1})
	}
	m.c.Extensions = nil
	m.c.BatchForget(gone...)
	m.made = m.made[:0]
}

// groupsOf is the extension of a request that names the caller's groups (Linux
// include/uapi/linux/fuse.h, struct fuse_supp_groups).
func groupsOf(groups []uint32) []byte {
	if groups == nil {
		return nil
	}
	size := (12 + 4*len(groups) + 7) / 8 * 8
	b := make([]byte, size)
	for i, v := range append([]uint32{uint32(size), 32, uint32(len(groups))}, groups...) { // 32: FUSE_EXT_GROUPS
		binary.NativeEndian.PutUint32(b[4*i:], v)
	}
	return b
}
