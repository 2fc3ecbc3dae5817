#!/bin/bash
# Wait until http://127.0.0.1:PORT/health answers 200, up to 10 seconds; runs on the host.
#
#   health.sh PORT
for _ in {1..200}; do
  if exec 3<>"/dev/tcp/127.0.0.1/$1"; then
    printf 'GET /health HTTP/1.0\r\n\r\n' >&3
    read -r answer <&3
    if [[ $answer == *" 200 "* ]]; then exit 0; fi
  fi 2>/dev/null
  sleep 0.05
done
exit 1
