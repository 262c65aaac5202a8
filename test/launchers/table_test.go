// SPDX-License-Identifier: Apache-2.0

package launchers

import (
	"syscall"
	"testing"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// Signs that launchers wait for before they let the VMM connect.
const (
	inherited  = ""            // the socket is theirs and listens already
	socketFile = "socket file" // the socket appears
	pidFile    = "pid file"    // the pid file beside it appears
	logLine    = "log line"    // "Waiting for vhost-user socket connection..." is printed
)

// Users that the daemon is started as; see newSurroundings.
const (
	root     = 0
	qemuUser = 107  // KubeVirt's
	person   = 1000 // has subordinate ids
)

// launcher is one way in which a program starts virtiofsd.
type launcher struct {
	name string
	// args is the command line. {dir} is the share, {socket} the path to listen on, {fd} the
	// inherited socket, {nofile} and {nproc} what the launcher finds on the host.
	args   string
	fd     int      // the number of the inherited socket; 0: none
	env    []string // beside the usual
	cwd    bool     // the share is the working directory
	user   int
	userns bool         // in a user namespace of its own
	ready  string       // what it waits for
	vmm    frontend.VMM // nil: QEMU 11
	kill   bool         // it kills the daemon in the end, where others let it end with the VMM

	readonly bool                         // the guest may write nothing
	then     func(t *testing.T, g *guest) // what else has to work
}

var launchers = []launcher{
	{name: "libvirt", fd: 27,
		args: "--fd={fd} --shared-dir {dir} --cache always --sandbox namespace --xattr --thread-pool-size=16 --rlimit-nofile={nofile} --log-level debug",
		then: xattrs},
	{name: "libvirt, cache none", fd: 27, vmm: frontend.QEMU72,
		args: "--fd={fd} --shared-dir {dir} --cache never --sandbox chroot"},
	{name: "libvirt before separate options", fd: 31, vmm: frontend.QEMU72,
		args: "--fd={fd} -o source={dir},cache=auto,sandbox=namespace,xattr,flock,posix_lock -d", then: xattrs},
	{name: "libvirt before separate options, all off", fd: 31,
		args: "--fd={fd} -o source={dir},cache=always,no_xattr,no_flock,no_posix_lock --thread-pool-size=1"},
	{name: "libvirt, session", fd: 27, user: person,
		args: "--fd={fd} --shared-dir {dir} --uid-map=:0:1000:1: --uid-map=:1:100000:65536: --gid-map=:0:1000:1: --gid-map=:1:100000:65536:"},

	{name: "Kata Containers, Go runtime", fd: 3,
		args: "--syslog --cache=auto --shared-dir={dir} --fd={fd} --inode-file-handles=prefer --thread-pool-size=1 --announce-submounts"},
	{name: "Kata Containers, Go runtime, SELinux guest", fd: 3, vmm: frontend.CloudHypervisor,
		args: "--syslog --cache=never --shared-dir={dir} --fd={fd} --thread-pool-size=1 --announce-submounts --xattr", then: xattrs},
	{name: "Kata Containers, Rust runtime", ready: logLine, kill: true, vmm: frontend.CloudHypervisor,
		args: "--socket-path {socket} --shared-dir {dir} --cache auto --thread-pool-size=1 -o announce_submounts"},
	{name: "Kata Containers, Rust runtime up to 3.30", ready: logLine, kill: true,
		args: "--socket-path {socket} --shared-dir {dir} --cache auto --sandbox none --seccomp none --thread-pool-size=1 -o announce_submounts --xattr", then: xattrs},

	{name: "Incus", fd: 3,
		args: "--fd={fd} --cache=never --shared-dir={dir} --posix-acl=auto", then: xattrs},
	{name: "Incus, without negotiation", fd: 3,
		args: "--fd={fd} --cache=metadata --shared-dir={dir} --posix-acl", then: xattrs},
	{name: "Incus, with an id map", fd: 3,
		args: "--fd={fd} --cache=never --shared-dir={dir} --translate-uid=map:0:1000000:65536 --translate-uid=forbid-guest:65536:4294901759 " +
			"--translate-gid=map:0:1000000:65536 --translate-gid=forbid-guest:65536:4294901759",
		then: func(t *testing.T, g *guest) { g.creates(1000000, 1000000) }},
	{name: "LXD", fd: 3, userns: true,
		args: "--fd={fd} --shared-dir {dir} --cache auto --allow-direct-io --thread-pool-size {nproc} --xattr", then: xattrs},

	{name: "Proxmox VE", fd: 11,
		args: "--fd={fd} --shared-dir={dir} --xattr --posix-acl --announce-submounts --allow-direct-io --cache=auto --writeback --syslog", then: xattrs},
	{name: "Proxmox VE, plain", fd: 11,
		args: "--fd={fd} --shared-dir={dir} --announce-submounts --syslog"},

	{name: "podman machine", ready: socketFile, user: person, cwd: true, env: []string{"RUST_LOG=ERROR"},
		args: "--sandbox none --socket-path {socket} --shared-dir . --seccomp=none"},
	{name: "Lima", ready: socketFile, user: person,
		args: "--socket-path {socket} --shared-dir {dir}"},
	{name: "virtme-ng", ready: pidFile, user: person,
		args: "--syslog --no-announce-submounts --socket-path {socket} --shared-dir {dir} --sandbox none --cache always"},
	{name: "virtme-ng, read-only", ready: pidFile, user: person, readonly: true,
		args: "--syslog --no-announce-submounts --posix-acl --readonly --socket-path {socket} --shared-dir {dir} --sandbox none --cache always"},
	{name: "bcvk", ready: socketFile, user: person,
		args: "--socket-path {socket} --shared-dir {dir} --cache=never --allow-mmap --sandbox none"},

	{name: "systemd-vmspawn", fd: 3, env: []string{"LISTEN_FDS=1"},
		args: "--shared-dir {dir} --xattr --fd {fd} --no-announce-submounts --log-level=error --modcaps=-mknod --translate-uid map:0:1000:1 --translate-gid map:0:1000:1",
		then: func(t *testing.T, g *guest) { g.creates(1000, 1000) }},
	{name: "systemd socket activation alone", fd: 3, env: []string{"LISTEN_FDS=1", "LISTEN_FDNAMES=virtiofsd-go.socket"},
		args: "--shared-dir {dir}"},
	{name: "mkosi", fd: 5,
		args: "--shared-dir {dir} --xattr --no-announce-submounts --sandbox=chroot --inode-file-handles=prefer --log-level=error --modcaps=-mknod --fd {fd}", then: xattrs},
	{name: "mkosi, SELinux", fd: 5,
		args: "--shared-dir {dir} --xattr --no-announce-submounts --sandbox=chroot --inode-file-handles=never --log-level=error --modcaps=-mknod --security-label --fd {fd}"},

	{name: "microvm.nix", ready: socketFile,
		args: "--socket-path={socket} --socket-group=kvm --shared-dir={dir} --rlimit-nofile {nofile} --thread-pool-size {nproc} --posix-acl --xattr --cache=auto --inode-file-handles=prefer",
		then: func(t *testing.T, g *guest) { xattrs(t, g); g.socketOf(kvmGroup) }},
	{name: "microvm.nix with crosvm", ready: socketFile, vmm: frontend.Crosvm, readonly: true,
		args: "--socket-path={socket} --socket-group=kvm --shared-dir={dir} --rlimit-nofile {nofile} --thread-pool-size {nproc} --cache=always --inode-file-handles=prefer --tag=ro-store --readonly",
		then: func(t *testing.T, g *guest) { g.hasTag("ro-store") }},
	{name: "KubeVirt", ready: socketFile, user: qemuUser,
		args: "--socket-path={socket} --shared-dir={dir} --sandbox=none --cache=auto --migration-on-error=guest-error --migration-mode=find-paths"},
	{name: "KubeVirt, service account", ready: socketFile, user: qemuUser,
		args: "--socket-path={socket} --shared-dir={dir} --sandbox=none --cache=auto --migration-on-error=guest-error --migration-mode=find-paths --translate-uid=host:107:0:1",
		then: func(t *testing.T, g *guest) { g.sees(0) }},

	{name: "cloud-hypervisor's documentation", ready: socketFile, vmm: frontend.CloudHypervisor,
		args: "--log-level debug --socket-path={socket} --shared-dir={dir} --cache=never --thread-pool-size={nproc}"},
	{name: "crosvm, by hand", ready: socketFile, vmm: frontend.Crosvm,
		args: "--socket-path={socket} --shared-dir={dir} --tag=share --sandbox=none",
		then: func(t *testing.T, g *guest) { g.hasTag("share") }},
	{name: "user-mode Linux, by hand", ready: socketFile, vmm: frontend.UML72,
		args: "--socket={socket} --shared-dir={dir} --tag share -f",
		then: func(t *testing.T, g *guest) { g.hasTag("share") }},
	{name: "libkrun, by hand", ready: socketFile, vmm: frontend.Libkrun,
		args: "--socket-path={socket} --shared-dir={dir} --inode-file-handles=never --rlimit-nofile=0"},
}

// xattrs checks that extended attributes reach the host's file.
func xattrs(t *testing.T, g *guest) {
	t.Helper()
	node := g.lookup(greeting)
	if errno := g.SetXAttr(node, "user.launcher", []byte("x"), 0); errno != 0 {
		t.Fatalf("SETXATTR: %v", errno)
	}
	value := make([]byte, 10)
	n, err := syscall.Getxattr(g.path(greeting), "user.launcher", value)
	if err != nil || string(value[:n]) != "x" {
		t.Errorf("the host's attribute is %q, %v", value[:max(n, 0)], err)
	}
}
