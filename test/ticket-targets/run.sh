#!/bin/bash
# Rotation and secrecy, and beside them the faults, which need nginx and HAProxy: not where TICKET_TARGETS chooses kinds.
set -euo pipefail
cd "$(dirname "$0")"
STATUS=0
BESIDE=(secrecy)
if [ -z "${TICKET_TARGETS-}" ]; then BESIDE+=(faults apart); fi
CHILDREN=()
for NAME in "${BESIDE[@]}"; do
  node --import tsx "$NAME.tickets.ts" &
  CHILDREN+=($!)
done
node --import tsx rotation.tickets.ts "$@" || STATUS=1
for CHILD in "${CHILDREN[@]}"; do wait "$CHILD" || STATUS=1; done
exit $STATUS
