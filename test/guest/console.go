// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"bytes"
	"regexp"
	"strings"
	"sync"
)

// console keeps what a guest's kernel prints and watches it for signs of a broken kernel. Safe
// for concurrent use.
type console struct {
	mu      sync.Mutex
	text    bytes.Buffer
	scanned int           // the text up to here, ending in whole lines, has been looked at
	trouble string        // the first line that means trouble
	broken  chan struct{} // closed when trouble is set
}

func newConsole() *console { return &console{broken: make(chan struct{})} }

// troubleLine matches what a kernel prints when it, or a driver of ours, has failed. Slowness
// (soft lockups, stalls) is not among it: the host may be busy.
var troubleLine = regexp.MustCompile(
	`Kernel panic|kernel BUG at|BUG: (?:kernel|unable|Bad|KASAN|scheduling)|Oops: |general protection fault|double fault|Modules linked in:.*fuse`)

// Write implements io.Writer.
func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text.Write(p)
	for {
		line, _, ok := bytes.Cut(c.text.Bytes()[c.scanned:], []byte("\n"))
		if !ok {
			return len(p), nil
		}
		c.scanned += len(line) + 1
		if c.trouble == "" && troubleLine.Match(line) {
			c.trouble = string(line)
			close(c.broken)
		}
	}
}

// problem returns the line that told of a broken kernel, or "".
func (c *console) problem() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.trouble
}

// tail returns the last n lines.
func (c *console) tail(n int) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	lines := strings.Split(strings.TrimRight(c.text.String(), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
