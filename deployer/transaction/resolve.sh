# shellcheck shell=sh
# resolve.sh - finish what a dead run left open: put back what its transactions found.
#
#   resolve.sh BY [SERVICE BREAK]...   BREAK: a run that is known to be dead although its lease lasts, or -
resolver=$1
shift
resolve() ( # SERVICE BREAK
  enter "$1"
  read_transaction "$1" || { say "gone $1"; exit 0; }
  if [ "$t_run" != "$2" ] && is_alive "$1"; then fail held "$(show_lock)"; fi
  undo "$1"
  undone "$1" "$resolver" found=unfinished || fail cannot_write "cannot close the transaction of $1"
  free_lock "$1" "$t_run"
  say "resolved $1 $t_run $t_by $t_after $t_before $undo_went"
)
while [ $# -gt 0 ]; do
  resolve "$1" "$2" || exit 1
  shift 2
done
