#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0
#
# The guest's only process: uses the share.
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
for m in /mod/*; do
	/bin/busybox insmod $m
done
/bin/busybox mount -t virtiofs share /mnt && /bin/busybox cat /mnt/greeting >/mnt/answer
/bin/busybox sync
/bin/busybox poweroff -f
