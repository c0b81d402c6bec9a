#!/usr/bin/env bash
# Runs the test of terminators and those of memcached's tools with the programs of Debian 13, whatever release this
# machine has. They are installed into a folder by debootstrap, once, from the mirror that apt uses here. Needs root.
set -euo pipefail
cd "$(dirname "$0")/../.."

RELEASE=trixie
PROGRAMS=openssl,apache2,stunnel4,nghttp2-proxy,nginx-light,libnginx-mod-http-lua,memcached,libmemcached-tools,liburi-perl
export DEBIAN_FOLDER=${DEBIAN_FOLDER:-/var/tmp/tlscached-$RELEASE}

# What a run that was interrupted left behind is made anew.
if [ ! -e "$DEBIAN_FOLDER/complete" ]; then
  rm -rf "$DEBIAN_FOLDER"
  mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | head -n 1)
  if [ -z "$mirror" ]; then
    echo "apt names no mirror of Debian: see apt-get indextargets, and run apt-get update before" >&2
    exit 1
  fi
  debootstrap --variant=minbase --include="$PROGRAMS" "$RELEASE" "$DEBIAN_FOLDER" "$mirror" >"$DEBIAN_FOLDER.log" ||
    { tail -n 20 "$DEBIAN_FOLDER.log" >&2; exit 1; }
  touch "$DEBIAN_FOLDER/complete"
fi

# What is missing in that folder is a failure, never a skipped test.
export REQUIRE_ALL_TESTS=1
node --import tsx test/terminators/resumption.terminators.ts
node --import tsx --test test/e2e/memcached-tools.test.ts
