// SPDX-License-Identifier: Apache-2.0

// Package sandbox runs the part of the daemon that serves guests, the worker, where it can reach nothing
// of the host but what is shared. The process that the user has started is its parent: it keeps what needs
// the host's paths and names (socket files, the service manager), and starts the worker by executing its
// own program anew, in a sandbox of one of three kinds:
//
//   - Namespace: mount, PID, network, IPC and UTS namespaces of its own, and without root's rights a user
//     namespace, too. The worker's root is an empty, read-only file system in which each share is mounted
//     on a directory, with nosuid, nodev and noexec; no other file system is in its mount table. Mounts
//     that the host makes later below a shared directory appear in it (they are slaves, mount_namespaces(7)).
//     Its network has no interface that is up.
//   - Chroot: the worker's root is the one shared directory.
//   - None: the worker is a process like any other.
//
// The worker begins with Enter, before it has read a byte from a VMM. Files are opened again through
// /proc/self/fd, which is its working directory: no path leads there. Parent and worker are tied together:
// each ends when the other does, and a socket between them carries what the worker tells its parent.
//
// Both run what this package does on the main thread: the parent-death signal follows the thread that
// forked, and is taken away from a thread that changes its ids (prctl(2), PR_SET_PDEATHSIG). So the main
// goroutine is locked to its thread in an init function, and never serves a request.
package sandbox
