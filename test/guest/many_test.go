// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// TestFourGuests has four guests, each with its own daemon, work in one directory at once.
func TestFourGuests(t *testing.T) {
	const guests, prizes, files = 4, 40, 20
	dir := t.TempDir()
	boxes := make([]*box, guests)
	for i := range boxes {
		d := serve(t, DaemonSpec{Shared: dir, Tag: "share", Args: []string{"--cache=never"}, Race: true})
		boxes[i] = boot(t, Spec{Kind: QEMU72, Shares: []Share{{d.Socket, "share", 1}}})
		boxes[i].mount("share")
	}
	// Each prize can be won by one guest only, as mkdir is atomic. The winner says so in a file
	// of its own; losers see the directory. Besides, each writes its own files and renames them
	// over a common one.
	script := fmt.Sprintf(`cd /mnt/share; mkdir own%%d; me=%%[1]d
		for i in $(seq %d); do mkdir prize$i 2>/dev/null && echo $i >> own$me/won || test -d prize$i; done
		for i in $(seq %d); do echo $me > own$me/f$i; echo $me > new$me; mv new$me common; done`, prizes, files)
	outs := make([]string, guests)
	codes := make([]int, guests)
	errs := make([]error, guests)
	var wg sync.WaitGroup
	for i, b := range boxes {
		wg.Go(func() { outs[i], codes[i], errs[i] = b.Do("set -e; "+fmt.Sprintf(script, i), commandTime) })
	}
	wg.Wait()
	won := map[string]int{}
	for i := range boxes {
		if errs[i] != nil || codes[i] != 0 {
			t.Fatalf("guest %d: status %d, %v\n%s", i, codes[i], errs[i], outs[i])
		}
		text, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("own%d", i), "won"))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		for p := range strings.FieldsSeq(string(text)) {
			won[p]++
		}
		own, err := filepath.Glob(filepath.Join(dir, fmt.Sprintf("own%d", i), "f*"))
		if err != nil || len(own) != files {
			t.Errorf("guest %d has written %d files, not %d: %v", i, len(own), files, err)
		}
	}
	for i := 1; i <= prizes; i++ {
		if n := won[fmt.Sprint(i)]; n != 1 {
			t.Errorf("prize %d was won %d times", i, n)
		}
	}
	last, err := os.ReadFile(filepath.Join(dir, "common"))
	if err != nil || len(last) != 2 {
		t.Errorf("the common file: %q, %v", last, err)
	}
	// What one guest has written all others see.
	want := ""
	for i := range guests {
		want += fmt.Sprintf("%d %d\n", files, i)
	}
	for _, b := range boxes {
		if got := b.must("cd /mnt/share; cat own*/f* | sort | uniq -c | sed 's/^ *//'"); got != want {
			t.Errorf("a guest sees\n%swant\n%s", got, want)
		}
	}
}
