#!/bin/sh
# The least that any tool has to do: one ssh to every host at once, which does nothing.
#
#   true.sh HOSTS OPTION...    HOSTS has lines of an address and a port, OPTIONs are those of ssh
set -eu
hosts=$1
shift
pids=
while read -r address port; do
  ssh "$@" -n -p "$port" "$address" true &
  pids="$pids $!"
done <"$hosts"
failed=0
for pid in $pids; do
  wait "$pid" || failed=1
done
exit "$failed"
