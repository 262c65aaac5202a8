// SPDX-License-Identifier: Apache-2.0

package differ

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
	"github.com/virtiofsd-go/virtiofsd-go/test/peers"
)

const root = frontend.RootID

// session is a guest of a daemon, on its own tree, and what was seen of it.
type session struct {
	*frontend.Driver
	t    *testing.T
	peer peers.Peer
	set  optionSet

	share, socket string
	daemon        *peers.Daemon
	vm            *frontend.VM
	rec           record

	scene string // the one that plays
	dir   uint64 // the node of its directory
}

// scene is a part of the script: requests on a directory of its own, which has the scene's name.
type scene struct {
	name string
	play func(s *session)
	only string // the scene is for option sets that choose it with this word, which may be of groups
}

// lost is what Options.Fail throws: the daemon has broken the protocol.
type lost struct{ err error }

// ended is what need throws.
type ended struct{}

// play gives the whole script to a daemon and returns what was seen.
func play(t *testing.T, p peers.Peer, set optionSet, script []scene) *record {
	t.Helper()
	top, err := os.MkdirTemp("", "differ") // short: a socket's path may have 107 bytes
	must(t, err)
	s := &session{t: t, peer: p, set: set, share: filepath.Join(top, "share"), socket: filepath.Join(top, "s")}
	t.Cleanup(func() {
		unix.Unmount(filepath.Join(s.share, submountScene, "mount"), unix.MNT_DETACH) // EINVAL: it is not mounted
		must(t, os.RemoveAll(top))
	})
	must(t, os.Mkdir(s.share, 0o755))
	for _, sc := range script {
		makeTree(t, filepath.Join(s.share, sc.name))
		if sc.name == submountScene {
			s.mount()
		}
	}
	s.boot()
	for _, sc := range script {
		if !s.act(sc) {
			s.vm.Close()
			s.daemon.Kill()
			s.boot()
		}
	}
	s.vm.Close()
	if err := s.daemon.Close(); err != nil {
		t.Errorf("%s: %v", p.Name, err)
	}
	must(t, look(&s.rec, s.share))
	return &s.rec
}

// boot starts a daemon and a guest on it.
func (s *session) boot() {
	s.t.Helper()
	d, err := s.peer.Start(s.share, s.socket, peers.Options{Args: s.set.args()})
	must(s.t, err)
	vm, err := frontend.Connect(s.socket, frontend.Options{Fail: func(err error) { panic(lost{err}) }})
	if err != nil {
		d.Kill()
		s.t.Fatal(err)
	}
	s.daemon, s.vm, s.Driver = d, vm, vm.Start()
	if _, errno := s.Init(); errno != 0 {
		s.t.Fatalf("%s: INIT: %v", s.peer.Name, errno)
	}
}

// act plays one scene. It is false when the daemon cannot be used any more.
func (s *session) act(sc scene) (alive bool) {
	defer func() {
		switch e := recover().(type) {
		case nil, ended:
			alive = true
		case lost:
			s.say(theDaemon, status, loss(e.err))
		default:
			panic(e)
		}
	}()
	s.scene, s.dir = sc.name, 0
	s.Caller.Uid, s.Caller.Gid, s.Extensions = 0, 0, nil
	s.dir = s.node(root, sc.name)
	sc.play(s)
	return
}

// loss says in a word what has become of a daemon.
func loss(err error) string {
	switch {
	case errors.Is(err, frontend.ErrClosed):
		return "ends"
	case errors.Is(err, frontend.ErrTimeout):
		return "does not answer"
	}
	return err.Error()
}

// need ends the scene if a request failed without which the rest has no sense.
func (s *session) need(what string, errno syscall.Errno) {
	if errno != 0 {
		s.say(theEnd, status, what+": "+errnoName(errno))
		panic(ended{})
	}
}

// node looks a name up that has to be there.
func (s *session) node(parent uint64, name string) uint64 {
	e, errno := s.Lookup(parent, name)
	s.need("lookup of "+name, errno)
	return e.NodeId
}

// at is the node of a name in the scene's directory.
func (s *session) at(name string) uint64 { return s.node(s.dir, name) }

// path is a name of the scene's directory on the host.
func (s *session) path(name string) string { return filepath.Join(s.share, s.scene, name) }

// file opens a file of the scene's directory, which has to succeed.
func (s *session) file(name string, flags uint32) (node, fh uint64) {
	node = s.at(name)
	o, errno := s.Open(node, flags)
	s.need("open of "+name, errno)
	return node, o.Fh
}

// as makes a user the one who asks.
func (s *session) as(uid, gid uint32) { s.Caller.Uid, s.Caller.Gid = uid, gid }

// mount puts a small file system into the scene about mounts below the share.
func (s *session) mount() {
	s.t.Helper()
	dir := filepath.Join(s.share, submountScene, "mount")
	must(s.t, os.Mkdir(dir, 0o755))
	must(s.t, unix.Mount("differ", dir, "tmpfs", 0, "size=1m"))
	must(s.t, os.WriteFile(filepath.Join(dir, "below"), contents, 0o644))
	makeOld(s.t, dir)
}
