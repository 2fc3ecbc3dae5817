# shellcheck shell=sh
# commit.sh - the releases are good: check that they still run, close their transactions, delete the oldest ones.
#
#   commit.sh RUN BY PID FROM LEASE [SERVICE KIND RELEASE BEFORE PID KEEP]...
#     KIND: as switch.sh has it; BEFORE: the release before, or -; PID: 0 if it was not started
owner "$@"
shift 5

check() { # SERVICE KIND PID
  if [ "$2" != start ]; then
    { read_transaction "$1" && [ "$t_run" = "$run" ]; } ||
      fail put_back "$1 went back by itself, for it had not heard from this run in time"
  fi
  [ "$3" = 0 ] || [ "$(init_main_pid "$1")" = "$3" ] || fail crashed "$1 did not stay up"
}

prune() { # SERVICE BEFORE KEEP: no more than KEEP are left; those that never were good go first, then the oldest
  service=$1 previous=$2 keep=$3 root=/opt/$1
  set -- "$root"/releases/*/
  left=$#
  [ "$left" -gt "$keep" ] || return 0
  current=$(readlink "$root/current")
  current=${current##*/}
  for proof in unproven good; do
    for old; do # releases sort by the time they were made
      [ "$left" -gt "$keep" ] || return 0
      old=${old%/}
      old=${old##*/}
      case $old in "$current" | "$previous" | '*') continue ;; esac
      [ -d "$root/releases/$old" ] || continue
      [ "$proof" = good ] || [ -e "$state/$service/unproven/$old" ] || continue
      rm -rf "${root:?}/releases/$old" "$state/$service/unproven/$old"
      left=$((left - 1))
    done
  done
}

finish() ( # SERVICE KIND RELEASE BEFORE PID KEEP
  enter "$1"
  check "$1" "$2" "$5"
  { rm -f "$state/$1/unproven/$3" && durable "$state/$1/unproven"; } || fail cannot_write "cannot mark $3 as good"
  point commit.proven
  close_transaction "$1" || fail cannot_write "cannot close the transaction of $1"
  point commit.closed
  record "$1" "$2" "$3" "$4" "$run" "$by" ok
  prune "$1" "$4" "$6"
  free_lock "$1" "$run"
  point commit.done
)

all=$*
# shellcheck disable=SC2086  # words without spaces
set -- $all
if [ $# -gt 6 ]; then # all or none; one service is checked only under its mutex
  while [ $# -gt 0 ]; do check "$1" "$2" "$5"; shift 6; done
fi
point commit.checked
# shellcheck disable=SC2086
set -- $all
while [ $# -gt 0 ]; do finish "$1" "$2" "$3" "$4" "$5" "$6" || exit 1; shift 6; done
say committed
