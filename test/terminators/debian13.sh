#!/usr/bin/env bash
# Runs tests with the programs of Debian 13, whatever release this machine has: that of terminators and those of
# memcached's tools, or with the argument `tickets` that of ticket keys. The programs are installed into a folder by
# debootstrap, once, from the mirror that apt uses here. Needs root.
set -euo pipefail
cd "$(dirname "$0")/../.."

RELEASE=trixie
PROGRAMS=openssl,apache2,stunnel4,nghttp2-proxy,nginx-light,libnginx-mod-http-lua,memcached,libmemcached-tools,liburi-perl
PROGRAMS+=,haproxy,lighttpd,lighttpd-mod-openssl,caddy,faketime
export DEBIAN_FOLDER=${DEBIAN_FOLDER:-/var/tmp/tlscached-$RELEASE}

# What a run that was interrupted left behind is made anew, and so is a folder with other programs.
if [ "$(cat "$DEBIAN_FOLDER/complete" 2>/dev/null)" != "$PROGRAMS" ]; then
  rm -rf --one-file-system "$DEBIAN_FOLDER"
  mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | head -n 1)
  if [ -z "$mirror" ]; then
    echo "apt names no mirror of Debian: see apt-get indextargets, and run apt-get update before" >&2
    exit 1
  fi
  debootstrap --variant=minbase --include="$PROGRAMS" "$RELEASE" "$DEBIAN_FOLDER" "$mirror" >"$DEBIAN_FOLDER.log" ||
    { tail -n 20 "$DEBIAN_FOLDER.log" >&2; exit 1; }
  echo "$PROGRAMS" >"$DEBIAN_FOLDER/complete"
fi

# What is missing in that folder is a failure, never a skipped test.
export REQUIRE_ALL_TESTS=1
case "${1-}" in
  "")
    node --import tsx test/terminators/resumption.terminators.ts
    node --import tsx --test test/e2e/memcached-tools.test.ts
    ;;
  tickets)
    shift
    test/ticket-targets/run.sh "$@"
    ;;
  *)
    echo "usage: $0 [tickets [--all]]" >&2
    exit 2
    ;;
esac
