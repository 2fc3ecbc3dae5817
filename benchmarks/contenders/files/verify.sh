#!/bin/bash
# Fail unless a service is as it should be and answers well; runs on the host.
#
#   verify.sh SERVICE PORT DIGESTS    DIGESTS are lines of sha256sum
set -eu
service=$1 port=$2 digests=$3
sha256sum --check --status <<<"$digests"
systemctl is-active --quiet "$service"
exec 3<>"/dev/tcp/127.0.0.1/$port"
printf 'GET /health HTTP/1.0\r\n\r\n' >&3
read -r answer <&3
[[ $answer == *" 200 "* ]]
