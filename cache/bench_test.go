// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"os"
	"testing"

	"github.com/virtiofsd-go/virtiofsd-go/internal/sys"
	"golang.org/x/sys/unix"
)

// realFile is a HostFile by system calls, for measurements.
type realFile struct {
	HostFile
	fd int
}

func (f realFile) ReadAt(_ <-chan struct{}, dst [][]byte, off int64, _ bool) (int, error) {
	return sys.Readv(f.fd, dst, off, 0)
}

func (f realFile) WriteAt(_ <-chan struct{}, src [][]byte, off int64, _ WriteFlags) (int, error) {
	return sys.Writev(f.fd, src, off, 0)
}

func (f realFile) Stat(<-chan struct{}) (Stamp, error) {
	var st unix.Statx_t
	err := sys.Statx(f.fd, 0, unix.STATX_SIZE|unix.STATX_MTIME|unix.STATX_CTIME, &st)
	return Stamp{Size: int64(st.Size), Mtime: st.Mtime.Sec*1e9 + int64(st.Mtime.Nsec), Ctime: st.Ctime.Sec*1e9 + int64(st.Ctime.Nsec)}, err
}

const benchSize = 32 << 20

// benchFile is a file of benchSize that the host has in memory, with pages for all of it or none.
func benchFile(b *testing.B, frames bool) *File {
	b.Helper()
	tmp, err := os.CreateTemp(b.TempDir(), "")
	if err != nil {
		b.Fatal(err)
	}
	if _, err := tmp.Write(make([]byte, benchSize)); err != nil {
		b.Fatal(err)
	}
	o := Options{Size: 2 * benchSize}
	if !frames {
		o.Size = 0
	}
	c, err := New(o)
	if err != nil {
		b.Fatal(err)
	}
	f := c.Open(testKey, Handle{Host: realFile{fd: int(tmp.Fd())}, Mode: ModeAlways})
	b.Cleanup(func() {
		f.Close()
		c.Forget(testKey)
		_ = c.Close()
		_ = tmp.Close()
	})
	return f
}

// run reads or writes pieces of n bytes at places that jump about.
func run(b *testing.B, f *File, n int64, do func(buf [][]byte, off int64) (int, error)) {
	b.Helper()
	b.SetBytes(n)
	b.ReportAllocs()
	buf := [][]byte{make([]byte, n)}
	places := int64(benchSize) / n
	at := int64(0)
	for b.Loop() {
		at = (at + 7919) % places
		if k, err := do(buf, at*n); int64(k) != n || err != nil {
			b.Fatal(k, err)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	for name, n := range map[string]int64{"4K": 4 << 10, "8K": 8 << 10, "16K": 16 << 10, "32K": 32 << 10, "64K": 64 << 10, "1M": 1 << 20} {
		for mode, frames := range map[string]bool{"cache": true, "none": false} {
			b.Run(name+"/"+mode, func(b *testing.B) {
				f := benchFile(b, frames)
				run(b, f, n, func(buf [][]byte, off int64) (int, error) { return f.ReadAt(nil, buf, off, 0) })
			})
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	for name, n := range map[string]int64{"4K": 4 << 10, "8K": 8 << 10, "16K": 16 << 10, "32K": 32 << 10, "64K": 64 << 10, "1M": 1 << 20} {
		for mode, frames := range map[string]bool{"cache": true, "none": false} {
			b.Run(name+"/"+mode, func(b *testing.B) {
				f := benchFile(b, frames)
				run(b, f, n, func(buf [][]byte, off int64) (int, error) { return f.WriteAt(nil, buf, off, 0) })
			})
		}
	}
}
