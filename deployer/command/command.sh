# shellcheck shell=sh
# command.sh COMMAND... - run the user's command; its output and exit status are the reply.
cd / && exec "$@" 2>&1 </dev/null
