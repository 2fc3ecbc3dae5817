# shellcheck shell=sh
# deadman.sh - the host itself goes back, when the run that changed it fell silent or the host went down.
#
#   deployer-revert watch SERVICE   until its transaction is over
#   deployer-revert boot            every service, before any is started
stay_up=3

prove() { # SERVICE: the process that was just started must still be there after a while
  if [ "$t_before" = - ] || [ "$t_start" = no ] || init_was_stopped "$1"; then return; fi
  started=$(init_main_pid "$1")
  sleep "$stay_up"
  if [ "$started" = 0 ] || [ "$(init_main_pid "$1")" != "$started" ]; then undo_went=failed; fi
}

put_back() ( # SERVICE FOUND WENT: in a shell of its own, for a failure ends it
  # WENT: no; or ok, failed: it was put back before, and only the journal could not be closed.
  # Exits with 2 for ok or 3 for failed if the journal cannot be closed now.
  # The way back needs nobody's leave: who holds the mutex for that long has only a slow start or stop before it,
  # or means no good; and what is undone twice is undone.
  if open_mutex "$1"; then have_turn 9 || :; fi
  read_transaction "$1" || exit 0
  ! is_alive "$1" || exit 0        # it spoke up while this waited for its turn
  undo_went=$3
  if [ "$undo_went" = no ]; then
    undo "$1"
    prove "$1"
  fi
  if undone "$1" host "found=$2"; then
    free_lock "$1" "$t_run" || :
  elif [ "$undo_went" = ok ]; then
    exit 2
  else
    exit 3
  fi
)

put_back_at_boot() ( # SERVICE
  if open_mutex "$1"; then have_turn 9 || :; fi
  read_transaction "$1" || exit 0
  undo_went=ok
  if [ "$t_before" = - ]; then
    [ "$t_start" = no ] || init_disown "$1"
  elif [ ! -f "/opt/$1/releases/$t_before/$1.service" ]; then
    undo_went=failed
  else
    undo_files "$1"
    if [ "$t_start" = no ]; then init_keep_stopped "$1"; else init_start_at_boot "$1"; fi
  fi
  undone "$1" host found=boot || exit 1
  free_lock "$1" "$t_run" || :
)

case $1 in
  watch)
    went=no
    while read_transaction "$2"; do
      if is_alive "$2"; then
        [ "$left" -le 2 ] || left=2
        sleep "$left"
      else
        put_back "$2" silence "$went"
        # On a disk that takes no change it must not be restarted again and again.
        case $? in
          0) continue ;;
          2) went=ok ;;
          3) went=failed ;;
        esac
        sleep 5
      fi
    done
    ;;
  boot)
    for journal in "$state"/*/transaction; do
      [ -e "$journal" ] || continue
      service=${journal%/transaction}
      service=${service##*/}
      # Whatever comes of it here, for which there is not for ever: the watch starts when this has ended.
      init_arm "$service" --no-block || :
      put_back_at_boot "$service"
    done
    ;;
esac
exit 0
