# shellcheck shell=sh
# status.sh SERVICE LINES - the state of the service, and the last LINES of its log.
say "= state"
init_show "$1"
say "= journal"
[ "$2" = 0 ] || init_journal "$1" "$2" "$(since "$1")"
exit 0
