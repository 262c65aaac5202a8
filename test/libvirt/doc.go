// SPDX-License-Identifier: Apache-2.0

// Package libvirt holds the test that libvirt starts the daemon for a domain, and that its guest uses
// the share. libvirt is unpacked from Debian packages into the cache of the guests; it runs there with
// their QEMU and kernel by chroot, in namespaces of its own.
package libvirt
