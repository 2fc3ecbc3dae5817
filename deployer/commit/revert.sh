# shellcheck shell=sh
# revert.sh - put the previous release back, or stop a first one.
#
#   revert.sh SERVICE FAILED PREVIOUS START   PREVIOUS: the release to go back to, or -
#     START: no leaves the service as it is, for its operator stopped it
service=$1 failed=$2 previous=$3 start=$4
bad=/var/lib/deployer/$service/bad
mkdir -p "$bad" && : >"$bad/$failed" && durable "$bad"
if [ "$previous" = - ]; then
  [ "$start" = no ] || init_stop "$service" || fail cannot_stop "cannot stop the service"
else
  init_install "$service" "/opt/$service/releases/$previous/$service.service" ||
    fail cannot_install "cannot install the unit of $previous"
  make_current "$service" "$previous"
  [ "$start" = no ] || init_restart "$service" || fail start_failed "the previous release does not start"
fi
say "= state"
init_show "$service"
say "= about"
[ "$previous" = - ] || cat "/opt/$service/releases/$previous/release.json"
