# shellcheck shell=sh
# prelude.sh - what every script that runs on a host begins with: replies, failures, durable files.
set -u

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

digest() { # FILE...: the digest of each, and its name; BLAKE2b, which is twice as fast, where coreutils are
  if command -v b2sum >/dev/null 2>&1; then b2sum "$@"; else sha256sum "$@"; fi
}

take() { # SIZE: copy exactly SIZE bytes of standard input to standard output
  [ "$1" = 0 ] || dd bs="$1" count=1 iflag=fullblock 2>/dev/null
}

place() { # MODE FILE: FILE becomes what standard input holds, whole or not at all; untouched if it is the same
  cat >"$2.new" || return 1
  if cmp -s "$2.new" "$2"; then
    rm -f "$2.new"
  else
    chmod "$1" "$2.new" && durable "$2.new" && mv -f "$2.new" "$2" && durable "${2%/*}"
  fi
}

make_current() { # SERVICE RELEASE: flip the link by rename, so that there always is one
  root=/opt/$1
  if [ -e "$root/current" ] && [ ! -L "$root/current" ]; then
    fail not_a_link "$root/current exists and is not a link; move it away"
  fi
  rm -f "$root/.current.new"
  ln -s "releases/$2" "$root/.current.new" || fail cannot_write "cannot make $root/.current.new"
  mv -fT "$root/.current.new" "$root/current" || fail cannot_write "cannot set $root/current"
  durable "$root"
}

since() { # SERVICE: when its current release became that, in seconds since 1970
  stat -c %Y "/opt/$1/current" 2>/dev/null || say 0
}
