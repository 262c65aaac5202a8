// SPDX-License-Identifier: Apache-2.0

package fusecore

import (
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
)

func TestInitThenGetattr(t *testing.T) {
	tt := newStarted(t, fuse.NewDefaultRawFileSystem())
	got := tt.send(message(t, OpGetattr, 7, make([]byte, 16)), 120)
	if got.errno() != 38 {
		t.Fatalf("GETATTR of the empty file system: %v", got.errno())
	}
}
