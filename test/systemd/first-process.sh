#!/bin/bash
# Becomes the first process of the machine of machine.sh: mounts what a kernel and an initial file system would, makes a
# network, and leaves to systemd: `first-process.sh REPOSITORY NODE`.
set -euo pipefail
REPOSITORY=$1 NODE=$2
cd /mnt/root

mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
for FOLDER in run dev; do mount -t tmpfs -o mode=0755 tmpfs "$FOLDER"; done
mount -t tmpfs -o mode=1777 tmpfs tmp
for DEVICE in null zero full random urandom tty; do
  mknod -m 0666 "dev/$DEVICE" c $(stat --format='0x%t 0x%T' "/dev/$DEVICE")
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd

# Services of this computer do not start, nor what wants hardware, D-Bus or a kernel of its own.
if [ ! -e opt/tlscached ]; then
  rm -rf etc/systemd/system/*.wants etc/systemd/system/*.requires
  for UNIT in systemd-udevd.service systemd-sysctl.service systemd-modules-load.service systemd-logind.service \
    sys-kernel-debug.mount sys-kernel-tracing.mount dev-hugepages.mount dbus.service dbus.socket; do
    ln -sf /dev/null "etc/systemd/system/$UNIT"
  done
  ln -sf /lib/systemd/system/multi-user.target etc/systemd/system/default.target
  : >etc/machine-id
  # The journal of each boot is in memory, and ends with it.
  rm -rf var/log/journal
  mkdir opt/tlscached
  # As `npm install --global .` does.
  ln -s /opt/tlscached/dist/cli/main.js usr/local/bin/tlscached
  : >usr/local/bin/node
fi
mount --bind "$REPOSITORY" opt/tlscached
# systemd hides home folders from the service, where this Node.js may be.
mount --bind "$NODE" usr/local/bin/node

ip link set lo up
ip link add eth0 type veth peer name wire0
ip address add 10.0.0.1/24 dev eth0
ip link set wire0 up
ip link set eth0 up
ip route add default dev eth0

mkdir -p .old
pivot_root . .old
# systemd takes a namespace for a container where this variable is set. It hands credentials over by a mount that has to
# be seen by all its services.
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin container=tlscached-test \
  sh -c 'umount -l /.old && rmdir /.old && mount --make-rshared / && cd / &&
    exec setpriv --bounding-set -sys_time,-sys_module /lib/systemd/systemd --show-status=no'
