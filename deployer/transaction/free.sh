# shellcheck shell=sh
# free.sh RUN SERVICE... - let go of the locks of RUN; what has an open transaction stays guarded.
run=$1
shift
for service; do
  (
    enter "$service"
    [ -e "$state/$service/transaction" ] || free_lock "$service" "$run"
  )
done
exit 0
