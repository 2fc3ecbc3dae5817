# shellcheck shell=sh
# systemd.sh - systemd behind the few verbs that the stages need of an init system.
units=/etc/systemd/system
helper=/usr/local/libexec/unless-stopped
gate=$units/unless-stopped@.service
deadman=/usr/local/libexec/deployer-revert
watch=$units/deployer-revert@.service
at_start=$units/deployer-revert.service
stopped=/var/lib/unless-stopped    # helper's memory of manual stops, one file a unit
unheard=15                         # seconds for which a systemd that does not answer is asked again
fresh=no                           # yes: nothing of the service is there to be forgotten by systemd
reload=no                          # yes: a unit file that systemd may have read was replaced; reading all anew is slow

answered() { # SAID: whether that is systemd's own answer to an order, and not that systemd could not be asked
  case $1 in *"Job for "* | *": Unit "*) return 0 ;; *) return 1 ;; esac
}

may_ask_again() { # true, after a moment, while it is worth it: give_up_at is empty before the first time
  # systemd hears nobody while it executes itself anew, which every upgrade of it or of libc lets it do.
  read -r up _ </proc/uptime
  [ -n "$give_up_at" ] || give_up_at=$((${up%.*} + unheard))
  [ "${up%.*}" -lt "$give_up_at" ] && sleep 0.2
}

order() { # ARGUMENT...: systemctl; false if systemd refused, failed or could not be asked, and why on stderr
  give_up_at=''
  until said=$(systemctl "$@" 2>&1); do
    if answered "$said" || ! may_ask_again; then
      printf '%s\n' "$said" >&2
      return 1
    fi
  done
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

init_helpers() { # TEXT...: install what units call, all or none
  mkdir -p "${helper%/*}" || return 1
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
  order restart ${2:+"$2"} "deployer-revert@$1.service"
}

# What starts a service at boot is a link.  systemctl makes and removes them only as a unit says that it can read,
# and the way back must not depend on what it undoes.
set_boot() { # SERVICE no|always|unless-stopped
  gated=unless-stopped@$1.service at_boot=
  case $2 in
    always) at_boot=$1.service leads=$units/$1.service ;;
    unless-stopped) at_boot=$gated leads=$gate ;;
  esac
  for link in "$units"/*.wants/"$1.service" "$units"/*.requires/"$1.service" \
    "$units"/*.wants/"$gated" "$units"/*.requires/"$gated"; do
    [ -L "$link" ] || continue
    [ "$link" != "$units/multi-user.target.wants/$at_boot" ] || continue
    rm -f "$link" && durable "${link%/*}" || return 1
  done
  [ -n "$at_boot" ] || return 0
  link=$units/multi-user.target.wants/$at_boot
  [ ! -L "$link" ] || return 0
  mkdir -p "${link%/*}" && ln -s "$leads" "$link" && durable "${link%/*}"
}

asks_for() { # UNIT_FILE: what it says of the start at boot
  if grep -q '^Also=unless-stopped@' "$1"; then say unless-stopped
  elif grep -q '^WantedBy=' "$1"; then say always
  else say no
  fi
}

init_verify() { # SERVICE UNIT_FILE: whether systemd can load it, said by systemd itself, which is not to run it
  ! cmp -s "$2" "$units/$1.service" || return 0
  if [ -e "$units/$1.service" ]; then    # a new one it reads by itself
    # Below 16 MiB (RELOAD_DISK_SPACE_MIN) it reads no units anew, and there would be no way back either.
    free=$(df -Pk /run/systemd 2>/dev/null | { read -r _; read -r _ _ _ free _ && echo "$free"; })
    if [ "${free:-16384}" -lt 16384 ]; then
      echo "systemd reads no units while /run has less than 16 MiB free, and it has $free KiB" >&2
      return 1
    fi
  fi
  trial=/run/systemd/system/deployer-trial-$1.service
  mkdir -p "${trial%/*}" && cp "$2" "$trial" || return 1
  found=$(ask -p LoadState -p LoadError "${trial##*/}")
  rm -f "$trial"
  case $found in
    *LoadState=loaded*) ;;
    *) printf '%s\n' "$found" | sed -n 's/^LoadError=[^ ]* *//p; s/^LoadState=/systemd says: /p' | tail -n 1 >&2; return 1 ;;
  esac
}

init_keep() { # SERVICE OLD NEW: have the unit file OLD ready, for a rename back from NEW needs no space on a full disk
  kept=$units/$1.service.before
  cmp -s "$2" "$3" || { cp "$2" "$kept" && durable "$kept"; }
}

init_let_go() { rm -f "$units/$1.service.before"; } # SERVICE: of what init_keep keeps

init_install() { # SERVICE UNIT_FILE: make UNIT_FILE the service's unit, and let it decide what happens at boot
  unit=$units/$1.service
  if [ ! -e "$unit" ] && [ ! -L "$unit" ]; then
    cp "$2" "$unit.new" && replace "$unit" && fresh=yes || return 1
  elif [ -L "$unit" ] || ! cmp -s "$2" "$unit"; then
    reload=yes
    # Whatever stands in its place, mask and all: a rename would move into a folder.
    [ ! -d "$unit" ] || [ -L "$unit" ] || rm -rf "$unit"
    if cmp -s "$unit.before" "$2"; then
      mv -f "$unit.before" "$unit" && durable "$units" || return 1
    else
      cp "$2" "$unit.new" && replace "$unit" || return 1
    fi
  fi
  set_boot "$1" "$(asks_for "$unit")" || return 1
  if [ "$reload" = no ]; then
    # Whether systemd knows the units as they are on the disk; those that are new to it it reads now.
    found=$(ask -p ActiveState -p LoadState -p NeedDaemonReload \
      "$1.service" "unless-stopped@$1.service" "deployer-revert@$1.service") || reload=yes
    case $found in *=not-found* | *=yes*) reload=yes ;; esac
    # A service that is up without a file runs on from one that somebody removed.
    case $fresh,${found#*ActiveState=} in no,* | yes,inactive*) ;; *) reload=yes ;; esac
  fi
  if [ "$reload" = yes ]; then fresh=no; order daemon-reload; fi
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
  cmp -s "$2" "$units/$1.service"
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

init_restart() { # SERVICE [anyway]: stop what runs, start anew; returns when the main process was executed
  # 2: systemd does not answer; 3: its operator ordered a stop first, which stands unless it is to start anyway.
  crashes=no
  if [ "$fresh" = no ]; then
    init_state "$1" || return 2
    case "$active $restarts" in
      "active 0" | "inactive 0") ;;
      *) crashes=yes; order reset-failed "$1.service" 2>/dev/null || : ;;
    esac
  fi
  init_start_anew "$@" || return
  # An automatic restart that began after reset-failed was counted, and says nothing of what runs now.
  if [ "$crashes" = yes ] && init_state "$1" && [ "$active" = active ] && [ "$restarts" != 0 ]; then
    order reset-failed "$1.service" 2>/dev/null || :
  fi
}

init_start_anew() { # SERVICE [anyway]
  give_up_at='' mode=fail    # a stop that waits to be carried out is not replaced
  [ "${2:-}" != anyway ] || mode=replace
  until said=$(systemctl restart --job-mode="$mode" "$1.service" 2>&1); do
    case $said in
      *"($1.service has 'stop' job queued"*) init_await_stop "$1"; return ;;
      *" is destructive"*)    # to something that the service is only wanted by; or the machine goes down
        [ "$mode" = fail ] || { printf '%s\n' "$said" >&2; return 2; }
        mode=replace
        continue ;;
    esac
    if answered "$said"; then printf '%s\n' "$said" >&2; return 1; fi
    # It was not heard, or its answer was lost; once more would cost what it has started.
    while may_ask_again; do
      told=$(systemctl show -p ActiveState -p MainPID "$1.service" 2>/dev/null) || continue
      case $told in
        *ActiveState=activating* | *ActiveState=deactivating*) continue ;;
        *ActiveState=active*) ;;
        *) break ;;
      esac
      told=${told#*MainPID=}
      [ "$(release_of "$1" "${told%%[!0-9]*}")" != "$(current_of "$1")" ] || return 0
      break
    done
    read -r up _ </proc/uptime
    [ "${up%.*}" -lt "$give_up_at" ] || { printf '%s\n' "$said" >&2; return 2; }
  done
}

init_await_stop() { # SERVICE, which has a stop to carry out: 3 when it is known to be its operator's, 1 if it is not
  looks=0
  until init_was_stopped "$1"; do    # its hook remembers it before any process is signalled
    looks=$((looks + 1))
    init_state "$1" || return 2
    case $active in inactive | failed) looks=$unheard ;; esac
    if [ "$looks" -ge "$unheard" ]; then
      ! init_was_stopped "$1" || break
      echo "$1 is being stopped, and not by its operator" >&2
      return 1
    fi
    sleep 0.2
  done
  return 3
}

init_stop() { # SERVICE: stop it and keep it from starting at boot; not the operator's order, so not remembered as one
  order_was=''
  ! init_was_stopped "$1" || order_was=stop
  set_boot "$1" no || :
  order daemon-reload || :
  if ! order stop "$1.service"; then    # of what systemd does not know there is nothing to stop
    init_state "$1" && case $active in inactive | failed) ;; *) return 1 ;; esac || return 1
  fi
  [ -n "$order_was" ] || rm -f "$stopped/$1.service"
}

init_start_at_boot() { # SERVICE: while the machine comes up; what its policy says, with the unit it has now
  [ ! -s "$stopped/$1.service" ] || return 0
  rm -f "$stopped/$1.service"    # the empty mark is a guess that the helper had no time to take back
  [ "$(init_at_boot "$1")" = no ] || order start --no-block "$1.service"
}

init_disown() { # SERVICE: while the machine comes up: it is not to start, now or later
  set_boot "$1" no || :
  order daemon-reload || :
  order stop --no-block "unless-stopped@$1.service" "$1.service"
  [ -s "$stopped/$1.service" ] || rm -f "$stopped/$1.service"
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
