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

put_back() ( # SERVICE FOUND: in a shell of its own, for a failure ends it
  enter "$1"
  read_transaction "$1" || exit 0
  ! is_alive "$1" || exit 0        # it spoke up while this waited for its turn
  undo "$1"
  prove "$1"
  undone "$1" host "found=$2"
)

put_back_at_boot() ( # SERVICE
  enter "$1"
  read_transaction "$1" || exit 0
  undo_went=ok
  if [ "$t_before" = - ]; then
    [ "$t_start" = no ] || init_disown "$1"
  elif [ ! -d "/opt/$1/releases/$t_before" ]; then
    undo_went=failed
  else
    undo_files "$1"
    [ "$t_start" = no ] || init_start_at_boot "$1"
  fi
  undone "$1" host found=boot
)

case $1 in
  watch)
    while read_transaction "$2"; do
      if is_alive "$2"; then
        [ "$left" -le 2 ] || left=2
        sleep "$left"
      else
        put_back "$2" silence || sleep 5
      fi
    done
    ;;
  boot)
    for journal in "$state"/*/transaction; do
      [ -e "$journal" ] || continue
      service=${journal%/transaction}
      service=${service##*/}
      put_back_at_boot "$service" || init_arm "$service" --no-block    # it starts when this has ended
    done
    ;;
esac
exit 0
