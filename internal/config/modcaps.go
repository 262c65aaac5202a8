// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// capabilities are the names of the capabilities by their numbers (Linux
// include/uapi/linux/capability.h), without the leading CAP_.
var capabilities = []string{
	"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
	"LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
	"SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
	"SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
	"MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
	"CHECKPOINT_RESTORE",
}

// CapChange is one change of the set of capabilities that the process keeps.
type CapChange struct {
	Cap int  // its number
	Add bool // else it is taken away
}

// ParseModCaps reads the value of --modcaps: "+NAME" and "-NAME" in any case of letters, with or
// without "cap_", with colons between them.
func ParseModCaps(s string) ([]CapChange, error) {
	var changes []CapChange
	for change := range strings.SplitSeq(s, ":") {
		name, add := strings.CutPrefix(change, "+")
		if !add {
			var drop bool
			if name, drop = strings.CutPrefix(change, "-"); !drop {
				return nil, fmt.Errorf("--modcaps %q has neither + nor - before %q: +mknod:-setfcap is a value, for instance", s, change)
			}
		}
		n := slices.Index(capabilities, strings.TrimPrefix(strings.ToUpper(name), "CAP_"))
		if n < 0 {
			return nil, fmt.Errorf("--modcaps %q: there is no capability %q, see capabilities(7)", s, name)
		}
		changes = append(changes, CapChange{Cap: n, Add: add})
	}
	return changes, nil
}

func (c Config) validateModCaps() error {
	if c.ModCaps == "" {
		return nil
	}
	changes, err := ParseModCaps(c.ModCaps)
	if err != nil {
		return wrong("modcaps", "%s", strings.TrimPrefix(err.Error(), "--modcaps "))
	}
	byHandles := func(s Share) bool { return s.FileHandles == FileHandlesMandatory }
	if slices.Contains(changes, CapChange{Cap: unix.CAP_DAC_READ_SEARCH}) && slices.ContainsFunc(c.Shares, byHandles) {
		return wrong("modcaps", "takes away dac_read_search, which --inode-file-handles mandatory needs: leave one of them out")
	}
	return nil
}
