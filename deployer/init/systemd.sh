# shellcheck shell=sh
# systemd.sh - what systemd says, behind the few verbs that the stages need of an init system.
units=/etc/systemd/system
watch=$units/deployer-revert@.service
stopped=/var/lib/unless-stopped    # helper's memory of manual stops, one file a unit
unheard=15                         # seconds for which a systemd that does not answer is asked again

may_ask_again() { # true, after a moment, while it is worth it: give_up_at is empty before the first time
  # systemd hears nobody while it executes itself anew, which every upgrade of it or of libc lets it do.
  read -r up _ </proc/uptime
  [ -n "$give_up_at" ] || give_up_at=$((${up%.*} + unheard))
  [ "${up%.*}" -lt "$give_up_at" ] && sleep 0.2
}

ask() { # ARGUMENT...: what `systemctl show` says; false if systemd could not be asked
  give_up_at=''
  until told=$(systemctl show "$@" 2>/dev/null) && [ -n "$told" ]; do may_ask_again || return 1; done
  say "$told"
}

init_facts() { # fact init NAME VERSION; or known, for a version that was good enough for an earlier deploy
  if [ -d /run/systemd/system ] && [ -e "$watch" ]; then
    say "fact init systemd known"
  elif [ -d /run/systemd/system ]; then
    say "fact init systemd $(systemctl --version | { read -r _ version _ && echo "$version"; })"
  else
    say "fact init none"
  fi
}

init_show() { # SERVICE...: properties, a block for each service, in order; see systemctl(1), show
  [ -d /run/systemd/system ] || return 0
  for unit; do set -- "$@" "$unit.service"; shift; done
  ask -p Id,LoadState,ActiveState,SubState,Result,FragmentPath,DropInPaths,NeedDaemonReload,MainPID,NRestarts \
    -p ExecMainCode,ExecMainStatus,ExecMainStartTimestampMonotonic "$@"
}

init_at_boot() { # SERVICE: what starts it at boot: no, always or unless-stopped
  if [ -L "$units/multi-user.target.wants/unless-stopped@$1.service" ]; then say unless-stopped
  elif [ -L "$units/multi-user.target.wants/$1.service" ]; then say always
  else say no
  fi
}

init_was_stopped() { # SERVICE: by its operator
  [ ! -s "$stopped/$1.service" ] || return 0
  # The empty mark is there for the 100 ms between an exit and its restart; a stop then leaves it behind.
  [ -e "$stopped/$1.service" ] || return 1
  case $(ask -p ActiveState "$1.service") in *=inactive | *=failed) ;; *) return 1 ;; esac
}

init_marks() { # SERVICE: at_boot and stopped_by_operator, as words
  printf 'at_boot '
  init_at_boot "$1"
  ! init_was_stopped "$1" || say "stopped_by_operator"
}

init_let_go() { # SERVICE: of what init_keep keeps, and of a guess that it was stopped, which is not true of what is up
  rm -f "$units/$1.service.before"
  # The helper takes it back when the service starts, if the disk lets it; the next boot would believe it.
  if [ -e "$stopped/$1.service" ] && [ ! -s "$stopped/$1.service" ] && init_state "$1" && [ "$active" = active ]; then
    rm -f "$stopped/$1.service"
  fi
}

init_state() { # SERVICE: as active, pid (0: not up) and restarts; false if systemd could not be asked
  active='' pid=0 restarts=0
  state_now=$(ask -p ActiveState -p MainPID -p NRestarts "$1.service") || return 1
  for line in $state_now; do
    case $line in
      ActiveState=*) active=${line#*=} ;;
      MainPID=*) pid=${line#*=} ;;
      NRestarts=*) restarts=${line#*=} ;;
    esac
  done
  [ "$active" = active ] || pid=0
}

init_has() { # SERVICE UNIT_FILE: whether that is its unit
  same "$2" "$units/$1.service"
}

init_owns() { # SERVICE MAIN PID: whether the process PID is one of the service whose main process is MAIN
  # By the whole path of its control group: a unit of some user may have the same name.
  own=$(group_of "$2") && [ -n "$own" ] || return 1
  own=${own%"/$1.service"/*}
  own=${own%"/$1.service"}/$1.service
  case $(group_of "$3")/ in "$own"/*) ;; *) return 1 ;; esac
}

group_of() { # PID: the path of its control group, as systemd has them; see cgroups(7)
  sed -n -e 's/^0:://p' -e 's/^[0-9]*:name=systemd://p' "/proc/$1/cgroup" 2>/dev/null | tail -n 1
}

init_main_pid() { # SERVICE: the main process if the service is up, else 0
  init_state "$1" || :
  say "$pid"
}

init_last_end() { # SERVICE SINCE: how a main process ended last; a restart makes systemctl show forget it
  # The message is SD_MESSAGE_UNIT_PROCESS_EXIT.
  journalctl --unit "$1.service" --since "@$2" --no-pager --quiet --output cat \
    MESSAGE_ID=98e322203f7a4ed290d09fe03c09fe15 2>/dev/null | sed -n \
    -e 's/.*: Main process exited, code=exited, status=\([0-9]*\).*/exited with status \1/p' \
    -e 's/.*: Main process exited, code=[kd][a-z]*, status=\([0-9]*\).*/was killed by signal \1/p' | tail -n 1
}

init_journal() { # SERVICE LINES SINCE: its last lines of log, none from before SINCE, in seconds since 1970
  # Before systemd 254 --lines together with --since means the first ones.
  journalctl --unit "$1.service" --since "@$3" --no-pager --quiet --output short-iso 2>/dev/null | tail -n "$2"
}
