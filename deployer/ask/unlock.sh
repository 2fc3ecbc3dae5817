# shellcheck shell=sh
# unlock.sh BY SERVICE... - break the locks, whoever holds them; an open transaction is then put back by the host.
[ "$(id -u)" = 0 ] || fail not_root "this needs root: set become: true, or connect as root"
breaker=$1
shift
for service; do
  (
    read_lock "$service" || { say "free $service"; exit 0; }
    shown=$(show_lock)
    rm -f "$state/$service/lock" || fail cannot_write "cannot remove $state/$service/lock"
    record "$service" unlock - - "$lock_run" "$breaker" ok "held-by=$lock_by"
    say "broken $service $shown"
  ) || exit 1
done
