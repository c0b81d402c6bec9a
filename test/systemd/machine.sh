#!/bin/bash
# A machine whose first process is systemd, in namespaces and a control group of its own: `machine.sh REPOSITORY NODE`.
#
# It reads commands from standard input, one a line: `boot` answers `pid N`, the first process as this side sees it, and
# `halt` ends the machine as a power cut does. What the machine has written is there after the next `boot`. At the end of
# the input, and at a signal, all of it goes away: processes, mounts, which no other process sees, and the control group.
# `machine.sh check` says why this computer cannot do that, and ends with 1, or says nothing.
#
# Of this computer the machine sees the file system, and changes a copy of it in memory. It may not change settings of
# the kernel (/proc/sys and /sys are read-only), the clock or modules.
set -euo pipefail

fail() {
  echo "$1"
  exit 1
}

# Mounts are seen by this process and the machine only.
if [ -z "${MACHINE_MOUNTS-}" ]; then
  unshare --mount true 2>/dev/null || fail 'no namespaces can be made'
  MACHINE_MOUNTS=1 exec unshare --mount bash "$0" "$@"
fi

MOUNT=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
[ -n "$MOUNT" ] || fail 'no control groups of version 2 are mounted'
OWN=$(sed -n 's/^0:://p' /proc/self/cgroup)
PARENT=${MOUNT}${OWN%/}
# What a process left behind that could not clean up.
for OLD in "$PARENT"/tlscached-systemd.*; do
  if [ -d "$OLD" ] && ! kill -0 "${OLD##*.}" 2>/dev/null; then find "$OLD" -depth -type d -exec rmdir {} + || true; fi
done
GROUP=$PARENT/tlscached-systemd.$$
mkdir "$GROUP" 2>/dev/null || fail 'no control group can be made'

FIRST=''
halt() {
  [ -n "$FIRST" ] || return 0
  # With `unshare` its child ends, the first process of the machine, and with that all others.
  kill -KILL "$FIRST" 2>/dev/null || true
  wait "$FIRST" 2>/dev/null || true
  FIRST=''
  for _ in {1..100}; do
    grep -q '^populated 0' "$GROUP/cgroup.events" && break
    sleep 0.05
  done
}
clean() {
  trap '' INT TERM HUP
  halt
  find "$GROUP" -depth -type d -exec rmdir {} +
}
trap clean EXIT
trap 'exit 1' INT TERM HUP

mount -t tmpfs -o mode=0755 tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work overlay /mnt/root 2>/dev/null ||
  fail 'no overlay of the file system can be mounted'
[ "$1" != check ] || exit 0

# The machine is the only child that the process below ever has.
SCRIPT=$(dirname "$0")/first-process.sh
while read -r COMMAND; do
  case $COMMAND in
  boot)
    (
      echo "$BASHPID" >"$GROUP/cgroup.procs"
      exec setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child --cgroup --net --uts --ipc \
        bash "$SCRIPT" "$@" </dev/null >&2
    ) &
    FIRST=$!
    CHILD=''
    for _ in {1..100}; do
      read -r CHILD _ <"/proc/$FIRST/task/$FIRST/children" || true
      [ -z "$CHILD" ] || break
      sleep 0.05
    done
    echo "pid $CHILD"
    ;;
  halt)
    halt
    echo halted
    ;;
  esac
done
