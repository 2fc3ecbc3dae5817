# shellcheck shell=sh
# renew.sh RUN SERVICE... - a sign of life: the locks of RUN are good for another lease.
run=$1
shift
for service; do
  # Not under the mutex, which a slow start may hold for longer than a lease lasts.
  if is_ours "$service" && [ "$left" -gt 0 ] && touch -c "$state/$service/lock"; then
    say "renewed $service"
  else
    say "lost $service"
  fi
done
