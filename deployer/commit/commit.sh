# shellcheck shell=sh
# commit.sh - the release is good: check that it still runs, then delete the oldest ones.
#
#   commit.sh [SERVICE PREVIOUS PID KEEP]...   PREVIOUS: the release before, or -; PID: 0 if it was not started
check() { # SERVICE PID
  [ "$2" = 0 ] || [ "$(init_main_pid "$1")" = "$2" ] || fail crashed "$1 did not stay up"
}

prune() { # SERVICE PREVIOUS KEEP: no more than KEEP are left; releases sort by the time they were made
  service=$1 previous=$2 keep=$3 root=/opt/$1
  current=$(readlink "$root/current")
  current=${current##*/}
  set -- "$root"/releases/*/
  left=$#
  for old; do
    [ "$left" -gt "$keep" ] || break
    old=${old%/}
    old=${old##*/}
    case $old in "$current" | "$previous" | '*') continue ;; esac
    rm -rf "${root:?}/releases/$old" "/var/lib/deployer/$service/bad/$old"
    left=$((left - 1))
  done
}

all=$*
# shellcheck disable=SC2086  # words without spaces
set -- $all
while [ $# -gt 0 ]; do check "$1" "$3"; shift 4; done
# shellcheck disable=SC2086
set -- $all
while [ $# -gt 0 ]; do prune "$1" "$2" "$4"; shift 4; done
say committed
