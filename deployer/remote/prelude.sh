# shellcheck shell=sh
# prelude.sh - what every script that runs on a host begins with: replies, failures, durable files.
set -u
umask 022
# A host may set these for everybody: options then may not follow names, ls and stat quote otherwise, df counts
# otherwise, and systemctl speaks in colours, tells what it does, or takes the host for one that does not run.
unset POSIXLY_CORRECT CDPATH TMPDIR GREP_OPTIONS GZIP QUOTING_STYLE TIME_STYLE
unset BLOCK_SIZE BLOCKSIZE LS_BLOCK_SIZE DF_BLOCK_SIZE
unset SYSTEMD_COLORS SYSTEMD_URLIFY SYSTEMD_PAGER SYSTEMD_OFFLINE SYSTEMD_IGNORE_CHROOT SYSTEMD_UNIT_PATH
unset SYSTEMD_BUS_TIMEOUT SYSTEMD_LOG_LEVEL SYSTEMD_LOG_TARGET SYSTEMD_LOG_COLOR SYSTEMD_LOG_TIME SYSTEMD_LOG_LOCATION

say() { printf '%s\n' "$*"; }

fail() { # CAUSE MESSAGE...: the reply the controller turns into an error; ends the script
  printf 'failed %s\n' "$*"
  exit 1
}

try() { # CAUSE MESSAGE COMMAND...: run COMMAND, or fail; what it printed on stderr becomes the detail
  cause=$1 message=$2
  shift 2
  "$@" >/dev/null || fail "$cause" "$message"
}

point() { # NAME: where the fault tests stop a script; nothing happens anywhere else
  [ "${DEPLOYER_FAULT_POINT:-}" = "$1" ] || return 0
  say "$1" >/run/deployer-fault
  waited=0
  while [ -e /run/deployer-fault ] && [ "$waited" -lt 6000 ]; do sleep 0.1; waited=$((waited + 1)); done
}

# coreutils syncs single files and folders; a sync without that ability syncs everything.
durable() { sync "$@" 2>/dev/null || sync; }

digest() { # FILE...: the digest of each, and its name; BLAKE2b, which is twice as fast, where coreutils are.  In $(...)
  ! command -v b2sum >/dev/null 2>&1 || exec b2sum "$@"
  exec sha256sum "$@"
}

put() { # FILE TEXT: without a fork, and without an argv that anybody could read
  printf '%s' "$2" >"$1"
}

replace() { # FILE: by FILE.new, whole or not at all
  durable "$1.new" && mv -fT "$1.new" "$1" && durable "${1%/*}"
}

same() { # FILE FILE: whether both are files and say the same; to read a pipe would take for ever
  [ -f "$1" ] && [ -f "$2" ] && cmp -s "$1" "$2"
}

make_way() { # PATH...: what stands where a file is to be, and is none, is moved to PATH.aside
  for at; do
    if [ -f "$at" ] && [ ! -L "$at" ]; then continue; fi
    { [ -e "$at" ] || [ -L "$at" ]; } || continue
    rm -rf "$at.aside" && mv -fT "$at" "$at.aside" || return 1
  done
}

make_current() { # SERVICE RELEASE: flip the link by rename, so that there always is one
  root=/opt/$1
  if [ -e "$root/current" ] && [ ! -L "$root/current" ]; then
    fail not_a_link "$root/current exists and is not a link; move it away"
  fi
  ln -sfn "releases/$2" "$root/.current.new" || fail cannot_write "cannot make $root/.current.new"
  mv -fT "$root/.current.new" "$root/current" || fail cannot_write "cannot set $root/current"
  durable "$root"
}

current_of() { # SERVICE: the release that is current, as its link says
  at=$(readlink "/opt/$1/current") && say "${at##*/}"
}

release_of() { # SERVICE PID: the release that a process was started from, by its executable or else its folder;
  # deleted, if that was taken away since
  for link in exe cwd; do
    at=$(readlink "/proc/$2/$link" 2>/dev/null) || continue
    case $at in
      */"$1/releases/"*" (deleted)") say deleted; return ;;    # whatever lies there now, it runs something else
      */"$1/releases/"*) at=${at##*/"$1/releases/"} && say "${at%%/*}" && return ;;
    esac
  done
}

since() { # SERVICE: when its current release became that, in seconds since 1970
  stat -c %Y "/opt/$1/current" 2>/dev/null || say 0
}
