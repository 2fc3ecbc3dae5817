# shellcheck shell=sh
# probe.sh - one health test run on the host itself, with what the host has.
#
#   probe.sh http SECONDS URL HOST PORT PATH     for servers that forbid forwarding; prints the answer as it came
#   probe.sh tcp SECONDS HOST PORT
#   probe.sh exec SECONDS SERVICE USER COMMAND...
#   The last line is `exit STATUS`; for http and tcp 99 means that the host has nothing that can ask.
kind=$1 seconds=$2
shift 2

bounded() { # COMMAND...
  if command -v timeout >/dev/null 2>&1; then timeout -s KILL "$seconds" "$@"; else "$@"; fi
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
    bounded env -i PATH="$PATH" su -s /bin/sh "$user" -c 'exec "$@"' -- sh "$@"
  fi
}

probe() {
  case $kind in
    http) http "$@" ;;
    tcp) tcp "$@" ;;
    exec) as_user "$@" ;;
  esac
}

answer=$(probe "$@" 2>&1 </dev/null)
status=$?
# Of a command the last line will be shown, of an answer the beginning.
printf '%s\n' "$answer" | if [ "$kind" = exec ]; then tail -c 4096; else head -c 4096; fi
say "exit $status"
