#!/bin/sh
# Keep one test host running, reboots included.
#
#   supervise.sh CGROUP HIERARCHY... -- COMMAND...
#
# CGROUP/supervise and CGROUP/container exist in every HIERARCHY.  This shell lives in the first and COMMAND in the
# second: systemd-nspawn divides its cgroup further, and cgroup2 wants processes only in leaves.
set -eu

group=$1
shift
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
