# shellcheck shell=sh
# status.sh SERVICE LINES LISTENS - the state of the service, the last LINES of its log, and who has its port instead.
#
#   LISTENS: as `strangers` has it, or -
say "= state"
shown=$(init_show "$1")
say "$shown"
! init_was_stopped "$1" || say "= stopped"
[ "$2" != 0 ] || exit 0
switched=$(since "$1")
say "= port"
# Its main process, whether it counts as active or is still being started or stopped.
main=${shown#*MainPID=} main=${main%%[!0-9]*}
strangers "$1" "${main:-0}" "$3"
[ -z "$who" ] || say "$who"
say "= end"
init_last_end "$1" "$switched"
say "= journal"
init_journal "$1" "$2" "$switched"
exit 0
