#!/bin/sh
# unless-stopped VERB UNIT -- Docker's "restart: unless-stopped" for one systemd service.
#   pre   ExecStartPre=   a start is under way: forget "stopped", wait out the crash backoff
#   stop  ExecStop=       a stop begins: if it is a manual one, remember it before the process is signalled
#   post  ExecStopPost=   the run is over: manual stop, restart, shutdown or crash?
#   boot  gate ExecStart= start UNIT unless it was stopped by hand
#   down  gate ExecStop=  the machine goes down: what is up or restarting now must come back
u=$2 d=/var/lib/unless-stopped r=/run/unless-stopped
m=$d/$u                    # marker: exists = do not start at boot ("stopped": by hand; empty: tentative)
b=$r/$u                    # backoff: delay in ms, time of the exit in ms since boot

why() {                    # why does $u stop?  prints: down | stop | restart | none
  case $(systemctl is-system-running) in initializing|starting|running|degraded) ;; *) echo down; return;; esac   # stopping, maintenance (rescue), no answer
  systemctl list-jobs --full --plain --no-legend | { w=none; while read -r _ n t _; do case "$n $t" in
    "$u stop") w=stop;; "$u restart"|"$u try-restart") w=restart;; esac; done; echo $w; }
}
now() { read -r x _ </proc/uptime; echo $((${x%.*} * 1000 + 1${x#*.}0 - 1000)); }     # ms since boot
commit() { echo stopped >"$m" && sync "$m" "$d"; rm -f "$b"; }

case $1 in
pre)
  if [ -e "$m" ]; then rm -f "$m"; sync "$d"; fi
  [ -r "$b" ] || exit 0
  read -r w t <"$b"; w=$((w + t - $(now)))                     # what is left of the delay
  [ $w -le 0 ] || [ $w -gt 60000 ] || exec sleep "$((w / 1000)).$(printf %03d $((w % 1000)))" ;;
stop)
  mkdir -p "$d"; [ "$(why)" != stop ] || commit ;;
post)
  [ ! -s "$m" ] || exit 0                                      # already decided in "stop"
  mkdir -p "$d" "$r"; : >"$m"                                  # tentative: a stop in the 100 ms before the restart has no hook
  case $(why) in
  stop) commit ;;
  down|restart) rm -f "$m" "$b" ;;
  none)                                                        # crash or exit: next delay as Docker's restart manager does
    ExecMainStartTimestampMonotonic=0 ExecMainExitTimestampMonotonic=0
    eval "$(systemctl show -p ExecMainStartTimestampMonotonic -p ExecMainExitTimestampMonotonic "$u")"
    w=0; [ -r "$b" ] && read -r w t <"$b"
    if [ $((ExecMainExitTimestampMonotonic - ExecMainStartTimestampMonotonic)) -ge 10000000 ] || [ "$w" -eq 0 ]
    then w=100; else w=$((w * 2)); fi
    [ $w -le 60000 ] || w=60000
    t=$((ExecMainExitTimestampMonotonic / 1000)); [ $t -gt 0 ] || t=$(now)
    echo "$w" "$t" >"$b" ;;
  esac ;;
boot)
  [ -e "$m" ] || exec systemctl start --no-block "$u" ;;
down)
  [ -s "$m" ] || case $(systemctl show -P ActiveState "$u") in inactive|failed) ;; *) rm -f "$m";; esac ;;
*) exit 64 ;;
esac
exit 0
