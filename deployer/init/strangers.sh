# shellcheck shell=sh
# strangers.sh - whose a port is: a good answer is worth nothing if somebody else gave it.
listeners=/run/deployer-listeners    # a file a service: where it listens, with which process and socket, since the boot

still_listens() { # SERVICE PID WHERE:PORT FILES: whether the socket is open there that was found at the commit
  # The kernel walks through its table of all connections for /proc/net/tcp, which takes 8 ms on a machine with 24 GiB.
  read -r was_where was_pid was_socket 2>/dev/null <"$listeners/$1" || return 1
  [ "$was_pid $was_where" = "$2 $3" ] || return 1
  case $4 in *"${was_socket:-none}"*) ;; *) return 1 ;; esac
} 2>/dev/null

remember_listener() { # SERVICE PID WHERE:PORT: for still_listens; after `strangers`, not in a shell of its own
  [ -n "${sockets:-}" ] && files=$(open_files "$2") || return 0
  for socket in $sockets; do
    case $files in *"$socket"*) ;; *) continue ;; esac
    (umask 077 && mkdir -p "$listeners" && say "$3 $2 $socket" >"$listeners/$1") 2>/dev/null || :
    return 0
  done
}

strangers() { # SERVICE PID WHERE:PORT [FILES]: sets who: who listens there and is no process of the service, as
  # `pid N (NAME)`; and sockets, which are those that listen
  # WHERE: v4 or v6, loopback; loopback, either; any, an address of this host.  -: nobody is asked for.
  # FILES: what `ls -l` says of the open files of PID, if it is known.
  # It is empty if the service listens, or if it cannot be told: what is in another namespace has no process here.
  who='' sockets='' any='0{8}|0{32}'
  case $3 in
    v4:*) at="$any|0100007F|0{16}FFFF00000100007F" ;;
    v6:*) at="$any|0{24}01000000" ;;
    loopback:*) at="$any|0100007F|0{16}FFFF00000100007F|0{24}01000000" ;;
    any:*) at='[0-9A-F]+' ;;
    *) return 0 ;;
  esac
  # proc_net_tcp(5): local and remote address, state (0A: it listens), five more fields, the socket's inode.
  sockets=$(sed -nE "s/^ *[0-9]+: ($at):$(printf %04X "${3#*:}") [0-9A-F]+:0000 0A( +[^ ]+){5} +([0-9]+) .*/socket:[\\3]/p" \
    /proc/net/tcp /proc/net/tcp6 2>/dev/null)
  [ -n "$sockets" ] || return 0
  ! has_one "${4:-$(open_files "$2")}" || return 0
  other=''
  for folder in /proc/[0-9]*; do
    has_one "$(open_files "${folder#/proc/}")" || continue
    ! init_owns "$1" "${folder#/proc/}" || return 0
    other=${other:-${folder#/proc/}}
  done
  [ -n "$other" ] || return 0
  name='?'
  { read -r name <"/proc/$other/comm"; } 2>/dev/null || :
  who="pid $other ($name)"
}

# shellcheck disable=SC2012  # these are names of proc(5), which are numbers
open_files() { ls -l "/proc/$1/fd" 2>/dev/null; } # PID

has_one() { # FILES: whether one of $sockets is among them
  for socket in $sockets; do
    case $1 in *"$socket"*) return 0 ;; esac
  done
  return 1
}
