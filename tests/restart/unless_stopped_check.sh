#!/bin/bash
# unless_stopped_check.sh - black-box check: does a deployed systemd service behave like Docker's "restart: unless-stopped"?
# It needs only ssh (root) and systemctl on the host.  It crashes, stops and reboots: not for a production host.
#
#   -s SSHCMD      how to reach the host, e.g. 'ssh -i key root@10.0.0.3'           (required)
#   -u UNIT        the service                                                      (required)
#   --off CMD --on CMD   local commands: cut the power / power on (without them the power-cut cases are SKIPped)
#   --reboot CMD   remote command for a clean reboot (default: systemctl reboot)
#   --exit0 CMD / --exitn CMD   remote, $P=MainPID: make it exit 0 / non-zero (default exit0: kill -TERM; exitn: SKIP)
#   --hup CMD      remote, $P: a signal the service survives          (default: SKIP)
#   --oom CMD      LOCAL command that gets the main process OOM-killed (default: SKIP)
#   --noterm CMD / --term CMD   remote: make the service ignore / obey SIGTERM (default: SKIP)
#   --only "ids" --skip "ids"   --cap (also walk the backoff up to its 60 s cap: +5 min)   --wait S (boot wait, default 150)
# Output: one line per case: ID PASS|FAIL|SKIP|INFO title -- detail.  Exit status: number of FAILs.
# Dense, and its one-line functions are called by a computed name.
# shellcheck disable=SC1007,SC2015,SC2016,SC2086,SC2119,SC2120,SC2317
set -u
SSH= U= OFF= ON= REBOOT='systemctl reboot' EXIT0='kill -TERM $P' EXITN= HUP= OOM= NOTERM= TERM_= ONLY= SKIP= CAP=0 WAIT=150
while [ $# -gt 0 ]; do case $1 in
 -s) SSH=$2; shift;; -u) U=$2; shift;; --off) OFF=$2; shift;; --on) ON=$2; shift;; --reboot) REBOOT=$2; shift;;
 --exit0) EXIT0=$2; shift;; --exitn) EXITN=$2; shift;; --hup) HUP=$2; shift;; --oom) OOM=$2; shift;;
 --noterm) NOTERM=$2; shift;; --term) TERM_=$2; shift;; --only) ONLY=" $2 "; shift;; --skip) SKIP=" $2 "; shift;;
 --cap) CAP=1;; --wait) WAIT=$2; shift;; *) echo "unknown option $1" >&2; exit 64;; esac; shift; done
[ -n "$SSH" ] && [ -n "$U" ] || { sed -n 2,18p "$0"; exit 64; }
fails=0; BOOT=
# remote prelude -------------------------------------------------------------------------------------------
PRE='U='$U'
p() { systemctl show -P "$1" $U; }
st() { eval "$(systemctl show -p ActiveState -p SubState -p MainPID -p NRestarts $U)"; }
up() { n=0; while :; do st; [ "$ActiveState" = active ] && [ "$MainPID" != 0 ] && [ "$MainPID" != "${1:-0}" ] && return 0; n=$((n+1)); [ $n -gt "${2:-150}" ] && return 1; sleep .05; done; }
say() { st; echo "$ActiveState/$SubState NRestarts=$NRestarts"; }
crash() { # crash COUNT [MAXWAIT*.03s]: kill the main process as soon as it is up; prints the delays (ms) between exit and start
  i=0; last=0; e=; while [ $i -lt $1 ]; do n=0
   while :; do st; [ "$ActiveState" = active ] && [ "$MainPID" != 0 ] && [ "$MainPID" != $last ] && break
     n=$((n+1)); [ $n -gt ${2:-700} ] && { echo "gave-up:$ActiveState/$SubState"; return 1; }; sleep .03; done
   [ -n "$e" ] && printf "%s " $((($(p ExecMainStartTimestampMonotonic)-e)/1000))
   last=$MainPID; kill -9 $last
   while :; do x=$(p ExecMainExitTimestampMonotonic); [ "$x" != 0 ] && [ "$x" != "${e:-0}" ] && { s=$(p ExecMainStartTimestampMonotonic); [ $x -ge $s ] && break; }; sleep .01; done; e=$x
   i=$((i+1)); done; }
'
R() { printf '%s\n' "$PRE" "$1" | timeout 600 $SSH sh -s 2>/dev/null; }
want() { case $ONLY in '') ;; *" $1 "*) ;; *) return 1;; esac; case $SKIP in *" $1 "*) return 1;; esac; return 0; }
res() { printf '%-4s %-4s %s -- %s\n' "$1" "$2" "$3" "$4"; [ "$2" = FAIL ] && fails=$((fails+1)); return 0; }
ok() { if [ "$3" = yes ]; then res "$1" PASS "$2" "$4"; else res "$1" FAIL "$2" "$4"; fi; }
bootid() { timeout 8 $SSH cat /proc/sys/kernel/random/boot_id </dev/null 2>/dev/null; }
booted() { local t=0 n; while :; do n=$(bootid); [ -n "$n" ] && [ "$n" != "$BOOT" ] && break; t=$((t+1)); [ $t -gt $((WAIT*2)) ] && { echo "!! host did not come back" >&2; exit 99; }; sleep .5; done
 R 'n=0; until systemctl is-active -q multi-user.target || [ $n -gt 300 ]; do sleep .1; n=$((n+1)); done; sleep 1.5'; }
reboot_() { BOOT=$(bootid); R "${1:-$REBOOT}" >/dev/null; booted; }
cut_() { BOOT=$(bootid); eval "$OFF" >/dev/null 2>&1; sleep .5; eval "$ON" >/dev/null 2>&1; booted; }
fresh() { R 'systemctl reset-failed $U; systemctl restart $U; up 0 && { sleep .3; st; [ $ActiveState = active ]; } && echo ok' | grep -q ok || echo "!! $U does not start" >&2; }
is_up() { R 'up 0 '${1:-120}' && sleep .4 && st && [ "$ActiveState" = active ] && echo yes' | grep -q yes && echo yes || echo no; }
is_down() { R 'd=yes; for k in 1 2 3 4 5 6; do st; case $ActiveState in inactive|failed) ;; *) d=no;; esac; [ $MainPID = 0 ] || d=no; sleep .4; done; echo $d' | tail -n 1; }
deep='crash 6 >/dev/null; n=0; while :; do st; [ "$ActiveState" = activating ] && break; n=$((n+1)); [ $n -gt 100 ] && break; sleep .01; done; sleep .5; st; '  # six quick crashes, then .5 s into the next delay

run() { # ID TITLE : one case; body in function c_ID
 want "$1" || return 0; "c_$1" "$1" "$2"; }
respawn() { fresh; local o; o=$(R 'st; P=$MainPID; '"$3"'; up $P 160 && echo ok; say' | tr '\n' ' '); case $o in ok*) ok "$1" "$2" yes "$o";; *) ok "$1" "$2" no "$o";; esac; }
c_01() { respawn "$1" "$2" "$EXIT0"; }
c_02() { [ -n "$EXITN" ] && respawn "$1" "$2" "$EXITN" || res "$1" SKIP "$2" "no --exitn"; }
c_03() { respawn "$1" "$2" 'kill -KILL $P'; }
c_04() { respawn "$1" "$2" 'kill -ABRT $P'; }
c_05() { [ -n "$OOM" ] || { res "$1" SKIP "$2" "no --oom"; return; }; fresh; local o p0; p0=$(R 'p MainPID'); eval "$OOM" >/dev/null 2>&1; o=$(R "up $p0 160 && echo ok; say" | tr '\n' ' '); case $o in ok*) ok "$1" "$2" yes "$o";; *) ok "$1" "$2" no "$o";; esac; }
c_06() { fresh; local o; o=$(R 'crash 8; up $last 600 && echo up; say' | tr '\n' ' '); case $o in *gave-up*) ok "$1" "$2" no "$o";; *up*) ok "$1" "$2" yes "$o";; *) ok "$1" "$2" no "$o";; esac
 want 07 && case $o in *gave-up*) ok 07 "backoff: 100 ms, doubling" no "gave up";; *) ok 07 "backoff: 100 ms, doubling" "$(echo "$o" | awk '{w=100;r="yes";for(i=1;i<=7;i++){if($i<w*0.8||$i>w*1.25+700)r="no";w*=2};print r}')" "delays ms: ${o%%up*}";; esac
 want 08 && { o=$(R 'st; echo $NRestarts; systemctl restart $U; up 0; st; echo $NRestarts' | tr '\n' ' '); ok 08 "restart count: +1 per automatic restart, 0 after a manual one" "$([ "$o" = "8 0 " ] && echo yes || echo no)" "after 8 crashes, after restart: $o"; }; }
c_09() { fresh; local o; o=$(R 'crash 6 >/dev/null; up $last 300; sleep 10.3; crash 2' | tr '\n' ' '); ok "$1" "$2" "$(echo "$o" | awk '{print ($1>=80 && $1<=600)?"yes":"no"}')" "6 quick crashes, 10 s up, crash: delay ms $o"; }
c_10() { fresh; R 'systemctl stop $U'; ok "$1" "$2" "$(is_down)" "$(R say)"
 want 11 && { reboot_; ok 11 "stopped by hand, reboot: stays down" "$(is_down)" "$(R say)"; }
 want 12 && { reboot_; ok 12 "stopped by hand, second reboot: stays down" "$(is_down)" "$(R say)"; }
 want 13 && { if [ -n "$OFF" ]; then cut_; ok 13 "stopped by hand earlier, power cut: stays down" "$(is_down)" "$(R say)"; else res 13 SKIP "power cut" "no --off"; fi; }
 want 14 && { local o; o=$(R 'systemctl start $U; up 0 && kill -9 $MainPID; up $MainPID 160 && echo ok; say' | tr '\n' ' '); case $o in ok*) o2=yes;; *) o2=no;; esac; ok 14 "start after stop: runs, and restarts again after a crash" $o2 "$o"; }
 want 15 && { reboot_; ok 15 "stop, start, reboot: comes back" "$(is_up)" "$(R say)"; }; }
c_16() { [ -n "$OFF" ] || { res "$1" SKIP "$2" "no --off"; return; }; fresh; R 'systemctl stop $U; sync'; cut_; ok "$1" "$2" "$(is_down)" "$(R say)"
 want 17 && { R 'systemctl start $U; sync'; cut_; ok 17 "stop, start, power cut: comes back" "$(is_up)" "$(R say)"; }; }
c_18() { fresh; reboot_; ok "$1" "$2" "$(is_up)" "$(R say)"; }
c_19() { [ -n "$OFF" ] || { res "$1" SKIP "$2" "no --off"; return; }; fresh; cut_; ok "$1" "$2" "$(is_up)" "$(R say)"; }
c_20() { fresh; local o; o=$(R "$deep"'echo $SubState; systemctl stop $U'); ok "$1" "$2" "$(is_down)" "state before stop: $o; $(R say)"
 want 21 && { reboot_; ok 21 "stopped by hand in backoff, reboot: stays down" "$(is_down)" "$(R say)"; }; }
c_22() { [ -n "$OFF" ] || { res "$1" SKIP "$2" "no --off"; return; }; fresh; local o; o=$(R "$deep"'echo $SubState; systemctl stop $U; sync'); cut_; ok "$1" "$2" "$(is_down)" "state before stop: $o; $(R say)"; }
c_23() { fresh; local o; o=$(R "$deep"'echo $SubState'); reboot_; ok "$1" "$2" "$(is_up)" "state before reboot: $o; $(R say)"; }
c_24() { [ -n "$OFF" ] || { res "$1" SKIP "$2" "no --off"; return; }; fresh; local o; o=$(R "$deep"'echo $SubState; sync'); cut_; ok "$1" "$2" "$(is_up)" "state before power cut: $o; $(R say)"; }
c_25() { fresh; R 'systemctl restart $U'; reboot_; ok "$1" "$2" "$(is_up)" "$(R say)"; }
c_26() { fresh; local o; o=$(R 'systemctl stop $U; systemctl restart $U; up 0 && echo yes'); reboot_; ok "$1" "$2" "$([ "$o" = yes ] && is_up || echo no)" "$(R say)"; }
c_27() { fresh; local o; o=$(R "$deep"'echo $SubState; a=$(date +%s%3N); systemctl restart $U; up 0; b=$(date +%s%3N); echo $((b-a))' | tr '\n' ' '); ok "$1" "$2" "$(echo "$o" | awk '{print $NF<1500?"yes":"no"}')" "state, ms until up: $o"; }
c_28() { [ -n "$NOTERM" ] || { res "$1" SKIP "$2" "no --noterm"; return; }; fresh; local o; o=$(R "$NOTERM"'; a=$(date +%s); systemctl stop $U; b=$(date +%s); '"$TERM_"'; echo $((b-a))'); local d; d=$(is_down); reboot_; ok "$1" "$2" "$([ $d = yes ] && is_down || echo no)" "stop took ${o}s; $(R say)"; }
c_29() { [ -n "$NOTERM" ] && [ -n "$OFF" ] || { res "$1" SKIP "$2" "needs --noterm --off"; return; }; fresh; R "$NOTERM"'; systemctl stop --no-block $U; sleep 1.5; sync'; cut_; R "$TERM_"; ok "$1" "$2" "$(is_down)" "$(R say)"; }
c_30() { [ -n "$NOTERM" ] || { res "$1" SKIP "$2" "needs --noterm"; return; }; fresh; R "$NOTERM"'; systemctl stop --no-block $U; sleep 1.5'; reboot_; R "$TERM_"; ok "$1" "$2" "$(is_down)" "$(R say)"; }
c_31() { fresh; reboot_ 'systemctl stop $U; '"$REBOOT"; ok "$1" "$2" "$(is_down)" "$(R say)"; }
c_32() { fresh; R 'st; kill -9 $MainPID; systemctl stop $U; sync'; local d; d=$(is_down); if [ -n "$OFF" ]; then cut_; else reboot_; fi; ok "$1" "$2" "$([ $d = yes ] && is_down || echo no)" "$(R say)"; }
c_33() { fresh; reboot_ 'st; kill -9 $MainPID; '"$REBOOT"; ok "$1" "$2" "$(is_up)" "$(R say)"; }
c_34() { fresh; R 'crash 4 >/dev/null'; reboot_ 'st; '"$REBOOT"; ok "$1" "$2" "$(is_up)" "$(R say)"; }
c_35() { fresh; reboot_ 'systemctl reboot --force'; ok "$1" "$2" "$(is_up)" "$(R say)"; }
c_36() { fresh; R 'systemctl stop $U; systemctl daemon-reload; systemctl daemon-reexec; sleep 1; systemctl daemon-reload'; local d; d=$(is_down); reboot_; ok "$1" "$2" "$([ $d = yes ] && is_down || echo no)" "$(R say)"; }
c_37() { fresh; local o; o=$(R 'st; P=$MainPID; systemctl daemon-reload; systemctl daemon-reexec; sleep 1; st; [ $MainPID = $P ] && echo same; kill -9 $P; up $P 160 && echo ok'| tr '\n' ' '); reboot_; ok "$1" "$2" "$([ "$o" = "same ok " ] && is_up || echo no)" "$o$(R say)"; }
c_38() { fresh; local o; o=$(R "$deep"'echo $SubState; systemctl daemon-reload; systemctl daemon-reexec; up 0 300 && echo ok; P=$MainPID; crash 4 >/dev/null; sleep .2; st; systemctl daemon-reexec; systemctl stop $U' | tr '\n' ' '); local d; d=$(is_down); reboot_; case $o in *ok*) ;; *) d=no;; esac; ok "$1" "$2" "$([ $d = yes ] && is_down || echo no)" "$o$(R say)"; }
c_39() { fresh; R 'systemctl stop $U; systemctl start multi-user.target; sleep 1'; ok "$1" "$2" "$(is_down)" "$(R say)"; }
c_40() { [ -n "$HUP" ] || { res "$1" SKIP "$2" "no --hup"; return; }; fresh; local o; o=$(R 'st; P=$MainPID; '"$HUP"'; sleep .3; st; [ $MainPID = $P ] && echo same; kill -9 $P; up $P 160 && echo ok' | tr '\n' ' '); reboot_; ok "$1" "$2" "$([ "$o" = "same ok " ] && is_up || echo no)" "$o$(R say)"; }
c_41() { fresh; local o; o=$(R 'st; P=$MainPID; systemctl kill -s KILL $U; up $P 100 && echo restarted; say' | tr '\n' ' '); res "$1" INFO "$2" "$o"; }
c_42() { fresh; local o; o=$(R 'F=$(p FragmentPath); touch $F; systemctl daemon-reload; st; P=$MainPID; systemctl restart $U; up $P && echo ok' | tr '\n' ' '); reboot_; ok "$1" "$2" "$([ "$o" = "ok " ] && is_up || echo no)" "$o$(R say)"; }
c_43() { # stop at random moments 0..250 ms after a crash: always down, and remembered over a power cut / reboot (5 rounds checked by marker-free reboot)
 local i bad=0 t o=; for i in 1 2 3 4; do fresh; t=$((i*60-30)); R 'crash 1 >/dev/null; sleep .'"$(printf %03d $t)"'; systemctl stop $U; sync'; [ "$(is_down)" = yes ] || { bad=1; o="$o ${t}ms:not-down"; }; if [ -n "$OFF" ]; then cut_; else reboot_; fi; [ "$(is_down)" = yes ] || { bad=1; o="$o ${t}ms:came-back"; }; done; ok "$1" "$2" "$([ $bad = 0 ] && echo yes || echo no)" "${o:-30 90 150 210 ms}"; }
c_44() { [ $CAP = 1 ] || { res "$1" SKIP "$2" "no --cap"; return; }; fresh; local o; o=$(R 'crash 13 2400' | tr '\n' ' '); ok "$1" "$2" "$(echo "$o" | awk '{r=(NF==12)?"yes":"no"; for(i=NF-1;i<=NF;i++) if($i<45000||$i>66000) r="no"; print r}')" "delays ms: $o"; }

echo "# $U via: $SSH"; R 'systemctl --version | head -n 1; systemctl is-enabled $U'
run 01 "exit 0: restarted"
run 02 "exit non-zero: restarted"
run 03 "SIGKILL from outside: restarted"
run 04 "SIGABRT (core dump): restarted"
run 05 "OOM kill: restarted"
run 06 "crash loop: never gives up"
run 09 "backoff resets after 10 s up"
run 10 "stopped by hand: stays down"
run 16 "stop, power cut at once: stays down"
run 18 "running, reboot: comes back"
run 19 "running, power cut: comes back"
run 20 "stopped by hand in backoff: stays down"
run 22 "stopped by hand in backoff, power cut: stays down"
run 23 "in backoff, reboot: comes back"
run 24 "in backoff, power cut: comes back"
run 25 "systemctl restart, reboot: comes back"
run 26 "systemctl restart of a stopped service: runs; reboot: comes back"
run 27 "systemctl restart in backoff: up at once"
run 28 "stop of a service that ignores SIGTERM: down (10 s), reboot: stays down"
run 29 "power cut in the middle of a slow manual stop: stays down"
run 30 "reboot in the middle of a slow manual stop: stays down"
run 31 "stop; reboot in one line: stays down"
run 32 "kill -9; stop in one line, then power cut: stays down"
run 33 "kill -9; reboot in one line: comes back"
run 34 "crash loop, then reboot at once: comes back"
run 35 "reboot --force (no stop jobs): comes back"
run 36 "stopped, daemon-reload/-reexec, reboot: stays down"
run 37 "running, daemon-reload/-reexec, crash, reboot: comes back"
run 38 "daemon-reexec in backoff: retries on; stop still remembered"
run 39 "start multi-user.target: does not resurrect a stopped service"
run 40 "harmless signal: still restarted after crash and reboot"
run 41 "systemctl kill -s KILL (docker kill would count as a stop)"
run 42 "unit file replaced, daemon-reload, restart; reboot: comes back"
run 43 "stop 30/90/150/210 ms after a crash, power cut: stays down"
run 44 "backoff cap about 60 s, never gives up"
fresh; echo "# $fails FAIL"; exit $fails
