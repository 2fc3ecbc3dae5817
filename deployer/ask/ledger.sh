# shellcheck shell=sh
# ledger.sh - what happened to these services on this host, the newest last; changes nothing.
#
#   ledger.sh COUNT SERVICE...   COUNT: no more than so many lines of each
[ "$(id -u)" = 0 ] || fail not_root "this needs root: set become: true, or connect as root"
count=$1
shift
for service; do
  say "= $service"
  ledger=/var/lib/deployer/$service/ledger
  [ ! -e "$ledger" ] || { [ -f "$ledger" ] && tail -n "$count" "$ledger"; } || fail cannot_read "cannot read $ledger"
  # A line that a power cut has left without its end must not swallow the next heading.
  [ ! -s "$ledger" ] || [ -z "$(tail -c 1 "$ledger")" ] || say ""
done
