// SPDX-License-Identifier: Apache-2.0

package fileio

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/test/guest/pattern"
)

// Watch reads the file at path over and over, each time through a descriptor that it keeps and
// through a new one, and past what the kernel keeps of it, until there is a file at stop and it has
// gone round once more. It prints a line "round" after the first round and one "rounds: N" at its
// end. A byte with a tag in forbidden, bit n for tag n, or one that is wrong, is said and ends it.
func Watch(out io.Writer, path, stop string, forbidden uint16) error {
	held, err := os.Open(path)
	if err != nil {
		return err
	}
	defer held.Close()
	for round, last := 0, false; ; round++ {
		for _, how := range []string{"held", "new"} {
			if err := unix.Fadvise(int(held.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
				return err
			}
			data, err := readBy(how, held, path)
			if err != nil {
				return fmt.Errorf("%s descriptor: %w", how, err)
			}
			if tags, ok := pattern.Tags(data, 0); !ok || tags&forbidden != 0 {
				return fmt.Errorf("round %d, %s descriptor: %s", round, how, pattern.Describe(data))
			}
		}
		if round == 0 {
			fmt.Fprintln(out, "round")
		}
		if last {
			_, err := fmt.Fprintf(out, "rounds: %d\n", round)
			return err
		}
		last = unix.Access(stop, 0) == nil
	}
}

func readBy(how string, held *os.File, path string) ([]byte, error) {
	if how == "held" {
		return (&file{fd: int(held.Fd())}).read()
	}
	return os.ReadFile(path)
}

// Follow asks the host for the file's time of modification and then reads its number, over and
// over, until there is a file at stop. It prints a line "TIME NUMBER" in nanoseconds, with the
// smallest number that it has found, where one has changed; "-1" where the file is incomplete.
func Follow(out io.Writer, path, stop string) error {
	held, err := os.Open(path)
	if err != nil {
		return err
	}
	defer held.Close()
	var lastTime int64
	lastNumber := -2
	for round := 0; unix.Access(stop, 0) != nil; round++ {
		var st unix.Statx_t
		err := unix.Statx(unix.AT_FDCWD, path, unix.AT_STATX_FORCE_SYNC, unix.STATX_MTIME, &st)
		if err != nil {
			return err
		}
		how := "held"
		if round%8 == 7 {
			how = "new" // seldom, as to open a file makes others look, too
		}
		data, err := readBy(how, held, path)
		if err != nil {
			return err
		}
		number, _, err := Numbers(data)
		if err != nil {
			number = -1
		}
		mtime := st.Mtime.Sec*1e9 + int64(st.Mtime.Nsec)
		if mtime == lastTime && number == lastNumber {
			continue
		}
		lastTime, lastNumber = mtime, number
		if _, err := fmt.Fprintln(out, mtime, number); err != nil {
			return err
		}
	}
	return nil
}
