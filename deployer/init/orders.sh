# shellcheck shell=sh
# orders.sh - what systemd is told to do; goes after systemd.sh.
helper=/usr/local/libexec/unless-stopped
gate=$units/unless-stopped@.service
deadman=/usr/local/libexec/deployer-revert
at_start=$units/deployer-revert.service
patience=15                        # seconds to wait for the end of a restart, before asking what becomes of it
fresh=no                           # yes: nothing of the service is there to be forgotten by systemd
reload=no                          # yes: a unit file that systemd may have read was replaced; reading all anew is slow

answered() { # SAID: whether that is systemd's own answer to an order, and not that systemd could not be asked
  case $1 in *"Job for "* | *": Unit "*) return 0 ;; *) return 1 ;; esac
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

init_helpers() { # TEXT...: install what units call, all or none
  mkdir -p "${helper%/*}" || return 1
  for file in "$helper" "$gate" "$deadman" "$watch" "$at_start"; do
    make_way "$file" "$file.new" && put "$file.new" "$1" || return 1
    shift
    case $file in "$units"/*) [ ! -e "$file" ] || reload=yes ;; esac
  done
  chmod 755 "$helper.new" "$deadman.new" &&
    durable "$helper.new" "$gate.new" "$deadman.new" "$watch.new" "$at_start.new" || return 1
  for file in "$helper" "$gate" "$deadman" "$watch" "$at_start"; do
    mv -fT "$file.new" "$file" || return 1
  done
  durable "${helper%/*}" "$units"
}

lead() { # LINK PATH: have LINK lead to PATH; systemd takes no file for a link, as a restore makes that follows them
  [ ! -L "$1" ] || return 0
  mkdir -p "${1%/*}" || return 1
  [ ! -e "$1" ] || { rm -rf "$1.aside" && mv -fT "$1" "$1.aside"; } || return 1
  ln -s "$2" "$1" && durable "${1%/*}"
}

init_arm() { # SERVICE [--no-block]: from now on its transaction is watched, and after a boot
  lead "$units/basic.target.wants/${at_start##*/}" "$at_start" || return 1
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
  lead "$units/multi-user.target.wants/$at_boot" "$leads"
}

asks_for() { # UNIT_FILE: what it says of the start at boot
  if grep -q '^Also=unless-stopped@' "$1"; then say unless-stopped
  elif grep -q '^WantedBy=' "$1"; then say always
  else say no
  fi
}

init_verify() { # SERVICE UNIT_FILE: whether systemd can load it, said by systemd itself, which is not to run it
  # 2: systemd does not answer.
  ! same "$2" "$units/$1.service" || return 0
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
  found=$(ask -p LoadState -p LoadError "${trial##*/}") || found=
  rm -f "$trial"
  [ -n "$found" ] || return 2
  case $found in
    *LoadState=loaded*) ;;
    *) printf '%s\n' "$found" | sed -n 's/^LoadError=[^ ]* *//p; s/^LoadState=/systemd says: /p' | tail -n 1 >&2; return 1 ;;
  esac
}

init_keep() { # SERVICE OLD NEW: have the unit file OLD ready, for a rename back from NEW needs no space on a full disk
  kept=$units/$1.service.before
  make_way "$kept" || return 1
  same "$2" "$3" || { cp "$2" "$kept" && durable "$kept"; }
}

init_install() { # SERVICE UNIT_FILE: make UNIT_FILE the service's unit, and let it decide what happens at boot
  # 3: all is done but the link for the boot, which may need space on the disk.
  unit=$units/$1.service
  make_way "$unit.new" "$unit.before" && [ -f "$2" ] || return 1
  if [ ! -e "$unit" ] && [ ! -L "$unit" ]; then
    cp "$2" "$unit.new" && replace "$unit" && fresh=yes || return 1
  elif [ -L "$unit" ] || ! same "$2" "$unit"; then
    reload=yes
    # Whatever stands in its place: a rename replaces a mask, and would move into a folder.
    [ -L "$unit" ] || make_way "$unit" || return 1
    if same "$unit.before" "$2"; then
      mv -fT "$unit.before" "$unit" && durable "$units" || return 1
    else
      cp "$2" "$unit.new" && replace "$unit" || return 1
    fi
  fi
  linked=yes
  set_boot "$1" "$(asks_for "$unit")" || linked=no
  if [ "$reload" = no ]; then
    # Whether systemd knows the units as they are on the disk; those that are new to it it reads now.
    found=$(ask -p ActiveState -p LoadState -p NeedDaemonReload \
      "$1.service" "unless-stopped@$1.service" "deployer-revert@$1.service") || reload=yes
    case $found in *=not-found* | *=yes*) reload=yes ;; esac
    # A service that is up without a file runs on from one that somebody removed.
    case $fresh,${found#*ActiveState=} in no,* | yes,inactive*) ;; *) reload=yes ;; esac
  fi
  if [ "$reload" = yes ]; then fresh=no; order daemon-reload || return 1; fi
  [ "$linked" = yes ] || return 3
}

init_restart() { # SERVICE [anyway]: stop what runs, start anew; returns when the main process was executed
  # 2: systemd does not answer; 3: its operator ordered a stop first, which stands unless it is to start anyway.
  crashes=no pid=0
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
  until said=$(timeout "$patience" systemctl restart --job-mode="$mode" "$1.service" 2>&1); do
    case $? in 124 | 143) init_await_start "$1"; return ;; esac    # the latter is busybox's
    case $said in
      *"($1.service has 'stop' job queued"* | "Job for $1.service canceled."*) init_await_stop "$1"; return ;;
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

init_await_start() { # SERVICE, whose restart takes long; as init_restart, and pid is the main process before it
  # Each job ends by itself, but for one: if the unit file is taken away while the process is being executed, systemd
  # has forgotten that it waits for execve(2), and would wait on, and at last kill what serves.
  was=$pid job=1
  while [ "$job" != 0 ]; do
    told=$(ask -p Job -p LoadState -p ActiveState -p MainPID "$1.service") || return 2
    job=0 active='' pid=0
    for line in $told; do
      case $line in
        Job=?*) job=${line#*=} ;;
        LoadState=loaded) ;;
        LoadState=*) echo "the unit of $1 was taken away while it was started (${line#*=})" >&2; return 1 ;;
        ActiveState=*) active=${line#*=} ;;
        MainPID=*) pid=${line#*=} ;;
      esac
    done
    [ "$job" = 0 ] || sleep 0.2
  done
  if [ "$active" != active ]; then
    ! init_was_stopped "$1" || return 3
    echo "$1 was started for more than $patience s, and is $active" >&2
    return 1
  fi
  [ "$pid" != "$was" ] || { echo "$1 was not restarted" >&2; return 2; }
}

init_ended() { # SERVICE: whether what was started instead of the process pid was executed, and ended by itself
  # A busy systemd may see the end before it sees that it began, and calls that a start that failed.
  told=$(ask -p ExecMainPID -p ExecMainCode -p ExecMainStatus "$1.service") || return 1
  started=$pid code=0 status=0
  for line in $told; do
    case $line in
      ExecMainPID=*) started=${line#*=} ;;
      ExecMainCode=*) code=${line#*=} ;;
      ExecMainStatus=*) status=${line#*=} ;;
    esac
  done
  [ "$started" != "$pid" ] || return 1
  # A process that has not ended has no code; from 200 on they are systemd's own: systemd.exec(5).
  case $code,$status in 0,* | 1,2[0-4][0-9]) return 1 ;; esac
}

init_await_stop() { # SERVICE, which has a stop to carry out: 3 when it is known to be its operator's, 1 if it is not
  looks=0
  until init_was_stopped "$1"; do
    init_state "$1" || return 2
    case $active in
      inactive | failed) looks=$unheard ;;
      deactivating) ;;    # its hook remembers it; where it took the place of our restart, only at the end
      *) looks=$((looks + 1)) ;;
    esac
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
  # By the unit, not by its link, which a full disk may have refused.
  [ "$(asks_for "$units/$1.service")" = no ] || order start --no-block "$1.service"
}

init_keep_stopped() { # SERVICE: while the machine comes up; a start that the unit it had asked for is not to be
  [ "$(asks_for "$units/$1.service")" = always ] || [ ! -s "$stopped/$1.service" ] || order stop --no-block "$1.service"
}

init_disown() { # SERVICE: while the machine comes up: it is not to start, now or later
  set_boot "$1" no || :
  order daemon-reload || :
  order stop --no-block "unless-stopped@$1.service" "$1.service"
  [ -s "$stopped/$1.service" ] || rm -f "$stopped/$1.service"
}
