#!/bin/sh
# Deploy to all hosts at once: one ssh each, which gets a tar of binary, .env, unit and install.sh.
#
#   deploy.sh HOSTS SERVICE OPTION...    HOSTS has lines of an address and a port, OPTIONs are those of ssh
set -eu
hosts=$1 service=$2
shift 2
tar -chf release.tar binary env unit install.sh
# shellcheck disable=SC2016  # the host's shell is to expand them
remote='sudo sh -c '\''set -e; d=$(mktemp -d -p /var/tmp); trap "rm -rf $d" EXIT; cd "$d"; tar -x; sh install.sh "$0"'\'
pids=
while read -r address port; do
  ssh "$@" -p "$port" "$address" "$remote $service" <release.tar &
  pids="$pids $!"
done <"$hosts"
failed=0
for pid in $pids; do
  wait "$pid" || failed=1
done
exit "$failed"
