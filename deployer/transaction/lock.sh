# shellcheck shell=sh
# lock.sh - take the locks of services that nothing is staged for, and say what their releases say of themselves.
#
#   lock.sh RUN BY PID FROM LEASE [SERVICE SEAL BREAK RELEASE]...
owner "$@"
shift 5
while [ $# -gt 0 ]; do
  (enter "$1" && take_lock "$1" "$2" "$3") || exit 1
  say "locked $1"
  say "= about $1"
  [ ! -f "/opt/$1/releases/$4/release.json" ] || cat "/opt/$1/releases/$4/release.json"
  shift 4
done
