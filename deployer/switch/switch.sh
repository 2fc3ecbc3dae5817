# shellcheck shell=sh
# switch.sh - make a release that is on the disk the current one, and restart the service.
#
#   switch.sh RUN BY PID FROM LEASE SERVICE KIND RELEASE BEFORE START [HELPER...]
#     KIND: deploy or rollback, which open a transaction and can be undone; or start, of the current release
#     BEFORE: the good release to go back to, or -; START: yes, or no for a service its operator stopped
#     HELPER: texts of the init system's helper files; none if those that are there are the same
owner "$@"
shift 5
service=$1 kind=$2 release=$3 before=$4 start=$5
shift 5
root=/opt/$service

enter "$service"
{ is_ours "$service" && [ "$left" -gt 0 ]; } || fail lock_lost "the lock of $service is not this run's any more"
[ ! -e "$state/$service/transaction" ] || fail stale "a transaction is open"
[ -f "$root/releases/$release/release.json" ] || fail no_release "the release $release is not on this host"
point switch.locked
[ $# = 0 ] || init_helpers "$@" || fail cannot_write "cannot install the helpers of units"
if [ "$kind" != start ]; then
  if [ "$before" != - ]; then
    ln -sfn "releases/$before" "$root/.current.before" || fail cannot_write "cannot make $root/.current.before"
  fi
  open_transaction "$service" "$kind" "$before" "$release" "$start" || fail cannot_write "cannot write the journal"
  point switch.journaled
  init_arm "$service" || fail cannot_arm "cannot start the watch that would put $before back"
  point switch.armed
fi
init_install "$service" "$root/releases/$release/$service.service" || fail cannot_install "cannot install the unit"
point switch.installed
make_current "$service" "$release"
point switch.flipped
if [ "$start" = yes ]; then
  init_restart "$service" || fail start_failed "the service does not start"
fi
point switch.restarted
init_show "$service"
