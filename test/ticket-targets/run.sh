#!/bin/bash
# Rotation and secrecy; with --all also the faults beside them.
set -euo pipefail
cd "$(dirname "$0")"
STATUS=0
BESIDE=(secrecy)
if [ "${1-}" = --all ]; then BESIDE+=(faults apart); fi
CHILDREN=()
for NAME in "${BESIDE[@]}"; do
  node --import tsx "$NAME.tickets.ts" &
  CHILDREN+=($!)
done
node --import tsx rotation.tickets.ts "$@" || STATUS=1
for CHILD in "${CHILDREN[@]}"; do wait "$CHILD" || STATUS=1; done
exit $STATUS
