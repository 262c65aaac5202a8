// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"errors"
	"fmt"
)

// HandleMode says whether files whose fd was given up for want of room are reopened by file handle
// (open_by_handle_at(2)). The names are those of virtiofsd's --inode-file-handles.
type HandleMode string

const (
	// HandlesPrefer uses handles where the process may (CAP_DAC_READ_SEARCH) and the share's file
	// system has them, else names.
	HandlesPrefer HandleMode = "prefer"
	// HandlesNever uses names: a file that others rename while its fd is given up is lost to the
	// guest until it looks it up again, and one that is removed while it is known keeps its fd.
	HandlesNever HandleMode = "never"
	// HandlesMandatory makes New fail where HandlesPrefer would use names for the share itself.
	// Mounts below it are reached by names nevertheless.
	HandlesMandatory HandleMode = "mandatory"
)

// ErrNoHandles is the error of New for HandlesMandatory without handles.
var ErrNoHandles = errors.New("file handles cannot be used: this takes CAP_DAC_READ_SEARCH in the first user namespace and a file system that has them")

// useHandles tells whether handles are to be tried.
func (c *Config) useHandles() (bool, error) {
	switch c.Handles {
	case "", HandlesPrefer:
		return c.Faults == nil, nil
	case HandlesNever:
		return false, nil
	case HandlesMandatory:
		if c.Faults != nil {
			return false, errors.New("faults find files by name, which excludes mandatory file handles")
		}
		return true, nil
	}
	return false, fmt.Errorf("unknown mode of file handles %q", string(c.Handles))
}

// UsesHandles tells whether files of the share itself are reopened by handle.
func (fs *FS) UsesHandles() bool { return fs.host.handles }
