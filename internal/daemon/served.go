// SPDX-License-Identifier: Apache-2.0

//go:build !backdoor

package daemon

import (
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/virtiofsd-go/virtiofsd-go/fusecore/hostfs"
)

// served is what guests talk to.
func served(fs *hostfs.FS) fuse.RawFileSystem { return fs }
