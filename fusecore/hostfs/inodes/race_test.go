// SPDX-License-Identifier: Apache-2.0

package inodes

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"
)

// actor is one of many goroutines that use a table. It remembers what it looked up.
type actor struct {
	w    *world
	t    *Table
	rnd  *rand.Rand
	dirs []ID           // its own references
	have map[ID]uint64  // lookups
	ino  map[ID]uint64  // what they led to
	ids  []ID           // keys of have
	mine map[int]uint64 // files that only this actor renames: directory
	inos []uint64       // of directories
}

const (
	raceDirs  = 5
	raceFiles = 60
)

// TestConcurrent lets goroutines look up, use, rename and forget the same files, with hardly any
// fds, and resets at the end. The world sees every wrong or closed fd.
func TestConcurrent(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	modes(t, func(t *testing.T, w *world) {
		const actors, steps = 8, 1500
		for d := range raceDirs {
			w.addDir(uint64(1+d), "sub", uint64(2+d)) // one in the other
		}
		for f := range raceFiles {
			w.addFile(uint64(2+f%raceDirs), fileName(f), uint64(1000+f))
		}
		tb := w.table(6)
		tb.Keep(20)
		all := make([]*actor, actors)
		var wg sync.WaitGroup
		for i := range all {
			a := &actor{w: w, t: tb, rnd: rand.New(rand.NewPCG(seed, uint64(i))),
				have: map[ID]uint64{}, ino: map[ID]uint64{}, mine: map[int]uint64{}}
			for f := i; f < raceFiles; f += actors {
				a.mine[f] = uint64(2 + f%raceDirs)
			}
			all[i] = a
			wg.Go(func() { a.run(steps) })
		}
		wg.Wait()
		for _, a := range all {
			a.forgetAll()
		}
		if n := tb.Len(); n > 1+20+raceDirs { // directories above a file that is kept live on
			t.Errorf("%d records, and 20 may be kept", n)
		}
		tb.Keep(0)
		if tb.Len() != 1 || w.open() != 1 || tb.FDs() != 0 {
			t.Errorf("%d records, %d fds are left", tb.Len(), w.open())
		}
		for i := range tb.shards {
			if n := tb.shards[i].used; n != 0 && tb.shard(tb.hash(w.files[1])) != &tb.shards[i] {
				t.Errorf("shard %d has %d cells in use", i, n)
			}
		}
	})
}

func (a *actor) run(steps int) {
	dir := Root
	for d := range raceDirs {
		if dir = a.w.lookup(a.t, dir, "sub"); dir == 0 {
			a.w.t.Error("a directory is not found")
			return
		}
		a.dirs = append(a.dirs, dir)
		a.inos = append(a.inos, uint64(2+d))
	}
	for range steps {
		switch a.rnd.IntN(9) {
		case 0, 1, 2:
			a.lookup()
		case 3, 4:
			a.use()
		case 5:
			a.forget()
		case 6:
			a.t.Relieve(a.rnd.IntN(4))
		case 7:
			if a.w.named {
				a.rename()
			}
		case 8:
			a.list()
		}
	}
}

func (a *actor) lookup() {
	f, d := a.rnd.IntN(raceFiles), a.rnd.IntN(raceDirs)
	id := a.w.lookupKnown(a.t, a.dirs[d], fileName(f))
	if id == 0 {
		if id = a.w.lookup(a.t, a.dirs[d], fileName(f)); id == 0 {
			return
		}
		a.w.note(a.t, a.dirs[d], fileName(f), id)
	}
	a.got(id, f)
}

// list lists one of the actor's own files: others may be renamed by theirs just after they were looked at.
func (a *actor) list() {
	for f, dir := range a.mine {
		if id := a.w.list(a.t, a.dirs[dir-2], fileName(f)); id != 0 {
			a.got(id, f)
		}
		return
	}
}

// got notes that file f was looked up as id.
func (a *actor) got(id ID, f int) {
	want := uint64(1000 + f)
	if a.have[id]++; a.have[id] == 1 {
		a.ids = append(a.ids, id)
		a.ino[id] = want
	} else if a.ino[id] != want {
		a.w.t.Errorf("id %#x is file %d and file %d", id, a.ino[id], want)
	}
}

func (a *actor) use() {
	if len(a.ids) == 0 {
		return
	}
	id := a.ids[a.rnd.IntN(len(a.ids))]
	n, err := a.t.Get(id)
	if err != nil {
		a.w.t.Errorf("id %#x, looked up %d times: %v", id, a.have[id], err)
		return
	}
	a.w.check(n.FD(), a.ino[id])
	runtime.Gosched()
	a.w.check(n.FD(), a.ino[id])
	if n.ID() != id || n.Identity().Ino != a.ino[id] {
		a.w.t.Errorf("id %#x pinned record %#x of %v", id, n.ID(), n.Identity())
	}
	n.Release()
}

func (a *actor) forget() {
	if len(a.ids) == 0 {
		return
	}
	at := a.rnd.IntN(len(a.ids))
	id := a.ids[at]
	n := 1 + a.rnd.Uint64N(a.have[id])
	a.t.Forget(id, n)
	if a.have[id] -= n; a.have[id] == 0 {
		a.ids[at] = a.ids[len(a.ids)-1]
		a.ids = a.ids[:len(a.ids)-1]
		delete(a.have, id)
		delete(a.ino, id)
	}
}

// rename moves one of the actor's files to another directory.
func (a *actor) rename() {
	for f, from := range a.mine {
		d := a.rnd.IntN(raceDirs)
		if a.inos[d] == from {
			return
		}
		src, err1 := a.t.Get(a.dirs[from-2])
		dst, err2 := a.t.Get(a.dirs[d])
		if err1 != nil || err2 != nil {
			a.w.t.Errorf("directories: %v, %v", err1, err2)
			return
		}
		name := fileName(f)
		fd, i := a.w.openAt(src.FD(), name)
		n := a.t.Hold(i, fd)
		a.w.rename(from, name, a.inos[d], name)
		n.Renamed(dst, name)
		n.Let()
		a.mine[f] = a.inos[d]
		src.Release()
		dst.Release()
		return
	}
}

func (a *actor) forgetAll() {
	for _, id := range a.ids {
		a.t.Forget(id, a.have[id])
	}
	for _, id := range a.dirs {
		a.t.Forget(id, 1)
	}
}
