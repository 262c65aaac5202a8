// SPDX-License-Identifier: Apache-2.0

// Package libvirt holds the test that libvirt starts the daemon for a domain, and that its guest uses
// the share. libvirt, QEMU and a kernel are unpacked from Debian packages into the cache of the
// guests; they run there by chroot, in namespaces of their own, as root.
package libvirt
