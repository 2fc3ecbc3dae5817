# shellcheck shell=sh
# systemd.sh - systemd behind the few verbs that the stages need of an init system.
units=/etc/systemd/system
helper=/usr/local/libexec/unless-stopped
gate=$units/unless-stopped@.service
deadman=/usr/local/libexec/deployer-revert
watch=$units/deployer-revert@.service
at_start=$units/deployer-revert.service
stopped=/var/lib/unless-stopped    # helper's memory of manual stops, one file a unit
fresh=no                           # yes: nothing of the service is there to be forgotten by systemd
reload=no                          # yes: a unit file that systemd may have read was replaced; reading all anew is slow

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
  systemctl show -p Id,LoadState,ActiveState,SubState,Result,FragmentPath,NeedDaemonReload,MainPID,NRestarts \
    -p ExecMainCode,ExecMainStatus "$@"
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
  case $(systemctl show --value -p ActiveState "$1.service") in inactive | failed) ;; *) return 1 ;; esac
}

init_marks() { # SERVICE: at_boot and stopped_by_operator, as words
  printf 'at_boot '
  init_at_boot "$1"
  ! init_was_stopped "$1" || say "stopped_by_operator"
}

init_helpers() { # TEXT...: install what units call, all or none
  mkdir -p "${helper%/*}" || return 1
  replace_helpers "$@" 8<"${helper%/*}"
}

replace_helpers() {
  flock 8 || return 1    # deploys of other services install them, too
  for file in "$helper" "$gate" "$deadman" "$watch" "$at_start"; do
    put "$file.new" "$1" || return 1
    shift
    case $file in "$units"/*) [ ! -e "$file" ] || reload=yes ;; esac
  done
  chmod 755 "$helper.new" "$deadman.new" &&
    durable "$helper.new" "$gate.new" "$deadman.new" "$watch.new" "$at_start.new" || return 1
  for file in "$helper" "$gate" "$deadman" "$watch" "$at_start"; do
    mv -f "$file.new" "$file" || return 1
  done
  durable "${helper%/*}" "$units"
}

init_arm() { # SERVICE [--no-block]: from now on its transaction is watched, and after a boot
  link=$units/basic.target.wants/${at_start##*/}
  if [ ! -L "$link" ]; then
    mkdir -p "${link%/*}" && ln -s "$at_start" "$link" && durable "${link%/*}" || return 1
  fi
  systemctl restart ${2:+"$2"} "deployer-revert@$1.service"
}

init_install() { # SERVICE UNIT_FILE: make UNIT_FILE the service's unit, and let it decide what happens at boot
  unit=$units/$1.service
  if [ ! -e "$unit" ]; then
    cp "$2" "$unit.new" && replace "$unit" && fresh=yes || return 1
  elif ! cmp -s "$2" "$unit"; then
    # Links that only the old unit asked for must go before it does.
    systemctl disable --quiet --no-reload "$1.service" || return 1
    reload=yes
    cp "$2" "$unit.new" && replace "$unit" || return 1
  fi
  if grep -q '^\[Install\]' "$unit"; then
    systemctl enable --quiet --no-reload "$1.service" || return 1
  fi
  if [ "$reload" = no ]; then
    # Whether systemd knows the units as they are on the disk; those that are new to it it reads now.
    found=$(systemctl show -p ActiveState -p LoadState -p NeedDaemonReload \
      "$1.service" "unless-stopped@$1.service" "deployer-revert@$1.service")
    case $found in *=not-found* | *=yes*) reload=yes ;; esac
    # A service that is up without a file runs on from one that somebody removed.
    case $fresh,${found#*ActiveState=} in no,* | yes,inactive*) ;; *) reload=yes ;; esac
  fi
  if [ "$reload" = yes ]; then fresh=no; systemctl daemon-reload; fi
}

init_main_pid() { # SERVICE: the main process if the service is up, else 0
  # NRestarts says nothing: a crash between reset-failed and restart of init_restart leaves it at 1.
  systemctl show -p ActiveState -p MainPID "$1.service" | {
    state=- pid=0
    while IFS='=' read -r key value; do
      case $key in ActiveState) state=$value ;; MainPID) pid=$value ;; esac
    done
    [ "$state" = active ] || pid=0
    say "$pid"
  }
}

init_restart() { # SERVICE: stop what runs, start anew; returns when the main process was executed
  [ "$fresh" = yes ] || systemctl reset-failed "$1.service" 2>/dev/null
  systemctl restart "$1.service"
}

init_stop() { # SERVICE: stop it and keep it from starting at boot; not the operator's order, so not remembered
  systemctl disable --quiet "$1.service" 2>/dev/null
  systemctl stop "$1.service"
  rm -f "$stopped/$1.service"
}

init_start_at_boot() { # SERVICE: while the machine comes up; what its policy says, with the unit it has now
  [ ! -s "$stopped/$1.service" ] || return 0
  rm -f "$stopped/$1.service"    # the empty mark is a guess that the helper had no time to take back
  [ "$(init_at_boot "$1")" = no ] || systemctl start --no-block "$1.service"
}

init_disown() { # SERVICE: while the machine comes up: it is not to start, now or later
  systemctl disable --quiet "$1.service" 2>/dev/null
  systemctl stop --no-block "unless-stopped@$1.service" "$1.service"
  rm -f "$stopped/$1.service"
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
