#!/bin/sh
# unless-stopped VERB UNIT [POLICY] -- Docker's restart policies for one systemd service.
#   pre   ExecStartPre=   a start is under way: forget "stopped", wait out the crash backoff
#   stop  ExecStop=       a stop begins: if it is a manual one, remember it before the process is signalled
#   post  ExecStopPost=   the run is over: manual stop, restart, shutdown or crash?  POLICY: Compose's restart:
#   boot  gate ExecStart= start UNIT unless it was stopped by hand
#   down  gate ExecStop=  the machine goes down: what is up or restarting now must come back
# Units of earlier deploys lend it the service's environment, which says nothing to root.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
unset POSIXLY_CORRECT IFS SYSTEMD_BUS_TIMEOUT SYSTEMD_LOG_LEVEL SYSTEMD_COLORS SYSTEMD_PAGER SYSTEMD_OFFLINE DBUS_SYSTEM_BUS_ADDRESS
export PATH LC_ALL
u=$2 d=/var/lib/unless-stopped r=/run/unless-stopped
m=$d/$u                    # marker: exists = do not start at boot ("stopped": by hand; empty: tentative)
b=$r/$u                    # backoff: delay in ms, time of the exit in ms since boot, NRestarts at the exit, retries so far

again() { i=$((i + 1)); [ $i -le 25 ] && sleep 0.2; }   # systemd hears nobody while it executes itself anew; i=0 before

why() {                    # why does $u stop?  prints: down | stop | restart | none
  i=0
  while :; do
    case $(systemctl is-system-running 2>/dev/null) in
    initializing|starting|running|degraded) break;;
    stopping|maintenance) echo down; return;;              # maintenance: rescue
    *) again || { echo down; return; };;
    esac
  done
  i=0
  until jobs=$(systemctl list-jobs --full --plain --no-legend 2>/dev/null); do again || break; done
  # A stop that is part of going down has a higher number than what it is part of: it may have been ordered since.
  printf '%s\n' "$jobs" | { w=none i=0 down=; while read -r j n t _; do case "$n $t" in
    "$u stop") w=stop i=$j;; "$u restart"|"$u try-restart") w=restart;;
    "shutdown.target start"|"rescue.target start"|"emergency.target start") down=$j;; esac; done
    [ "$i" -le "${down:-$i}" ] || w=down; echo $w; }
}
now() { read -r x _ </proc/uptime; echo $((${x%.*} * 1000 + 1${x#*.}0 - 1000)); }     # ms since boot
stays_down() {             # is there no automatic restart after this exit?  POLICY
  case $1 in
  no) ;;
  on-failure*)
    # As Restart=on-failure and RestartForceExitStatus= of the unit have it: a signal is a failure.
    [ "$Result $ExecMainCode" != "success 1" ] || return 0     # CLD_EXITED
    max=${1#on-failure} max=${max#:}
    [ -n "$max" ] && [ "$c" -ge "$max" ] || return 1
    # StartLimitBurst= would forget its count at a daemon-reload (systemd 252) and refuse starts by hand.  A stop
    # that is queued while this hook runs forbids the restart; the unit fails with the result of its process.
    # "fail": it must not take the place of a start or restart by hand that was queued meanwhile.
    i=0
    until x=$(systemctl stop --no-block --job-mode=fail "$u" 2>&1); do
      case $x in
      *"has 'start' job queued"*)                              # the one that failed, if systemd saw no execve(2) of it before
        systemctl stop --no-block "$u"; break ;;
      *" is destructive"*) break ;;
      esac
      again || break
    done ;;
  *) return 1 ;;
  esac
}
commit() { echo stopped >"$m" && sync "$m" "$d"; rm -f "$b"; }

case $1 in
pre)
  if [ -e "$m" ]; then rm -f "$m"; sync "$d"; fi
  [ -r "$b" ] || exit 0
  read -r w t n _ <"$b"; n=${n:-0}
  x=$(systemctl show --value -p NRestarts "$u")
  if [ "${x:-$((n + 1))}" -le "$n" ]; then                     # not systemd's restart: stopped before it, started by hand
    rm -f "$b"; systemctl reset-failed "$u"; exit 0
  fi
  w=$((w + t - $(now)))                                        # what is left of the delay
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
    ExecMainStartTimestampMonotonic=0 ExecMainExitTimestampMonotonic=0 ExecMainCode=0 NRestarts=0 Result=
    i=0
    until x=$(systemctl show -p ExecMainStartTimestampMonotonic -p ExecMainExitTimestampMonotonic -p ExecMainCode -p NRestarts -p Result "$u" 2>/dev/null) &&
      [ -n "$x" ]; do again || break; done
    eval "$x"
    w=0 n='' c=''; [ -r "$b" ] && read -r w t n c <"$b"
    # NRestarts counts a restart again that a daemon-reload finds queued (systemd 252): it says only that there was one.
    if [ "$NRestarts" -gt "${n:-$NRestarts}" ]; then c=$((${c:-$n} + 1)); else c=$NRestarts; fi
    if stays_down "${3:-always}"; then rm -f "$m" "$b"; exit 0; fi
    if [ $((ExecMainExitTimestampMonotonic - ExecMainStartTimestampMonotonic)) -ge 10000000 ] || [ "$w" -eq 0 ]
    then w=100; else w=$((w * 2)); fi
    [ $w -le 60000 ] || w=60000
    t=$((ExecMainExitTimestampMonotonic / 1000)); [ $t -gt 0 ] || t=$(now)
    echo "$w" "$t" "$NRestarts" "$c" >"$b" ;;
  esac ;;
boot)
  # Each start by hand starts the gate, too, and what is up already needs none.  The state is asked for before the
  # mark, for a stop is remembered before it is over; and a stop that waits is not replaced.
  case $(systemctl show --value -p ActiveState "$u") in
  ''|inactive|failed) [ -e "$m" ] || systemctl start --no-block --job-mode=fail "$u" ;;
  esac ;;
down)
  [ -s "$m" ] || case $(systemctl show --value -p ActiveState "$u") in inactive|failed) ;; *) rm -f "$m";; esac ;;
*) exit 64 ;;
esac
exit 0
