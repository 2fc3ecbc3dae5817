# shellcheck shell=sh
# undo.sh - put back what an open transaction found, whatever of it was done; can be repeated.
undo_files() { # SERVICE: link and unit; the link first, for what cannot be turned back must not be restarted
  root=/opt/$1
  if [ "$(readlink "$root/current")" != "releases/$t_before" ]; then
    [ -L "$root/current" ] || make_way "$root/current" || fail cannot_write "cannot move $root/current away"
    # This link was made ready before the switch: a rename needs no space on a full disk.
    if [ "$(readlink "$root/.current.before")" = "releases/$t_before" ]; then
      mv -fT "$root/.current.before" "$root/current" || fail cannot_write "cannot set $root/current"
      durable "$root"
    else
      make_current "$1" "$t_before"
    fi
  fi
  point revert.flipped
  init_install "$1" "$root/releases/$t_before/$1.service" || case $? in
    3) undo_went=failed ;;          # it can be started now all the same; the next run makes what starts it at boot
    *) fail cannot_install "cannot install the unit of $t_before" ;;
  esac
  point revert.installed
}

must_start() { # SERVICE: whether what is back must be started
  ! init_was_stopped "$1" || return 1    # a stop that was ordered meanwhile is an order like any other
  init_state "$1" || [ "$t_start" = yes ] || return 1
  # What never ended might not start again on a host that took no release; what systemd started since may have the
  # unit of one release and the files of the other.
  if [ "$pid" != 0 ] && [ "$pid" = "$t_main" ] && [ "$(release_of "$1" "$pid")" = "$t_before" ]; then return 1; fi
  [ "$t_start" = yes ] || case $active in inactive | failed) return 1 ;; esac    # else its operator started what was on trial
}

undo() { # SERVICE: sets undo_went to ok, or failed when what is back does not start, now or at boot
  undo_went=ok
  point revert.begun
  if [ "$t_before" = - ]; then
    { [ "$t_start" = no ] && [ "$(init_main_pid "$1")" = 0 ]; } || init_stop "$1" || fail cannot_stop "cannot stop the service"
  elif [ ! -f "/opt/$1/releases/$t_before/$1.service" ]; then
    undo_went=failed                # somebody deleted it: there is nothing to go back to, so leave what runs
  else
    undo_files "$1"
    if must_start "$1"; then
      init_restart "$1" || case $? in
        2) fail cannot_ask "systemd does not answer, so $1 was not restarted" ;;    # the journal stays open
        3) ;;                       # its operator stopped it, which stands
        *) undo_went=failed ;;
      esac
    fi
  fi
  point revert.restarted
}

undone() { # SERVICE BY [KEY=VALUE...]: the transaction is over; false if the disk does not take that
  service=$1 undone_by=$2
  shift 2
  what=revert
  [ "$t_before" != - ] || what=stop
  record "$service" "$what" "$t_after" "$t_before" "$t_run" "$undone_by" "$undo_went" "$@"
  close_transaction "$service" || return 1
  point revert.closed
}
