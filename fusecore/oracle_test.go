// SPDX-License-Identifier: Apache-2.0

package fusecore

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"syscall"
	"testing"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// memDir is a directory in memory, built on go-fuse's fs package, with inode numbers that
// depend on nothing but the order of calls.
type memDir struct {
	gofs.Inode
	next *uint64
}

func (d *memDir) add(ctx context.Context, node gofs.InodeEmbedder, mode uint32) *gofs.Inode {
	*d.next++
	return d.NewPersistentInode(ctx, node, gofs.StableAttr{Mode: mode, Ino: *d.next})
}

func (d *memDir) Mkdir(ctx context.Context, name string, _ uint32, _ *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	if d.GetChild(name) != nil {
		return nil, syscall.EEXIST
	}
	return d.add(ctx, &memDir{next: d.next}, fuse.S_IFDIR), 0
}

func (d *memDir) Create(ctx context.Context, name string, _, mode uint32, _ *fuse.EntryOut) (*gofs.Inode, gofs.FileHandle, uint32, syscall.Errno) {
	if d.GetChild(name) != nil {
		return nil, nil, 0, syscall.EEXIST
	}
	f := &gofs.MemRegularFile{Attr: fuse.Attr{Mode: mode}}
	return d.add(ctx, f, fuse.S_IFREG), nil, 0, 0
}

func (d *memDir) Symlink(ctx context.Context, target, name string, _ *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	if d.GetChild(name) != nil {
		return nil, syscall.EEXIST
	}
	return d.add(ctx, &gofs.MemSymlink{Data: []byte(target)}, fuse.S_IFLNK), 0
}

func (d *memDir) Unlink(context.Context, string) syscall.Errno { return 0 }
func (d *memDir) Rmdir(context.Context, string) syscall.Errno  { return 0 }
func (d *memDir) Rename(context.Context, string, gofs.InodeEmbedder, string, uint32) syscall.Errno {
	return 0
}

func newMemFS() fuse.RawFileSystem {
	next := uint64(100)
	return gofs.NewNodeFS(&memDir{next: &next}, &gofs.Options{Logger: log.New(io.Discard, "", 0)})
}

// script makes requests that a guest could send, from what earlier replies told.
type script struct {
	t      *testing.T
	rng    *rand.Rand
	dirs   []uint64
	files  []uint64
	links  []uint64
	unique uint64
}

func pick[T any](rng *rand.Rand, s []T) T { return s[rng.IntN(len(s))] }

func (s *script) name() string { return fmt.Sprintf("name%d", s.rng.IntN(6)) }

// message returns the next request and the room for its reply.
func (s *script) message() ([]byte, int) {
	s.unique++
	dir, file := pick(s.rng, s.dirs), pick(s.rng, s.files)
	req := func(op Opcode, node uint64, room int, parts ...any) ([]byte, int) {
		h := fuse.InHeader{Opcode: uint32(op), Unique: s.unique, NodeId: node}
		return messageFrom(s.t, h, parts...), 16 + room
	}
	zeros := func(n int) []byte { return make([]byte, n) }
	data := pattern(s.rng.IntN(9000))
	io := func(size int) []any {
		return []any{uint64(0), uint64(s.rng.IntN(5000)), uint32(size), zeros(20)}
	}
	switch s.rng.IntN(20) {
	case 0, 1:
		return req(OpLookup, dir, 128, s.name())
	case 2:
		return req(OpMkdir, dir, 128, zeros(8), s.name())
	case 3, 4:
		return req(OpCreate, dir, 144, zeros(8), zeros(8), s.name())
	case 5:
		return req(OpSymlink, dir, 128, s.name(), "target of "+s.name())
	case 6:
		return req(OpUnlink, dir, 0, s.name())
	case 7:
		return req(OpRename, dir, 0, pick(s.rng, s.dirs), s.name(), s.name())
	case 8:
		return req(OpRename2, dir, 0, pick(s.rng, s.dirs), zeros(8), s.name(), s.name())
	case 9, 10:
		return req(OpWrite, file, 8, append(io(len(data)), data)...)
	case 11, 12:
		return req(OpRead, file, len(data), io(len(data))...)
	case 13:
		return req(OpGetattr, file, 104, zeros(16))
	case 14:
		return req(OpSetattr, file, 104, uint32(fuse.FATTR_SIZE), zeros(12), uint64(s.rng.IntN(9000)), zeros(64))
	case 15:
		return req(OpGetxattr, file, 8, zeros(8), "user.x")
	case 16:
		return req(OpStatfs, dir, 80)
	case 17:
		return req(OpListxattr, file, 100, uint32(100), uint32(0))
	case 18:
		return req(OpReadlink, pick(s.rng, s.links), 4096)
	default:
		return req(OpFallocate, file, 0, uint64(0), uint64(s.rng.IntN(9000)), uint64(s.rng.IntN(9000)), zeros(8))
	}
}

// learn keeps the node that a reply to op told of.
func (s *script) learn(op Opcode, r reply) {
	if r.errno() != 0 || op != OpLookup && op != OpMkdir && op != OpCreate && op != OpSymlink {
		return
	}
	var e fuse.EntryOut
	r.into(s.t, &e)
	switch e.Mode & syscall.S_IFMT {
	case syscall.S_IFDIR:
		s.dirs = append(s.dirs, e.NodeId)
	case syscall.S_IFREG:
		s.files = append(s.files, e.NodeId)
	case syscall.S_IFLNK:
		s.links = append(s.links, e.NodeId)
	}
}

// TestAgainstGoFuse sends the same requests to this session and to go-fuse's own protocol
// server, over two equal file systems, and wants the same bytes back.
func TestAgainstGoFuse(t *testing.T) {
	tt := newTester(t, newMemFS(), Options{})
	other := fuse.NewProtocolServer(newMemFS(), &fuse.MountOptions{Logger: log.New(io.Discard, "", 0), MaxWrite: 1 << 20})
	tt.init()
	msg, out := initWith(t, 7, 41, 0), make([]byte, 80)
	if n, st := other.HandleRequest([][]byte{msg}, [][]byte{out}); n != 80 || st != fuse.OK {
		t.Fatalf("go-fuse's INIT: %d bytes, %v", n, st)
	}
	s := &script{t: t, rng: tt.rng, dirs: []uint64{1}, files: []uint64{1}, links: []uint64{1}}
	ok := make(map[Opcode]int)
	for range 3000 {
		msg, room := s.message()
		op := Opcode(msg[4])
		want := make([]byte, room)
		n, _ := other.HandleRequest([][]byte{bytes.Clone(msg)}, [][]byte{want})
		got := tt.send(msg, room)
		whole := append(encode(got.header), got.body...)
		if !bytes.Equal(whole, want[:n]) {
			t.Fatalf("%v: got %d bytes\n%.200x\ngo-fuse answers %d\n%.200x", op, len(whole), whole, n, want[:n])
		}
		if got.errno() == 0 {
			ok[op]++
		}
		s.learn(op, got)
	}
	for _, op := range []Opcode{OpLookup, OpMkdir, OpCreate, OpSymlink, OpUnlink, OpRename, OpRename2, OpWrite,
		OpRead, OpGetattr, OpSetattr, OpReadlink, OpStatfs, OpFallocate} {
		if ok[op] == 0 {
			t.Errorf("no %v succeeded: nothing is proven about it", op)
		}
	}
}

// TestReaddirAgainstGoFuse is TestAgainstGoFuse for a directory with one file: go-fuse lists
// directories in memory in any order.
func TestReaddirAgainstGoFuse(t *testing.T) {
	tt := newTester(t, newMemFS(), Options{})
	other := fuse.NewProtocolServer(newMemFS(), &fuse.MountOptions{Logger: log.New(io.Discard, "", 0)})
	tt.init()
	both := func(msg []byte, room int) reply {
		t.Helper()
		want := make([]byte, room)
		n, _ := other.HandleRequest([][]byte{bytes.Clone(msg)}, [][]byte{want})
		got := tt.send(msg, room)
		if whole := append(encode(got.header), got.body...); got.errno() != 0 || !bytes.Equal(whole, want[:n]) {
			t.Fatalf("got %v\n%x\ngo-fuse answers\n%x", got.errno(), whole, want[:n])
		}
		return got
	}
	both(message(t, OpCreate, 2, make([]byte, 16), "one"), 160)
	for _, op := range []Opcode{OpReaddir, OpReaddirplus} {
		var open fuse.OpenOut
		both(message(t, OpOpendir, 3, make([]byte, 8)), 32).into(t, &open)
		got := both(message(t, op, 4, open.Fh, uint64(0), uint32(4096), make([]byte, 20)), 4112)
		if !bytes.Contains(got.body, []byte("one")) {
			t.Errorf("%v does not list the file", op)
		}
		both(message(t, OpReleasedir, 5, open.Fh, make([]byte, 16)), 16)
	}
}
