// SPDX-License-Identifier: Apache-2.0

package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// TestOptionsInInit: what FUSE_INIT's reply agrees to with each option, of all that Linux offers.
func TestOptionsInInit(t *testing.T) {
	for _, c := range []struct {
		options string
		flag    uint64
		on      bool
	}{
		{"", fuse.CAP_HANDLE_KILLPRIV_V2, false},
		{"--killpriv-v2", fuse.CAP_HANDLE_KILLPRIV_V2, true},
		{"--killpriv-v2 --no-killpriv-v2", fuse.CAP_HANDLE_KILLPRIV_V2, false},
		{"", fuse.CAP_EXPORT_SUPPORT, true},
		{"", fuse.CAP_ALLOW_IDMAP, true},
		{"", fuse.CAP_DIRECT_IO_ALLOW_MMAP, false},
		{"--allow-mmap", fuse.CAP_DIRECT_IO_ALLOW_MMAP, true},
		{"", fuse.CAP_READDIRPLUS | fuse.CAP_READDIRPLUS_AUTO, true},
		{"--no-readdirplus", fuse.CAP_READDIRPLUS | fuse.CAP_READDIRPLUS_AUTO, false},
		{"--cache=never", fuse.CAP_READDIRPLUS | fuse.CAP_READDIRPLUS_AUTO, false},
		{"", fuse.CAP_CACHE_SYMLINKS, false},
		{"--cache=never", fuse.CAP_CACHE_SYMLINKS, false},
		{"--cache=metadata", fuse.CAP_CACHE_SYMLINKS, true},
		{"--cache=always", fuse.CAP_CACHE_SYMLINKS, true},
		{"", fuse.CAP_SUBMOUNTS, true},
		{"--no-announce-submounts --announce-submounts", fuse.CAP_SUBMOUNTS, false},
	} {
		_, init := boot(t, frontend.Options{}, strings.Fields(c.options)...)
		if on := init.Flags64()&c.flag != 0; on != c.on {
			t.Errorf("options %q: flag %#x is agreed upon: %v, want %v", c.options, c.flag, on, c.on)
		}
	}
}

// A share whose file system has no handles that can be opened, such as procfs.
func TestOptionInodeFileHandles(t *testing.T) {
	const dir = "/proc/self/net"
	for use, fails := range map[string]bool{"never": false, "prefer": false, "mandatory": true} {
		socket := filepath.Join(t.TempDir(), "fs.sock")
		d := start(t, nil, "--shared-dir", dir, "--socket-path", socket, "--inode-file-handles="+use)
		if !fails {
			d.waitFor(readyLine)
			continue
		}
		d.wait(1)
		if !strings.Contains(d.output(), "file handles cannot be used") {
			t.Errorf("--inode-file-handles=%s says:\n%s", use, d.output())
		}
	}
}
