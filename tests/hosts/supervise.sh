#!/bin/sh
# Keep one test host running, reboots included.
#
#   supervise.sh CONSOLE CGROUP HIERARCHY... -- COMMAND...
#
# What COMMAND says is added to the file CONSOLE.
# CGROUP/supervise and CGROUP/container exist in every HIERARCHY.  This shell lives in the first and COMMAND in the
# second: systemd-nspawn divides its cgroup further, and cgroup2 wants processes only in leaves.
set -eu

console=$1 group=$2
shift 2
hierarchies=
while [ "$1" != -- ]; do
  hierarchies="$hierarchies $1"
  shift
done
shift

# A process that writes 0 moves itself.
enter() {
  for hierarchy in $hierarchies; do
    echo 0 >"$hierarchy/$group/$1/cgroup.procs"
  done
}

enter supervise
# Whoever reads our output sees its end now, and knows that the cgroup is empty only if the host has ended.
exec >>"$console" 2>&1
while :; do
  status=0
  (
    enter container
    exec "$@"
  ) || status=$?
  # systemd-nspawn exits with 133 when the host inside rebooted, if it did not make the network namespace itself.
  [ "$status" = 133 ] || exit "$status"
  for hierarchy in $hierarchies; do
    find "$hierarchy/$group/container" -mindepth 1 -depth -type d -exec rmdir {} + 2>/dev/null || :
  done
done
