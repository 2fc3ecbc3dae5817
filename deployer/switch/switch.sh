# shellcheck shell=sh
# switch.sh - make a staged release the current one and restart the service.
#
#   switch.sh SERVICE RELEASE START HELPERS_SIZE...   START: yes, or no for a service its operator stopped
#     standard input: the init system's helper files
service=$1 release=$2 start=$3
shift 3
root=/opt/$service

[ -f "$root/releases/$release/release.json" ] || fail no_release "the release $release is not on this host"
init_helpers "$@" || fail cannot_write "cannot install the helper of restart policies"
init_install "$service" "$root/releases/$release/$service.service" || fail cannot_install "cannot install the unit"
make_current "$service" "$release"
if [ "$start" = yes ]; then
  init_restart "$service" || fail start_failed "the service does not start"
fi
init_show "$service"
