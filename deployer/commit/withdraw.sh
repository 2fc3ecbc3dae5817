# shellcheck shell=sh
# withdraw.sh RUN BY PID FROM LEASE SERVICE RELEASE - stop a first release, which has none to go back to.
owner "$@"
shift 5
service=$1 release=$2

enter "$service"
{ is_ours "$service" && [ "$left" -gt 0 ]; } || fail lock_lost "the lock of $service is not this run's any more"
mark "$service" "$release" staged || fail cannot_write "cannot write $state/$service/unproven/$release"
init_stop "$service" || fail cannot_stop "cannot stop the service"
record "$service" stop "$release" - "$run" "$by" ok
free_lock "$service" "$run"
say withdrawn
