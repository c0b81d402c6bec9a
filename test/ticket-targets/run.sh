#!/bin/bash
# Rotation and secrecy; with --all also the faults, beside them: those need a machine that lets a node find its peer within a
# second.
set -euo pipefail
cd "$(dirname "$0")"
STATUS=0
FAULTS=
if [ "${1-}" = --all ]; then
  node --import tsx faults.tickets.ts &
  FAULTS=$!
fi
node --import tsx secrecy.tickets.ts &
SECRECY=$!
node --import tsx rotation.tickets.ts "$@" || STATUS=1
wait "$SECRECY" || STATUS=1
if [ -n "$FAULTS" ]; then wait "$FAULTS" || STATUS=1; fi
exit $STATUS
