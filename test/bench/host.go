// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Host is the machine that was measured on.
type Host struct {
	Kernel, CPU string
	CPUs        int
	LoadBefore  string // /proc/loadavg: of the last 1, 5 and 15 minutes
	LoadAfter   string
}

func thisHost() (Host, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return Host{}, err
	}
	h := Host{Kernel: cString(u.Sysname[:]) + " " + cString(u.Release[:]) + " " + cString(u.Machine[:]), CPUs: runtime.NumCPU(), LoadBefore: load()}
	b, err := os.ReadFile("/proc/cpuinfo")
	for l := range strings.SplitSeq(string(b), "\n") {
		if name, v, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(name) == "model name" {
			h.CPU = strings.TrimSpace(v)
			break
		}
	}
	return h, err
}

func cString(b []byte) string { return string(b[:bytes.IndexByte(b, 0)]) }

// load is empty where there is no /proc/loadavg.
func load() string {
	b, _ := os.ReadFile("/proc/loadavg")
	w := strings.Fields(string(b))
	return strings.Join(w[:min(3, len(w))], " ")
}

// fsTypes are the magic numbers of Linux include/uapi/linux/magic.h that are likely here.
var fsTypes = map[int64]string{
	unix.EXT4_SUPER_MAGIC: "ext4", unix.TMPFS_MAGIC: "tmpfs", unix.XFS_SUPER_MAGIC: "xfs",
	unix.BTRFS_SUPER_MAGIC: "btrfs", unix.OVERLAYFS_SUPER_MAGIC: "overlay",
}

// fsType names the file system of a directory.
func fsType(dir string) (string, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return "", fmt.Errorf("%s: %w", dir, err)
	}
	if name, ok := fsTypes[int64(st.Type)]; ok {
		return name, nil
	}
	return fmt.Sprintf("file system %#x", st.Type), nil
}
