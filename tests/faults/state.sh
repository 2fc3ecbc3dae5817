#!/bin/sh
# state.sh - say what a host has of a service, a key=value a line; runs on the host, as root.
#
#   state.sh SERVICE BINARY
set -u
PATH=/usr/sbin:/usr/bin:/sbin:/bin # in /usr/local a systemctl may lie that hears nothing
service=$1 binary=$2
root=/opt/$service state=/var/lib/deployer/$service

say() { printf '%s=%s\n' "$1" "$2"; }

digest() { # KEY FILE
  sum=$(sha256sum <"$2") && say "$1" "${sum%% *}"
} 2>/dev/null

place() { # LINK_OF_PROC FILE: where that leads; FILE, if that is it by a mount that was taken away since
  where=$(readlink "$1")
  if [ ! -e "$where" ] && [ "$(stat -Lc %d:%i "$1")" = "$(stat -Lc %d:%i "$2")" ]; then where=$2; fi 2>/dev/null
  printf '%s' "$where"
}

current=$(readlink "$root/current" 2>/dev/null) || current=
say current "$current"
release=$root/$current
if [ -n "$current" ]; then
  digest release_binary "$release/$binary"
  digest release_env "$release/.env"
  digest release_unit "$release/$service.service"
fi
if [ -d "$root" ]; then say folder "$root"; fi
digest installed_unit "/etc/systemd/system/$service.service"
# systemd hears nobody while it executes itself anew.
tries=0
until unit=$(systemctl show -p ActiveState,SubState,MainPID,NeedDaemonReload,NRestarts "$service.service" 2>/dev/null) &&
  [ -n "$unit" ]; do
  tries=$((tries + 1))
  [ "$tries" -lt 50 ] || break
  sleep 0.1
done
printf '%s\n' "$unit"
pid=$(printf '%s\n' "$unit" | sed -n 's/^MainPID=//p')
if [ "${pid:-0}" != 0 ]; then
  digest process_binary "/proc/$pid/exe"
  # The folder of the release is the working directory, by its real name.
  say process_folder "$(place "/proc/$pid/cwd" "$release")"
  say process_file "$(place "/proc/$pid/exe" "$release/$binary")"
  # All that the .env of the current release names, with the values that the process has.
  names=$(sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)=.*/\1/p' "$release/.env" 2>/dev/null | tr '\n' '|')
  sum=$(tr '\0' '\n' 2>/dev/null <"/proc/$pid/environ" | grep -E "^(${names%|})=" | LC_ALL=C sort | sha256sum)
  say process_variables "${sum%% *}"
  say process_version "$(tr '\0' '\n' <"/proc/$pid/environ" 2>/dev/null | sed -n 's/^RELEASE_VERSION=//p')"
fi
mark=/var/lib/unless-stopped/$service.service
if [ -s "$mark" ]; then say stopped_by_operator "$(cat "$mark")"; elif [ -e "$mark" ]; then say stopped_by_operator perhaps; fi
say lock "$(cat "$state/lock" 2>/dev/null)"
if [ -e "$state/lock" ]; then
  lease=$(sed -n 's/.* lease=\([0-9]*\).*/\1/p' "$state/lock")
  say lock_left $(($(stat -c %Y "$state/lock") + ${lease:-0} - $(date +%s)))
fi
say transaction "$(tr '\n' ' ' 2>/dev/null <"$state/transaction")"
say litter "$(find "$root" "$state" \( -name '.staging-*' -o -name '*.new' \) 2>/dev/null | tr '\n' ' ')"
if [ -L "/etc/systemd/system/multi-user.target.wants/unless-stopped@$service.service" ]; then say at_boot yes; fi
exit 0
