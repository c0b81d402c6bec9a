#!/bin/sh
# Runs a program of another release of Debian, in a mount namespace that unshare(1) has made. Arguments: the folder of the
# release, the temporary folder, the working folder, the program and its arguments. Each step replaces the process, so its
# ID stays.
root=$1 temporary=$2
mkdir -p "$root$temporary" && mount --rbind "$temporary" "$root$temporary" || exit 125
shift 2
exec chroot "$root" sh -c 'cd "$1" && shift && exec "$@"' sh "$@"
