// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/test/guest/fileio"
)

// trust is how long a guest may believe what it has read under --cache=auto, and a little.
const trust = 1100 * time.Millisecond

// party is who writes and reads a file: a guest, or the host, whose box is nil.
type party struct {
	name string
	b    *box
	path string
}

// io does steps with the party's file.
func (p party) io(t *testing.T, steps ...string) did {
	t.Helper()
	if p.b != nil {
		return p.b.on(t).io(p.path, steps...)
	}
	var out strings.Builder
	if err := fileio.Run(&out, p.path, steps...); err != nil {
		t.Fatal(err)
	}
	return readSteps(out.String())
}

// TestPolicyFresh has two guests and a host process write and read one file in turns under
// --cache=auto, where nobody may be staler than a second: with a daemon for each guest, and with one
// daemon, and its pages, for both.
func TestPolicyFresh(t *testing.T) {
	needRoot(t)
	t.Run("two-daemons", func(t *testing.T) {
		root := freshRoot(t)
		var sockets []string
		for range 2 {
			d := serve(t, DaemonSpec{Shared: root, Tag: "auto", Args: []string{"--cache=auto"}, Race: true})
			sockets = append(sockets, d.Socket)
		}
		fresh(t, root, sockets)
	})
	t.Run("one-daemon", func(t *testing.T) {
		root := freshRoot(t)
		d := serve(t, DaemonSpec{Shared: root, Shares: []string{"tag=auto,cache=auto", "tag=auto,cache=auto"}, Race: true})
		fresh(t, root, []string{d.SocketOf(0), d.SocketOf(1)})
	})
}

// memory is a directory whose host file system never writes pages back: a store into a page that is
// dirty already changes nothing but its bytes there.
const memory = "tmpfs"

func freshRoot(t *testing.T) string {
	root := t.TempDir()
	mountOn(t, filepath.Join(root, memory), "-t", "tmpfs", "tmpfs")
	return root
}

func fresh(t *testing.T, root string, sockets []string) {
	var guests []*box
	for _, s := range sockets {
		g := boot(t, Spec{Kind: UML61, Shares: []Share{{s, "auto", 1}}})
		g.mount("auto")
		guests = append(guests, g)
	}
	for _, c := range []struct {
		name  string
		check func(t *testing.T, all []party)
	}{{"turns", checkTurns}, {"mtime", checkMtime}, {memory + "/stores", checkStores}} {
		t.Run(c.name, func(t *testing.T) {
			all := []party{{"the host", nil, filepath.Join(root, c.name)}}
			for i, g := range guests {
				all = append(all, party{fmt.Sprintf("guest %d", i), g, "/mnt/auto/" + c.name})
			}
			c.check(t, all)
		})
	}
}

// checkTurns lets everybody write twice. The first time all others must see it a second later by a
// plain read of a descriptor that they have had all the time; the second time at once, by an open.
func checkTurns(t *testing.T, all []party) {
	n := 0
	all[0].io(t, "open=rw,creat", "number=0", "close")
	var held []*Command
	for _, p := range all[1:] {
		held = append(held, p.hold(t, len(all)))
	}
	for _, writer := range all {
		n++
		writer.setNumber(t, n)
		time.Sleep(trust)
		for i, p := range all[1:] {
			if got := p.heldNumber(t, held[i], n); got != strconv.Itoa(2*n-1) {
				t.Errorf("%s reads %s a second after %s has written %d", p.name, got, writer.name, 2*n-1)
			}
		}
		for _, p := range all {
			p.wantNumber(t, writer, 2*n-1)
		}
		writer.io(t, "open=rw", fmt.Sprintf("number=%d", 2*n), "close")
		for _, p := range all {
			p.wantNumber(t, writer, 2*n)
		}
	}
}

// setNumber writes the first number of turn n.
func (p party) setNumber(t *testing.T, n int) {
	t.Helper()
	if got := p.io(t, "open=rw", fmt.Sprintf("number=%d", 2*n-1), "close"); got[1] != strconv.Itoa(fileio.NumberSize) {
		t.Fatalf("%s writes: %v", p.name, got)
	}
}

// wantNumber opens the file and reads what the writer has just written.
func (p party) wantNumber(t *testing.T, writer party, n int) {
	t.Helper()
	if got := p.io(t, "open=r", "numbers", "close"); got[1] != strconv.Itoa(n) {
		t.Errorf("%s opens and reads %s, where %s has written %d", p.name, got[1], writer.name, n)
	}
}

// hold starts a program in a guest that keeps the file open and reads it each time that it is told.
func (p party) hold(t *testing.T, times int) *Command {
	t.Helper()
	steps := "open=r numbers"
	for i := range times {
		steps += fmt.Sprintf(" await=/tmp/turn%d numbers", i+1)
	}
	p.b.on(t).must("rm -f /tmp/turn*")
	cmd, err := p.b.Go("/tools/agent io "+p.path+" "+steps, workTime)
	if err != nil {
		t.Fatal(err)
	}
	p.b.on(t).waitLines(cmd, 2)
	return cmd
}

// heldNumber tells that program to read for the n-th time and returns what it has read.
func (p party) heldNumber(t *testing.T, cmd *Command, n int) string {
	t.Helper()
	b := p.b.on(t)
	b.must("touch /tmp/turn%d", n)
	lines := b.waitLines(cmd, 2+2*n)
	return strings.TrimPrefix(lines[1+2*n], "numbers: ")
}

// waitLines waits until a command has printed n lines.
func (b *box) waitLines(cmd *Command, n int) []string {
	b.t.Helper()
	for end := time.Now().Add(commandTime); ; time.Sleep(5 * time.Millisecond) {
		lines := strings.SplitAfter(cmd.output(), "\n")
		if len(lines) > n {
			for i := range lines {
				lines[i] = strings.TrimSuffix(lines[i], "\n")
			}
			return lines[:n]
		}
		if time.Now().After(end) {
			b.t.Fatalf("the program is stuck: %q", lines)
		}
	}
}

// checkStores has the host store into a shared mapping, which changes no time of modification once
// the pages are dirty. An open a second later must see it.
func checkStores(t *testing.T, all []party) {
	host := all[0]
	host.io(t, "open=rw,creat", "number=0", "close")
	f, err := os.OpenFile(host.path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := unix.Mmap(int(f.Fd()), 0, fileio.NumberSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(m)
	unseen := 0
	for n := 1; n <= 4; n++ {
		before := mtimeOf(t, host.path)
		for _, p := range all[1:] {
			p.io(t, "open=r", "numbers", "numbers", "close") // to have it in all caches
		}
		copy(m, fileio.Number(n))
		if mtimeOf(t, host.path).Equal(before) {
			unseen++
		}
		time.Sleep(trust)
		for _, p := range all[1:] {
			p.wantNumber(t, host, n)
		}
	}
	if unseen == 0 {
		t.Error("each store has changed the time of modification, so that anything would have seen it")
	}
}

func mtimeOf(t *testing.T, path string) time.Time {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return st.ModTime()
}
