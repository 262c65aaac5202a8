# SPDX-License-Identifier: Apache-2.0
#
# Runs in the unpacked packages, by busybox, as root or, for a session, as an ordinary user: makes an initrd
# for the guest, starts libvirt's daemon and the domain, and waits until that has ended. What it prints goes
# into the test's log.
set -e
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C

initrd=/work/initrd.dir
busybox mkdir -p $initrd/bin $initrd/mod $initrd/mnt $initrd/proc $initrd/dev
busybox cp /bin/busybox $initrd/bin/
n=0
for m in virtio virtio_ring virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci fuse virtiofs; do
	n=$((n + 1))
	file=$(busybox find /lib/modules/ -name "$m.ko.xz")
	[ -z "$file" ] || busybox xzcat "$file" >"$initrd/mod/$n-$m.ko"
done
busybox cp /work/init.sh $initrd/init
busybox chmod 755 $initrd/init
(cd $initrd && busybox find . | busybox cpio -o -H newc) >/work/initrd
busybox cp /boot/vmlinuz-* /work/kernel

libvirtd &
until virsh list >/dev/null 2>&1; do kill -0 $!; busybox sleep 0.2; done
virsh version
virsh define /work/domain.xml
virsh start t
until virsh domstate t | busybox grep -q 'shut off'; do busybox sleep 0.2; done
echo "the daemon's log:"
busybox cat "$LOGS/t-fs0-virtiofsd.log"
