# shellcheck shell=sh
# strangers.sh - whose a port is: a good answer is worth nothing if somebody else gave it.
listeners=/run/deployer-listeners    # a file a service: where it listens, with which process and socket, since the boot

still_listens() { # SERVICE PID WHERE:PORT FILES: whether the socket is open there that was found at the commit
  # The kernel walks through its table of all connections for /proc/net/tcp, which takes 8 ms on a machine with 24 GiB.
  read -r was_where was_pid was_socket 2>/dev/null <"$listeners/$1" || return 1
  [ "$was_pid $was_where" = "$2 $3" ] || return 1
  case $4 in *"${was_socket:-none}"*) ;; *) return 1 ;; esac
} 2>/dev/null

remember_listener() { # SERVICE PID WHERE:PORT: for still_listens; after `strangers`, with its sockets and files
  [ -n "${sockets:-}" ] || return 0
  for socket in $sockets; do
    case $files in *"$socket"*) ;; *) continue ;; esac
    (umask 077 && mkdir -p "$listeners" && say "$3 $2 $socket" >"$listeners/$1") 2>/dev/null || :
    return 0
  done
}

strangers() { # SERVICE PID WHERE:PORT [FILES]: sets who: who listens there and is no process of the service, as
  # `pid N (NAME)`; and sockets, which are those that listen, if it can be remembered that one is the service's
  # WHERE: an address as proc_net_tcp(5) has it; localhost, which is two; any, some address of this host.
  # -: nobody is asked for.  FILES: what `ls -l` says of the open files of PID, if it is known.
  # who is empty if the service listens, or if it cannot be told: what is in another namespace has no process here.
  who='' sockets=''
  [ "$3" != - ] || return 0
  # Local and remote address, state (0A: it listens), five more fields, the socket's inode.
  table=$(sed -nE "s/^ *[0-9]+: ([0-9A-F]+):$(printf %04X "${3##*:}") [0-9A-F]+:0000 0A( +[^ ]+){5} +([0-9]+) .*/\\1=socket:[\\3]/p" \
    /proc/net/tcp /proc/net/tcp6 2>/dev/null)
  [ -n "$table" ] || return 0
  files=${4:-$(open_files "$2")}
  set -- "$1" "$2" "${3%:*}"
  if [ "$3" != localhost ]; then
    listen_at "$3"
    whose "$1" "$2"
    return
  fi
  listen_at 0100007F
  whose "$1" "$2"
  first=$sockets
  [ -z "$who" ] || return 0
  listen_at 00000000000000000000000001000000
  whose "$1" "$2"
  [ "$first" = "$sockets" ] || sockets=''
}

listen_at() { # ADDRESS: sets sockets to those of $table that are asked there: on that very address, or else on all
  sockets='' any6=00000000000000000000000000000000
  case $1 in
    any) set -- "[!=]*" ;;
    ????????) set -- "$1" "0000000000000000FFFF0000$1" 00000000 $any6 ;;
    *) set -- "$1" $any6 ;;
  esac
  for at; do
    for entry in $table; do
      case $entry in
        ??????7F=* | 0000000000000000FFFF0000??????7F=* | 00000000000000000000000001000000=*)
          [ "$at" != "[!=]*" ] || continue ;;    # on loopback only, where nobody from afar is answered
      esac
      # shellcheck disable=SC2254  # one of them is a pattern
      case $entry in $at=*) sockets="$sockets ${entry#*=}" ;; esac
    done
    [ -z "$sockets" ] || return 0
  done
}

whose() { # SERVICE PID: sets who, if not all of $sockets are the service's; of PID $files are open
  # Several can listen at one address (SO_REUSEPORT of socket(7)), and the kernel asks any of them.
  rest=$sockets
  strike "$files"
  for folder in /proc/[0-9]*; do
    [ -n "$rest" ] || return 0
    theirs=$(open_files "${folder#/proc/}")
    has_one "$theirs" || continue
    if init_owns "$1" "$2" "${folder#/proc/}"; then strike "$theirs"; fi
  done
  # Of any address it is not known which of them is asked.
  if [ "$at" = "[!=]*" ] && [ "$rest" != "$sockets" ]; then return 0; fi
  for folder in /proc/[0-9]*; do
    [ -n "$rest" ] || return 0
    has_one "$(open_files "${folder#/proc/}")" || continue
    name='?'
    { read -r name <"$folder/comm"; } 2>/dev/null || :
    who="pid ${folder#/proc/} ($name)"
    return 0
  done
}

# shellcheck disable=SC2012  # these are names of proc(5), which are numbers
open_files() { ls -l "/proc/$1/fd" 2>/dev/null; } # PID

has_one() { # FILES: whether one of $rest is among them
  for socket in $rest; do
    case $1 in *"$socket"*) return 0 ;; esac
  done
  return 1
}

strike() { # FILES: what is among them from $rest
  left_over=''
  for socket in $rest; do
    case $1 in *"$socket"*) ;; *) left_over="$left_over $socket" ;; esac
  done
  rest=$left_over
}
