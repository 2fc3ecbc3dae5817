# shellcheck shell=sh
# commit.sh - the releases are good: check that they still run, close their transactions, delete the oldest ones.
#
#   commit.sh RUN BY PID FROM LEASE [SERVICE KIND RELEASE BEFORE PID RESTARTS LISTENS KEEP]...
#     KIND: as switch.sh has it; BEFORE: the release before, or -; PID: 0 if it was not started, stopped if its
#     operator had stopped it
#     RESTARTS: systemd's count of automatic ones when PID was started; LISTENS: as `strangers` has it, or -
owner "$@"
shift 5

check() { # SERVICE KIND RELEASE PID RESTARTS LISTENS
  if [ "$2" != start ]; then
    { read_transaction "$1" && [ "$t_run" = "$run" ]; } ||
      fail put_back "$1 went back by itself, for it had not heard from this run in time"
  fi
  [ "$(current_of "$1")" = "$3" ] || fail moved "$1 has another current release, for somebody turned its link"
  init_has "$1" "/opt/$1/releases/$3/$1.service" || fail moved "$1 has another unit, for somebody changed that"
  [ "$4" != 0 ] || return 0
  if [ "$4" = stopped ]; then
    init_was_stopped "$1" || fail restarted "$1 was started by its operator"
    return 0
  fi
  init_state "$1" || fail cannot_ask "$1 cannot be judged, for systemd does not answer"
  if [ "$pid" != "$4" ]; then
    ! init_was_stopped "$1" || fail operator_stopped "$1 was stopped by its operator"
    case $active in active | activating | deactivating)
      [ "$restarts" -gt "$5" ] || fail restarted "$1 was restarted by its operator" ;;
    esac
    fail crashed "$1 did not stay up"
  fi
  runs=$(release_of "$1" "$pid")
  case $runs in '' | "$3") ;;
    deleted) fail moved "$1 runs what was deleted since" ;;
    *) fail moved "$1 runs the release $runs" ;;
  esac
  strangers "$1" "$pid" "$6"
  [ -z "$who" ] || fail stranger "$1 is not what answers: port ${6#*:} belongs to $who"
  remember_listener "$1" "$pid" "$6"
}

remember_program() { # SERVICE PID: what runs, if that lies in no release: an interpreter, or what the program became
  runs=$(readlink "/proc/$2/exe" 2>/dev/null) || return 0
  case $runs in
    */"$1/releases/"*) [ ! -e "$state/$1/program" ] || rm -f "$state/$1/program" ;;
    *) make_way "$state/$1/program" && say "$runs" >"$state/$1/program" ;;
  esac 2>/dev/null || :
}

finish() ( # SERVICE KIND RELEASE BEFORE PID RESTARTS LISTENS KEEP
  enter "$1"
  check "$1" "$2" "$3" "$5" "$6" "$7"
  { rm -f "$state/$1/unproven/$3" && durable "$state/$1/unproven"; } || fail cannot_write "cannot mark $3 as good"
  case $5 in 0 | stopped) ;; *) remember_program "$1" "$5" ;; esac
  point commit.proven
  close_transaction "$1" || fail cannot_write "cannot close the transaction of $1"
  point commit.closed
  record "$1" "$2" "$3" "$4" "$run" "$by" ok
  prune "$1" "$4" "$8"
  free_lock "$1" "$run"
  point commit.done
)

all=$*
# shellcheck disable=SC2086  # words without spaces
set -- $all
if [ $# -gt 8 ]; then # all or none; one service is checked only under its mutex
  while [ $# -gt 0 ]; do check "$1" "$2" "$3" "$5" "$6" "$7"; shift 8; done
fi
point commit.checked
# shellcheck disable=SC2086
set -- $all
while [ $# -gt 0 ]; do finish "$1" "$2" "$3" "$4" "$5" "$6" "$7" "$8" || exit 1; shift 8; done
say committed
