# shellcheck shell=sh
# state.sh - what a host remembers of a service: who works on it, the change in flight, what happened before.
#
#   /var/lib/deployer/SERVICE/lock         who works on it; the file's time is that run's last sign of life
#   /var/lib/deployer/SERVICE/transaction  the journal: what is being changed, and what to put back
#   /var/lib/deployer/SERVICE/unproven/*   releases that were never committed: staged, or failed
#   /var/lib/deployer/SERVICE/ledger       one line for each thing that happened
#   /var/lib/deployer/SERVICE/program      what runs of it when all is well, if that lies in no release
#   /var/lib/deployer/SERVICE/mutex        held by each script while it changes the service
#   /var/lib/deployer/helpers              held while the files that all units lean on are installed
#   All of it is root's alone: whoever can open a file can hold it with flock.
state=/var/lib/deployer
turn_limit=25    # seconds to wait for a mutex; whoever holds it for longer is not one of these scripts, or hangs

owner() { # RUN BY PID FROM LEASE: the run that speaks
  run=$1 by=$2 pid=$3 from=$4 lease=$5
}

have_turn() { # DESCRIPTOR: lock the file that is open there; false if somebody holds it for turn_limit
  flock -n "$1" 2>/dev/null && return    # the one of busybox knows no limit
  read -r up _ </proc/uptime
  turn_ends=$((${up%.*} + turn_limit))
  until flock -n "$1" 2>/dev/null; do
    sleep 0.1
    read -r up _ </proc/uptime
    [ "${up%.*}" -lt "$turn_ends" ] || return 1
  done
}

keep_private() { # FOLDER: root's alone; it was everybody's to read once
  case $(ls -ld "$1") in drwx------*) ;; *) chmod 700 "$1" ;; esac
}

open_mutex() { # SERVICE; and let no script wait for what stands in place of a file that it reads or writes
  folder=$state/$1
  make_way "$folder/mutex" "$folder/lock" "$folder/lock.new" "$folder/transaction" "$folder/transaction.new" ||
    return 1
  if [ ! -e "$state/$1/mutex" ]; then
    (umask 077 && mkdir -p "$state/$1/unproven" && : >"$state/$1/mutex") || return 1
  fi
  command exec 9<"$state/$1/mutex"    # alone, it would end the shell when it fails
}

enter() { # SERVICE: until this shell ends, no other script changes the service
  open_mutex "$1" || fail cannot_write "cannot write in $state/$1"
  command -v flock >/dev/null || fail no_flock "the host has no flock (util-linux or busybox)"
  have_turn 9 || fail mutex_held "somebody has held $state/$1/mutex for $turn_limit s: fuser -v $state/$1/mutex"
}

read_lock() { # SERVICE: its lock as lock_*, and left, the seconds until it expires; false if there is none
  read_holder "$1" || return 1
  age=$(($(date +%s) - $(stat -c %Y "$state/$1/lock" 2>/dev/null || echo 0)))
  # A clock that was set back a little must not cost a release; one that was set back far proves nothing.
  if [ "$age" -lt 0 ] && [ "$age" -ge "-$lock_lease" ]; then age=0; fi
  left=$((lock_lease - age))
  [ "$left" -le "$lock_lease" ] && [ "$left" -gt 0 ] || left=0
}

read_holder() { # SERVICE: its lock as lock_*, however old it is; false if there is none
  lock_run='' lock_by='' lock_pid='' lock_from='' lock_since=0 lock_lease=0 left=0
  [ -f "$state/$1/lock" ] || return 1
  read -r line <"$state/$1/lock"
  for word in $line; do
    case $word in
      run=*) lock_run=${word#*=} ;;
      by=*) lock_by=${word#*=} ;;
      pid=*) lock_pid=${word#*=} ;;
      from=*) lock_from=${word#*=} ;;
      since=*) lock_since=${word#*=} ;;
      lease=*) lock_lease=${word#*=} ;;
    esac
  done
  case $lock_lease in '' | *[!0-9]*) lock_lease=0 ;; esac    # damaged: arithmetic would end the script
}

show_lock() { say "run=$lock_run by=$lock_by pid=$lock_pid from=$lock_from since=$lock_since left=$left"; }

is_ours() { read_lock "$1" && [ "$lock_run" = "$run" ]; } # SERVICE

seal() { # SERVICE: changes whenever a run changed something
  stat -c '%s %N' "$state/$1/ledger" "/opt/$1/current" 2>/dev/null
}

take_lock() { # SERVICE SEAL BREAK: SEAL was seen when the plan was made; BREAK: a run that is known to be dead, or -
  if read_lock "$1" && [ "$left" -gt 0 ]; then
    case $lock_run in "$run" | "$3") ;; *) fail held "$(show_lock)" ;; esac
  fi
  [ ! -e "$state/$1/transaction" ] || fail stale "a transaction is open"
  [ "$(seal "$1")" = "$2" ] || fail stale "another run changed the service meanwhile"
  keep_private "$state" || fail cannot_write "cannot set the mode of $state"
  {
    say "run=$run by=$by pid=$pid from=$from since=$(date +%s) lease=$lease" >"$state/$1/lock.new" &&
      mv -f "$state/$1/lock.new" "$state/$1/lock"
  } || fail cannot_write "cannot write $state/$1/lock"
}

free_lock() { # SERVICE RUN: if it is that run's
  read_holder "$1" && [ "$lock_run" = "$2" ] && rm -f "$state/$1/lock"
}

read_transaction() { # SERVICE: the open one as t_*; false if there is none
  t_run='' t_by='' t_kind='' t_before='' t_after='' t_start=no t_main=''
  [ -f "$state/$1/transaction" ] || return 1
  read -r line <"$state/$1/transaction"
  for word in $line; do
    case $word in
      run=*) t_run=${word#*=} ;;
      by=*) t_by=${word#*=} ;;
      kind=*) t_kind=${word#*=} ;;
      before=*) t_before=${word#*=} ;;
      after=*) t_after=${word#*=} ;;
      start=*) t_start=${word#*=} ;;
      main=*) t_main=${word#*=} ;;
    esac
  done
  # Damaged: what is no name of a release, or was cut off, is no release that is there; and no first one, which says -.
  case $t_before in -) ;; '' | *[!A-Za-z0-9-]*) t_before=damaged ;; esac
}

open_transaction() { # SERVICE KIND BEFORE AFTER START MAIN: MAIN: the main process that it found, or 0
  t_line="run=$run by=$by kind=$2 before=$3 after=$4 start=$5 main=$6 deadline=$lease"
  (umask 077 && say "$t_line" >"$state/$1/transaction.new") && replace "$state/$1/transaction"
}

close_transaction() { # SERVICE
  init_let_go "$1"
  rm -f "/opt/$1/.current.before" "$state/$1/transaction"
  [ ! -e "$state/$1/transaction" ] && durable "$state/$1"
}

is_alive() { # SERVICE: whether the run of the open transaction gave a sign of life within its lease
  read_lock "$1" && [ "$lock_run" = "$t_run" ] && [ "$left" -gt 0 ]
}

record() { # SERVICE WHAT RELEASE BEFORE RUN BY OUTCOME [KEY=VALUE...]: a full disk must not fail what was done
  ledger=$state/$1/ledger
  make_way "$ledger" || :
  # A line that a power cut tore must not take the next one with it.
  [ ! -s "$ledger" ] || [ -z "$(tail -c 1 "$ledger")" ] || say >>"$ledger"
  { line="$(date -u +%Y-%m-%dT%H:%M:%SZ) $2 release=$3 before=$4 run=$5 by=$6 outcome=$7"; shift 7; }
  if [ ! -p "$ledger" ] && { say "$line${*:+ $*}" >>"$ledger"; } 2>/dev/null; then durable "$ledger"; else say "unrecorded $line"; fi
}

mark() { # SERVICE RELEASE WORD: staged or failed; until it is committed
  [ -d "$state/$1/unproven" ] || mkdir -p "$state/$1/unproven" || return 1
  make_way "$state/$1/unproven/$2" && say "$3" >"$state/$1/unproven/$2" && durable "$state/$1/unproven/$2" "$state/$1/unproven"
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
