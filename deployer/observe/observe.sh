# shellcheck shell=sh
# observe.sh - say all that a plan needs to know of this host: facts, disks, releases, digests, unit states.
#
#   observe.sh ALSO [SERVICE BINARY]...
#     ALSO: contents, what .env and the unit say, for a diff; before, the release before the current one; or nothing
also=$1
shift

# Forks are what an observation costs, so what a shell can tell by itself is not asked of a program.
uid=0
[ -O / ] || uid=$(id -u)
say "fact uid $uid"
{ read -r machine </proc/sys/kernel/arch; } 2>/dev/null || machine=$(uname -m)    # the file is Linux 6.1's
say "fact machine $machine"
[ "$uid" = 0 ] || exit 0           # without root the rest cannot be seen
init_facts
for tool in zstd gzip curl wget bash perl nc flock; do
  ! command -v "$tool" >/dev/null 2>&1 || say "tool $tool"
done

disks() { # FOLDER...: free KiB and mount point of the file system that holds, or would hold, each
  places=
  for at; do
    while [ ! -d "$at" ]; do at=${at%/*}; at=${at:-/}; done
    places="$places $at"
  done
  # shellcheck disable=SC2086  # words
  found=$(df -Pk $places 2>/dev/null) || return 0
  {
    read -r _
    for folder; do
      read -r _ _ _ free _ mounted
      say "disk $folder $free $mounted"
    done
  } <<LINES
$found
LINES
}
disks /opt /etc /var/lib

services=
files=
while [ $# -gt 0 ]; do
  service=$1 binary=$2
  shift 2
  services="$services $service"
  root=/opt/$service
  link=
  say "service $service"
  if [ -L "$root/current" ]; then
    link=$(readlink "$root/current")
    say "current ${link##*/}"
  elif [ -e "$root/current" ]; then
    say "current_is_no_link"
  fi
  for release in "$root"/releases/*/release.json; do
    [ -e "$release" ] || continue
    release=${release%/release.json}
    release=${release##*/}
    proof=good
    [ ! -r "$state/$service/unproven/$release" ] || read -r proof <"$state/$service/unproven/$release"
    say "release $release ${proof:-failed}"
  done
  if [ "$also" = before ] && [ -r "$state/$service/ledger" ]; then
    sed -n "s/^[^ ]* deploy release=${link##*/} before=\([^ ]*\) run=\([^ ]*\) .*/before \1 \2/p" "$state/$service/ledger" | tail -n 1
  fi
  say "seal $(seal "$service" "$link")"
  ! read_lock "$service" || say "lock $(show_lock)"
  if read_transaction "$service"; then say "transaction run=$t_run by=$t_by before=$t_before after=$t_after"; fi
  init_marks "$service"
  files="$files $root/current/$binary $root/current/.env $root/current/release.json $(init_files "$service")"
  if [ "$also" = contents ]; then
    # shellcheck disable=SC2046  # file names without spaces
    for file in "$root/current/.env" $(init_files "$service"); do
      [ ! -r "$file" ] || say "contents $file $(base64 <"$file" | tr -d '\n')"
    done
  fi
done

say "= mounts"
cat /proc/self/mounts

# One process each for all files of all services.
# shellcheck disable=SC2086  # lists of words that hold no spaces: service and binary names are checked
if [ -n "$services" ]; then
  say "= digests"
  digest $files 2>/dev/null
  say "= stat"
  stat -L -c '%a %U %G %n' $files 2>/dev/null
  say "= units"
  init_show $services
fi
exit 0
