# SPDX-License-Identifier: Apache-2.0
#
# Arguments: trees of packages, with colons between them; a directory; system or session. Lays a writable
# layer over the trees, makes what a system has besides, and runs inside.sh there. The layer is in memory
# and goes with the namespace.
set -e
mount -t tmpfs layer "$2/mnt"
mkdir "$2/mnt/upper" "$2/mnt/work" "$2/mnt/root"
root=$2/mnt/root
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/mnt/upper,workdir=$2/mnt/work" "$root"
for d in proc sys dev run tmp etc/libvirt work var/log/libvirt/qemu var/lib/libvirt/qemu var/cache/libvirt/qemu; do
	mkdir -p "$root/$d"
done
[ -e "$root/var/run" ] || ln -s /run "$root/var/run"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs run "$root/run"
mount -t tmpfs tmp "$root/tmp"
mount --bind "$2/work" "$root/work"
cat >"$root/etc/passwd" <<END
root:x:0:0:root:/root:/bin/sh
user:x:1000:1000:user:/home:/bin/sh
libvirt-qemu:x:64055:36::/:/bin/sh
END
printf 'root:x:0:\nkvm:x:36:\nlibvirt:x:37:\nuser:x:1000:\nlibvirt-qemu:x:64055:\n' >"$root/etc/group"
for f in subuid subgid; do echo user:100000:65536 >"$root/etc/$f"; done

home=/root config=/etc/libvirt owner=0 logs=/var/log/libvirt/qemu
if [ "$3" = session ]; then
	home=/home config=/home/.config/libvirt owner=1000 logs=/home/.cache/libvirt/qemu/log
fi
mkdir -p "$root$home" "$root$config" "$root/run/user/$owner"
cat >"$root$config/qemu.conf" <<END
security_driver = "none"
remember_owner = 0
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
END
[ "$owner" != 0 ] || printf 'user = "root"\ngroup = "root"\n' >>"$root$config/qemu.conf"
chown -R $owner:$owner "$root$home" "$root/run/user/$owner"
chmod 700 "$root/run/user/$owner"
export HOME=$home XDG_RUNTIME_DIR=/run/user/$owner LOGS=$logs LIBVIRT_DEFAULT_URI="qemu:///$3?mode=legacy"
exec chroot --userspec=$owner:$owner "$root" /bin/busybox sh /work/inside.sh
