# shellcheck shell=sh
# observe.sh - say all that a plan needs to know of this host: facts, releases, digests, unit states, disks.
#
#   observe.sh ALSO EXPECTED FILES TEXTS LISTENS [SERVICE...]
#     ALSO: before, the release before the current one; or nothing
#     EXPECTED: what the digests of FILES say where every file is as it should be; only elsewhere are disks of interest
#     FILES, TEXTS: words; what to know of, and what to have whole, for a diff
#     LISTENS: words, one for each service, as `strangers` has it
also=$1 expected=$2 files=$3 texts=$4 listens=$5
shift 5

# Forks are what an observation costs, so what a shell can tell by itself is not asked of a program.
uid=0
[ -O / ] || uid=$(id -u)
say "fact uid $uid"
{ read -r machine </proc/sys/kernel/arch; } 2>/dev/null || machine=$(uname -m)    # the file is Linux 6.1's
say "fact machine $machine"
read -r up _ </proc/uptime && say "fact uptime $up"
[ "$uid" = 0 ] || exit 0           # without root the rest cannot be seen

# Before anything else of a service is looked at, for a part of it is the seal.
known=/opt/.
for service; do
  known="$known $state/$service/ledger /opt/$service/current $state /var/lib/$service"
  for folder in "$state/$service" "/opt/$service" "/opt/$service/releases" "/opt/$service/releases"/*; do
    known="$known $folder"
  done
done
# shellcheck disable=SC2086  # lists of words, as everywhere here: names are checked, and hold no spaces
stats=$(stat -c '%a %U %G %s %n %N' $known $files 2>/dev/null)

init_facts
for tool in zstd gzip curl wget bash perl nc flock; do
  ! command -v "$tool" >/dev/null 2>&1 || say "tool $tool"
done

for service; do
  root=/opt/$service
  say "service $service"
  for release in "$root"/releases/*/release.json; do
    [ -e "$release" ] || continue
    release=${release%/release.json}
    release=${release##*/}
    proof=good
    [ ! -f "$state/$service/unproven/$release" ] || read -r proof <"$state/$service/unproven/$release"
    say "release $release ${proof:-failed}"
  done
  for release in "$root"/releases/.staging-*; do [ ! -e "$release" ] || { say leftover; break; }; done
  if [ "$also" = before ] && [ -f "$state/$service/ledger" ]; then
    link=$(readlink "$root/current")
    sed -n "s/^[^ ]* deploy release=${link##*/} before=\([^ ]*\) run=\([^ ]*\) .*/before \1 \2/p" "$state/$service/ledger" | tail -n 1
  fi
  ! read_lock "$service" || say "lock $(show_lock)"
  if read_transaction "$service"; then say "transaction run=$t_run by=$t_by before=$t_before after=$t_after"; fi
  init_marks "$service"
done
for file in $texts; do
  [ ! -f "$file" ] || say "contents $file $(base64 <"$file" | tr -d '\n')"
done

newline='
'
tell_process() { # SERVICE PID LISTENS: which release it runs, and whether somebody else has its port
  links=$(ls -l "/proc/$2/exe" "/proc/$2/cwd" "/proc/$2/fd" 2>/dev/null)
  for link in exe cwd; do
    at=${links#*"/proc/$2/$link -> "}
    [ "$at" != "$links" ] || continue
    at=${at%%"$newline"*}
    case $at in
      */"$1/releases/"*" (deleted)") say "$1 runs deleted"; break ;;    # as release_of has it
      */"$1/releases/"*) at=${at#*"/$1/releases/"} at=${at%%[!A-Za-z0-9-]*}; say "$1 runs $at"; break ;;
      *)
        [ "$link" = exe ] || continue
        usual=
        [ ! -f "$state/$1/program" ] || read -r usual <"$state/$1/program"
        # An interpreter that was upgraded since is none other.
        [ "${at%" (deleted)"}" = "${usual%" (deleted)"}" ] || say "$1 executable $at" ;;
    esac
  done
  [ "$3" != - ] && ! still_listens "$1" "$2" "$3" "$links" || return 0
  strangers "$1" "$2" "$3" "$links"
  [ -z "$who" ] || say "$1 stranger $who"
}

say "= stat"
say "$stats"
say "= digests"
readable=
for file in $files; do
  # What somebody put in its place may have no end; a unit that is masked has no beginning.
  if [ -f "$file" ] || { [ -L "$file" ] && [ "$(readlink "$file")" = /dev/null ]; }; then
    readable="$readable $file"
  fi
done
# shellcheck disable=SC2086
digests=$([ -z "$readable" ] || digest $readable 2>/dev/null)
say "$digests"
say "= units"
if [ $# != 0 ]; then
  units_now=$(init_show "$@") || fail cannot_ask "systemd does not answer"
  say "$units_now"
  say "= processes"
  blocks=$newline$units_now    # a shell reads byte by byte, so this is cut, not read
  for service; do
    blocks=${blocks#*"${newline}MainPID="}
    process=${blocks%%[!0-9]*}
    [ "${process:-0}" = 0 ] || tell_process "$service" "$process" "${listens%% *}"
    listens=${listens#* }
  done
fi
[ "$digests" != "$expected" ] || exit 0

disks() { # FOLDER...: free KiB and mount point of the file system that holds, or would hold, each
  places=
  for at; do
    while [ ! -d "$at" ]; do at=${at%/*}; at=${at:-/}; done
    places="$places $at"
  done
  # shellcheck disable=SC2086
  found=$(df -Pk $places 2>/dev/null) || return 0
  {
    read -r _
    for folder; do
      read -r _ _ _ free _ mounted
      say "$folder $free $mounted"
    done
  } <<LINES
$found
LINES
}
say "= disks"
disks /opt /etc /var/lib
say "= mounts"
cat /proc/self/mounts
exit 0
