#!/bin/bash
# Both files side by side; what they are given, as --all, goes to each.
set -euo pipefail
cd "$(dirname "$0")"
node --import tsx faults.tickets.ts "$@" &
FAULTS=$!
STATUS=0
node --import tsx rotation.tickets.ts "$@" || STATUS=1
wait $FAULTS || STATUS=1
exit $STATUS
