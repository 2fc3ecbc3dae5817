# shellcheck shell=sh
# switch.sh - make a release that is on the disk the current one, and restart the service.
#
#   switch.sh RUN BY PID FROM LEASE SERVICE KIND RELEASE BEFORE START [HELPER...]
#     KIND: deploy or rollback, which open a transaction and can be undone; or start, of the current release
#     BEFORE: the good release to go back to, or -
#     START: yes, unless its operator has stopped it since the plan was made; anyway; no; or stopped, for one that
#       its operator had stopped, unless it was started since.  Says `start yes`, `start no` or `start stopped`.
#     HELPER: texts of the init system's helper files; none if those that are there are the same
owner "$@"
shift 5
service=$1 kind=$2 release=$3 before=$4 start=$5
shift 5
root=/opt/$service

install_helpers() {    # deploys of other services do the same
  have_turn 8 || fail mutex_held "somebody has held $state/helpers for $turn_limit s: fuser -v $state/helpers"
  init_helpers "$@"
} 8>>"$state/helpers"

enter "$service"
{ is_ours "$service" && [ "$left" -gt 0 ]; } || fail lock_lost "the lock of $service is not this run's any more"
[ ! -e "$state/$service/transaction" ] || fail stale "a transaction is open"
{ [ -f "$root/releases/$release/release.json" ] && [ -f "$root/releases/$release/$service.service" ]; } ||
  fail no_release "the release $release is not on this host, or not whole"
for part in "$root/releases/$release" "$root/releases/$release/$service.service"; do
  { [ -O "$part" ] && [ ! -L "$part" ]; } || fail not_roots "$part is not root's own; chown -R root:root $root, if you trust it"
done
asked=$start

decide() { # sets start to yes or no: an order of the operator that came after the look is one as well
  case $asked in
    anyway) start=yes ;;
    yes | stopped) if init_was_stopped "$service"; then start=no; else start=yes; fi ;;
    no) start=no ;;
  esac
}

decide
point switch.locked
[ $# = 0 ] || install_helpers "$@" || fail cannot_write "cannot install the helpers of units"
unit=$root/releases/$release/$service.service
init_verify "$service" "$unit" || case $? in
  2) fail cannot_ask "systemd does not answer, so nothing was switched" ;;
  *) fail bad_unit "systemd cannot load the unit of $release" ;;
esac
if [ "$kind" != start ]; then
  if [ "$before" != - ]; then
    ln -sfn "releases/$before" "$root/.current.before" || fail cannot_write "cannot make $root/.current.before"
    init_keep "$service" "$root/releases/$before/$service.service" "$unit" || fail cannot_write "cannot keep the unit"
  fi
  main=0 journaled=$start
  if [ "$before" != - ]; then
    init_state "$service" || fail cannot_ask "systemd does not answer, so nothing was switched"
    main=$pid
  fi
  open_transaction "$service" "$kind" "$before" "$release" "$start" "$main" || fail cannot_write "cannot write the journal"
  point switch.journaled
  init_arm "$service" || fail cannot_arm "cannot start the watch that would put $before back"
  point switch.armed
fi
init_install "$service" "$unit" || fail cannot_install "cannot install the unit"
point switch.installed
make_current "$service" "$release"
point switch.flipped
decide    # once more, for until here only files were changed
if [ "$start" = yes ]; then
  if [ "$kind" != start ] && [ "$journaled" = no ]; then
    open_transaction "$service" "$kind" "$before" "$release" yes "$main" || fail cannot_write "cannot write the journal"
  fi
  init_restart "$service" "$asked" || case $? in
    2) fail cannot_ask "systemd does not answer, so the service was not restarted" ;;
    3) start=no ;;
    *)
      if [ "$asked" != anyway ] && init_was_stopped "$service"; then
        fail operator_stopped "its operator stopped it while it was started"
      fi
      ! init_ended "$service" || fail crashed "it did not stay up"
      fail start_failed "the service does not start"
      ;;
  esac
fi
[ "$start" = yes ] || ! init_was_stopped "$service" || start=stopped
say "start $start"
point switch.restarted
init_show "$service"
