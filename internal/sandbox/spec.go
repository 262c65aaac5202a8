// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/internal/idmap"
)

// Mode is the kind of a sandbox.
type Mode string

// The kinds, see the package's documentation.
const (
	Namespace Mode = "namespace"
	Chroot    Mode = "chroot"
	None      Mode = "none"
)

// Spec says what worker to start.
type Spec struct {
	Mode Mode

	// Shares are paths of directories and regular files, which exist: what the worker can reach. With
	// Chroot there is one, a directory.
	Shares []string

	// UIDs and GIDs map the ids of the worker's user namespace, for Namespace without root's rights.
	// None: the own id only, to itself.
	UIDs, GIDs []idmap.Range

	// Job is what the worker has to do, in a form of the caller's.
	Job []byte

	// Files are for the worker, in this order. They stay the caller's.
	Files []*os.File
}

// File descriptors that a worker starts with, after standard input, output and error.
const (
	setupFD  = 3 + iota // setup, as gob in a file
	parentFD            // the socket to the parent
	filesFD             // Spec.Files
)

// setup is what the worker is told. Paths are any bytes, which JSON would not keep.
type setup struct {
	Mode    Mode
	Shares  []place
	Mapped  bool // ids are mapped by the parent once it runs: wait for that
	Private bool // in a user namespace of its own
	Files   int
	Job     []byte
}

// place is a share, and what it is: the worker looks it up again in its own mounts.
type place struct {
	Path     string
	Dev, Ino uint64
}

// errMoved is the cause when another file is at the path of a share than a moment before.
var errMoved = errors.New("somebody else has come into its place just now: start again")

// newSetup looks at the shares. unprivileged tells whether there is a user namespace.
func (s Spec) newSetup(unprivileged bool) (setup, error) {
	up := setup{Mode: s.Mode, Job: s.Job, Files: len(s.Files), Private: unprivileged}
	for _, path := range s.Shares {
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			return setup{}, fmt.Errorf("the shared directory %s: %w", path, err)
		}
		if s.Mode == Chroot && st.Mode&unix.S_IFMT != unix.S_IFDIR {
			return setup{}, fmt.Errorf("%s is a file, and --sandbox chroot needs a directory: use namespace or none", path)
		}
		up.Shares = append(up.Shares, place{path, st.Dev, st.Ino})
	}
	return up, nil
}

// check says in one line what cannot be.
func (s Spec) check(root bool) error {
	switch {
	case s.Mode == Chroot && len(s.Shares) != 1:
		return errors.New("--sandbox chroot is for a single share: use namespace or none, or start a daemon for each")
	case s.Mode == Chroot && !root:
		return fmt.Errorf("--sandbox chroot needs root, and this is user %d: use namespace or none", os.Geteuid())
	case len(s.UIDs)+len(s.GIDs) > 0 && (s.Mode != Namespace || root):
		return errors.New("--uid-map and --gid-map are for --sandbox namespace without root's rights: leave them out (--translate-uid and --translate-gid change ids for root)")
	}
	return nil
}
