// SPDX-License-Identifier: Apache-2.0

package fileio

import (
	"bytes"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// NumberSize is the length of a file that holds a number: some pages and a bit.
const NumberSize = 3*4096 + 16*25

// Number is the content of a file that holds n, which is not negative: the same line over and over.
func Number(n int) []byte {
	return bytes.Repeat(fmt.Appendf(nil, "%015d\n", n), NumberSize/16)
}

// Numbers reads what a file that holds a number holds: the smallest and the greatest that it finds,
// as it may have been read while it was written.
func Numbers(data []byte) (least, most int, err error) {
	if len(data) != NumberSize {
		return 0, 0, fmt.Errorf("%d bytes, not %d", len(data), NumberSize)
	}
	for at := 0; at < len(data); at += 16 {
		n, err := strconv.Atoi(string(data[at : at+15]))
		if err != nil {
			return 0, 0, fmt.Errorf("at offset %d: %w", at, err)
		}
		if at == 0 {
			least, most = n, n
		}
		least, most = min(least, n), max(most, n)
	}
	return least, most, nil
}

func sayNumbers(data []byte) string {
	least, most, err := Numbers(data)
	switch {
	case err != nil:
		return err.Error()
	case least != most:
		return fmt.Sprintf("%d to %d", least, most)
	default:
		return strconv.Itoa(least)
	}
}

func (f *file) setNumber(arg string) (string, error) {
	n, err := strconv.Atoi(arg)
	if err != nil {
		return "", err
	}
	done, err := unix.Pwrite(f.fd, Number(n), 0)
	return strconv.Itoa(done), err
}

func (f *file) number() (string, error) {
	data, err := f.read()
	return sayNumbers(data), err
}

// setMtime sets the time of modification, in whole seconds, of what path leads to.
func (f *file) setMtime(arg string) (string, error) {
	sec, err := strconv.ParseInt(arg, 10, 64)
	if err != nil {
		return "", err
	}
	ts := unix.NsecToTimespec(sec * int64(time.Second))
	return "", unix.UtimesNanoAt(unix.AT_FDCWD, f.path, []unix.Timespec{ts, ts}, 0)
}

// await waits until there is a file at path.
func await(path string) {
	for unix.Access(path, 0) != nil {
		time.Sleep(5 * time.Millisecond)
	}
}
