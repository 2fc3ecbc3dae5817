# shellcheck shell=sh
# status.sh SERVICE LINES - the state of the service, and the last LINES of its log.
say "= state"
init_show "$1"
! init_was_stopped "$1" || say "= stopped"
[ "$2" != 0 ] || exit 0
switched=$(since "$1")
say "= end"
init_last_end "$1" "$switched"
say "= journal"
init_journal "$1" "$2" "$switched"
exit 0
