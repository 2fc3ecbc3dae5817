# shellcheck shell=sh
# revert.sh - the release failed: put back what its transaction found, and say how it stands.
#
#   revert.sh RUN BY PID FROM LEASE SERVICE FAILED BEFORE KEEP
#     The lock stays this run's: whether what is back is well must be seen before another run may touch it.
#     says `undone`; or `committed`, `put_back`, `untouched` when there was no transaction left to undo
owner "$@"
shift 5
service=$1 failed=$2 before=$3 keep=$4

enter "$service"
current=$(readlink "/opt/$service/current")
if read_transaction "$service" && [ "$t_run" = "$run" ]; then
  mark "$service" "$failed" failed
  undo "$service"
  undone "$service" "$by" found=failure
  prune "$service" "$before" "$keep"    # else one bad build after the other would fill the disk
  [ "$undo_went" = ok ] || fail start_failed "the previous release is gone, or does not start, now or at boot"
  say undone
elif [ "${current##*/}" = "$failed" ] && [ ! -e "$state/$service/unproven/$failed" ]; then
  say committed
elif grep -q " run=$run .* found=" "$state/$service/ledger" 2>/dev/null; then
  say put_back
else
  say untouched
fi
init_marks "$service"
say "= state"
init_show "$service" || fail cannot_ask "$service is back, but systemd does not say whether it runs"
say "= about"
about=/opt/$service/releases/$before/release.json
[ "$before" = - ] || { [ -f "$about" ] && cat "$about"; }
