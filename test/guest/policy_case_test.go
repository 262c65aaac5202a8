// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/virtiofsd-go/virtiofsd-go/test/guest/pattern"
)

// Who has written a byte.
const (
	oldTag = 1
	newTag = 2 // the write that is refused
	endTag = 4 // the write after the host is well again
)

// did is what a program in the guest has got of each step.
type did []string

// io runs the steps of package fileio with a file in the guest; ioTimes does so several times.
func (b *box) io(file string, steps ...string) did { b.t.Helper(); return b.ioTimes(1, file, steps...) }

func (b *box) ioTimes(times int, file string, steps ...string) did {
	b.t.Helper()
	out := b.must("/tools/agent io %s %s repeat=%d", file, strings.Join(steps, " "), times)
	results := readSteps(out)
	if len(results) != times*len(steps) {
		b.t.Fatalf("%v: %d answers:\n%s", steps, len(results), out)
	}
	return results
}

// readSteps reads what package fileio has printed.
func readSteps(out string) (results did) {
	for l := range strings.Lines(out) {
		_, r, _ := strings.Cut(strings.TrimSuffix(l, "\n"), ": ")
		results = append(results, r)
	}
	return results
}

// painted is how package pattern names the span with a tag.
func (s span) painted(tag int) string {
	return pattern.Span{Off: s.off, Len: s.end - s.off, Tag: tag}.String()
}

// steps are those of a writer that opens a file and writes what package pattern names.
func (w writer) steps(what string) (open string, steps []string) {
	switch w {
	case mapped:
		return "open=rw", []string{"store=" + what, "msync"}
	case direct:
		return "open=rw,direct", []string{"write=" + what, "fsync"}
	default:
		return "open=rw", []string{"write=" + what, "fsync"}
	}
}

// runPolicyCases goes through cases of one mode and host.
func runPolicyCases(b *box, root string, cases []policyCase) {
	ran := 0
	for _, c := range cases {
		c.run(b, root)
		if ran++; b.t.Failed() && ran >= 3 {
			b.t.Fatalf("%d of %d cases were tried", ran, len(cases))
		}
	}
}

func (c policyCase) run(b *box, root string) {
	dir := "/mnt/" + c.mode.name + "/" + c.host.name
	path := filepath.Join(root, c.host.name, c.file)
	old := makeOld(b.t, path, c.shape)
	c.host.arm(b.t, c.shape.room)
	open, write := c.writer.steps(c.shape.write.painted(newTag))
	steps := append([]string{"open=r", "read", "close", open}, write...)
	steps = append(steps, "read", "close", "open=r", "read", "close")
	got := b.io(dir+"/"+c.file, steps...)
	if want := pattern.Describe(old); got[1] != want {
		b.t.Errorf("%v: at first the guest reads %s, not %s", c, got[1], want)
	}
	host := c.check(b.t, old, path, got[4], got[5])
	c.sameAsHost(b.t, "a new open", got[9], host)
	if !c.mode.late(c.writer) {
		c.sameAsHost(b.t, "the descriptor that was written to", got[6], host)
	}
	if c.mode.noMapping(c.writer) {
		c.host.heal(b, dir, c.file)
		return
	}
	c.recover(b, root, dir)
}

// makeOld makes the file of a case on the host and returns what it holds.
func makeOld(t *testing.T, path string, s shape) []byte {
	t.Helper()
	old := pattern.Paint(nil, pattern.Span{Len: s.old, Tag: oldTag})
	if err := os.WriteFile(path, old, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, s.size); err != nil {
		t.Fatal(err)
	}
	return append(old, make([]byte, s.size-s.old)...)
}

// late tells whether the host refuses after the guest has said that it has written.
func (m policyMode) late(w writer) bool {
	return w == mapped || w == buffered && m.writeback && !m.noPages
}

// noMapping tells whether there is no shared mapping, as the guest keeps no pages: mmap(2) fails
// with ENODEV (Linux fs/fuse/file.c, fuse_file_mmap), and nothing is written.
func (m policyMode) noMapping(w writer) bool { return w == mapped && m.noPages && !m.mmap }

// check holds what the writer got and what the host has against each other, and returns the latter.
func (c policyCase) check(t *testing.T, old []byte, path, written, synced string) (host []byte) {
	t.Helper()
	host, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := pattern.Span{Off: c.shape.write.off, Tag: newTag}
	switch {
	case c.mode.noMapping(c.writer):
		if written != "ENODEV" {
			t.Errorf("%v: a shared mapping: %s, not ENODEV", c, written)
		}
	case c.mode.late(c.writer):
		c.checkLate(t, written, synced)
		c.checkBytes(t, old, host)
		return host
	case c.uncounted():
		if want := "0 " + c.host.errno; written != want {
			t.Errorf("%v: write(2) with O_DIRECT said %s, not %s", c, written, want)
		}
		c.checkBytes(t, old, host)
		return host
	default:
		want.Len = c.checkNow(t, written, synced)
	}
	// Every byte that was said to be taken is there, and no other.
	if got, want := pattern.Describe(host), pattern.Describe(pattern.Paint(old, want)); got != want {
		t.Errorf("%v: write(2) said %s; the host holds %s, not %s", c, written, got, want)
	}
	return host
}

// checkNow checks the outcome of a write that asks the host at once: the bytes up to the refused
// ones and, next, the error. It returns how many they are.
func (c policyCase) checkNow(t *testing.T, written, synced string) int64 {
	t.Helper()
	count, errno, _ := strings.Cut(written, " ")
	n, err := strconv.ParseInt(count, 10, 64)
	if err != nil || errno != c.host.errno {
		t.Errorf("%v: write(2) said %s, not %s", c, written, c.host.errno)
	}
	if synced != "ok" {
		t.Errorf("%v: fsync(2) after a write that failed by itself: %s", c, synced)
	}
	all := c.shape.write.end - c.shape.write.off
	switch {
	case c.host.full && c.shape.room > 0:
		if n <= 0 || n >= all {
			t.Errorf("%v: %d of %d bytes were taken by a host with room for %d pages", c, n, all, c.shape.room)
		}
	case c.partial():
		if want := c.host.spot.off - c.shape.write.off; n != want {
			t.Errorf("%v: %d bytes were taken, not the %d before the bad ones", c, n, want)
		}
	case n != 0:
		t.Errorf("%v: %d bytes were taken", c, n)
	}
	return n
}

// partial tells whether the host takes the first bytes and refuses others.
func (c policyCase) partial() bool {
	return c.host.full && c.shape.room > 0 || c.host.spot != span{}
}

// uncounted tells whether a write of which the host takes a part just fails, and is cut off where it made
// the file longer: so Linux does it with O_DIRECT on files of which the guest keeps pages (fs/fuse/file.c,
// fuse_get_res_by_io and fuse_direct_IO). It would say EIO if it were told of a part.
func (c policyCase) uncounted() bool { return c.writer == direct && !c.mode.noPages && c.partial() }

// checkLate checks the outcome of a write that the host hears of when the guest writes its pages
// back: the error comes with fsync(2) or msync(2).
func (c policyCase) checkLate(t *testing.T, written, synced string) {
	t.Helper()
	all := c.shape.write.end - c.shape.write.off
	if written != "ok" && written != fmt.Sprint(all) {
		t.Errorf("%v: writing to the guest's own pages said %s", c, written)
	}
	if synced != c.host.errno {
		t.Errorf("%v: fsync(2) or msync(2) said %s, not %s", c, synced, c.host.errno)
	}
}

// triesAgain tells whether a page that the host has refused may come again: the guest's kernel may
// begin to write a page back between the fault of a store and the store, which makes the page dirty
// anew. A host that refuses one call only takes it then, and msync(2) still tells of the error.
func (c policyCase) triesAgain() bool {
	return c.writer == mapped && !c.host.full && c.host.spot == span{}
}

// checkBytes checks the host's bytes where nobody was told which of them it has taken: each is an
// old one or a new one, none that it refuses is new, and it does not have all.
func (c policyCase) checkBytes(t *testing.T, old, host []byte) {
	t.Helper()
	if len(host) < len(old) || int64(len(host)) > max(c.shape.size, c.shape.write.end) {
		t.Fatalf("%v: the host's file has %d bytes", c, len(host))
	}
	refused := 0
	for i, got := range host {
		at, was := int64(i), byte(0)
		if i < len(old) {
			was = old[i]
		}
		isNew := at >= c.shape.write.off && at < c.shape.write.end && got == pattern.Byte(newTag, at)
		if bad := at >= c.host.spot.off && at < c.host.spot.end; isNew && bad || !isNew && got != was {
			t.Fatalf("%v: the host holds, from offset %d on, what it should not: %s", c, i, pattern.Describe(host))
		}
		if !isNew && at >= c.shape.write.off && at < c.shape.write.end {
			refused++
		}
	}
	if refused == 0 && int64(len(host)) >= c.shape.write.end && !c.triesAgain() {
		t.Errorf("%v: the host has refused nothing: %s", c, pattern.Describe(host))
	}
}

// sameAsHost compares what the guest has read with what the host holds. With writeback the guest
// believes in the size that it has made, and reads zeros behind the host's end.
func (c policyCase) sameAsHost(t *testing.T, who, got string, host []byte) {
	t.Helper()
	want := pattern.Describe(host)
	if c.mode.writeback && !c.mode.noPages && c.shape.extends() && got != want {
		longer := append(host[:len(host):len(host)], make([]byte, max(0, c.shape.write.end-int64(len(host))))...)
		want = pattern.Describe(longer)
	}
	if got != want {
		t.Errorf("%v: %s reads %s, the host holds %s", c, who, got, want)
	}
}

// recover lets the host be well again and writes the same bytes once more.
func (c policyCase) recover(b *box, root, dir string) {
	b.t.Helper()
	file := c.host.heal(b, dir, c.file)
	path := filepath.Join(root, c.host.name, file)
	old, err := os.ReadFile(path)
	if err != nil {
		b.t.Fatal(err)
	}
	open, write := c.writer.steps(c.shape.write.painted(endTag))
	sync := write[1]
	got := b.io(dir+"/"+file, open, write[0], sync, sync, "close", "open=r", "read", "close")
	// Once may be about the pages of before: msync(2) and close(2) do not wait for all of them when
	// the first have failed (Linux fs/fuse/file.c, fuse_fsync and fuse_flush).
	if c.mode.late(c.writer) && got[2] == c.host.errno {
		got[2] = "ok"
	}
	all := fmt.Sprint(c.shape.write.end - c.shape.write.off)
	for i, r := range got {
		if r != "ok" && !(i == 1 && r == all) && i != 6 {
			b.t.Errorf("%v: the host is well again, but step %d says %s: %v", c, i, r, got)
		}
	}
	now, err := os.ReadFile(path)
	if err != nil {
		b.t.Fatal(err)
	}
	want := pattern.Paint(old, pattern.Span{Off: c.shape.write.off, Len: c.shape.write.end - c.shape.write.off, Tag: endTag})
	if pattern.Describe(now) != pattern.Describe(want) {
		b.t.Errorf("%v: the host is well again and holds %s, not %s", c, pattern.Describe(now), pattern.Describe(want))
	}
	c.sameAsHost(b.t, "a new open on a host that is well again", got[6], now)
}
