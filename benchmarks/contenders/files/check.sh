#!/bin/sh
# Check on all hosts at once that the service is what it should be: one ssh each, digests, unit and health.
#
#   check.sh HOSTS SERVICE PORT OPTION...    HOSTS has lines of an address and a port, OPTIONs are those of ssh
set -eu
hosts=$1 service=$2 service_port=$3
shift 3
digest() {
  set -- "$(sha256sum <"$1")" "$2"
  echo "${1%% *}  $2"
}
digests="$(digest binary "/usr/local/bin/$service")
$(digest env "/etc/$service.env")
$(digest unit "/etc/systemd/system/$service.service")"
pids=
while read -r address port; do
  ssh "$@" -p "$port" "$address" "sudo bash -s $service $service_port '$digests'" <verify.sh &
  pids="$pids $!"
done <"$hosts"
failed=0
for pid in $pids; do
  wait "$pid" || failed=1
done
exit "$failed"
