# shellcheck shell=sh
# probe.sh - one health test run on the host itself, with what the host has.
#
#   probe.sh http SECONDS URL HOST PORT PATH     for servers that forbid forwarding; prints the answer as it came
#   probe.sh tcp SECONDS HOST PORT
#   probe.sh exec SECONDS SERVICE USER COMMAND...
#   The last line is `exit STATUS`; for http and tcp 99 means that the host has nothing that can ask.
kind=$1 seconds=$2
shift 2
# A proxy that a host sets for everybody, in a variable or a .curlrc, is for the world outside.
unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY CURL_HOME XDG_CONFIG_HOME WGETRC
HOME=/nonexistent

# In a session, and so a group, of its own, which is killed when its time is up: timeout(1) of busybox kills a
# command, but not its children.  A background job leads no group, so setsid(1) need not fork, and $! is the command.
bounded() { # COMMAND...
  if ! has setsid; then
    if has timeout; then timeout -s KILL "$seconds" "$@"; else "$@"; fi
    return
  fi
  exec 4<&0
  setsid "$@" <&4 4<&- &
  job=$!
  # shellcheck disable=SC2016  # the inner shell expands these
  setsid sh -c 'sleep "$1" || sleep "$((${1%%.*} + 1))"; kill -s KILL -- "-$2"' sh "$seconds" "$job" \
    4<&- </dev/null >/dev/null 2>&1 &
  watch=$!
  exec 4<&-
  wait "$job" 2>/dev/null
  ended=$?
  kill -s KILL -- "-$watch" "$watch" 2>/dev/null # as it may not have its group yet
  wait "$watch" 2>/dev/null                      # or its end interrupts what this shell writes next
  return "$ended"
}
has() { command -v "$1" >/dev/null 2>&1; }

http() { # URL HOST PORT PATH
  if has curl; then
    curl --silent --show-error --insecure --include --max-time "$seconds" --range 0-2047 "$1"
  elif has wget; then
    bounded wget -q -S --no-check-certificate -O - "$1"
  elif [ "${1%%:*}" = https ]; then
    return 99
  elif has bash; then
    # shellcheck disable=SC2016  # the inner shell expands these
    bounded bash -c 'exec 3<>"/dev/tcp/$1/$2" &&
      printf "GET %s HTTP/1.0\r\nHost: %s\r\nConnection: close\r\n\r\n" "$3" "$1" >&3 && head -c 4096 <&3' \
      bash "$2" "$3" "$4"
  elif has nc; then
    printf 'GET %s HTTP/1.0\r\nHost: %s\r\nConnection: close\r\n\r\n' "$4" "$2" | bounded nc "$2" "$3"
  else
    return 99
  fi
}

tcp() { # HOST PORT
  if has bash; then
    # shellcheck disable=SC2016  # the inner shell expands these
    bounded bash -c ': <>"/dev/tcp/$1/$2"' bash "$1" "$2"
  elif has nc; then
    bounded nc "$1" "$2" </dev/null
  else
    return 99
  fi
}

as_user() { # SERVICE USER COMMAND...: in the release's folder, with a clean environment
  cd "/opt/$1/current" || return 1
  user=$2
  shift 2
  if setpriv --reuid=0 true 2>/dev/null; then # busybox has one that cannot
    bounded env -i PATH="$PATH" setpriv --reuid="$user" --regid="$(id -g "$user")" --init-groups -- "$@"
  else
    # shellcheck disable=SC2016  # the inner shell expands these
    # What stands behind the name is the shell's; for a -c of its own su(1) would start a session, out of reach.
    bounded env -i PATH="$PATH" su -s /bin/sh -- "$user" -c 'exec "$@"' sh "$@"
  fi
}

probe() {
  case $kind in
    http) http "$@" ;;
    tcp) tcp "$@" ;;
    exec) as_user "$@" ;;
  esac
}

# A command may leave a child that holds its output open, so the end of that is not waited for: what follows the
# command's own end is this line, which nobody else writes.
end="the end of the answer $$"
told() {
  probe "$@" 2>&1 </dev/null
  printf '\n%s %s\n' "$end" "$?"
}

last_of() { # the end of what is read before $end, and the status there; no more than two pieces are ever kept
  before='' piece=''
  while :; do
    before=$piece
    piece=$(dd bs=32768 count=1 2>/dev/null | tr '\000' ' ' && echo .) # a shell drops the newlines at the end
    piece=${piece%.}
    case $before$piece in *"
$end "*"
"*) break ;; esac
    [ "$piece" ] || break
  done
  both=$before$piece
  status=${both##*"$end "}
  printf '%s\n' "$(printf '%s' "${both%"
$end "*}" | tail -c 4096)"
  say "exit ${status%%[!0-9]*}"
}

# Of a command the last line will be shown, of an answer the beginning: the tool that brings more of that is left.
if [ "$kind" = exec ]; then
  told "$@" | last_of
else
  exec 3>&1
  status=$({ { probe "$@" 2>&1 </dev/null 3>&- 5>&-; echo "$?" >&5; } | head -c 4096 >&3; } 5>&1)
  echo
  say "exit $status"
fi
