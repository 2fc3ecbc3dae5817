#!/bin/sh
# reset.sh - show, or remove, all that a host has of a service; runs on the host, as root.
#
#   reset.sh evidence|clear SERVICE
#   reset.sh own_point SERVICE [POINT]    where the host's own revert is to wait; nowhere without POINT
set -u
what=$1 service=$2 point=${3:-}
units=/etc/systemd/system

evidence() {
  echo "== unit"
  systemctl status --no-pager --full --lines 0 "$service.service" "deployer-revert@$service.service" deployer-revert.service
  echo "== files"
  ls -lA --time-style=full-iso "/opt/$service" "/opt/$service/releases" "$units"
  find "/var/lib/deployer/$service" -type f | while read -r file; do
    echo "== $file $(stat -c %y "$file")"
    tail -n 30 "$file"
  done
  echo "== mounts"
  grep -E ' /(opt|var)' /proc/self/mounts
  df -P /opt /var/lib
  echo "== processes"
  systemd-cgls --no-pager --full
  echo "== log"
  # Twenty answers a second say nothing that the outage does not.
  journalctl --no-pager --quiet --output short-precise --lines 5000 | grep -vF '"/health"' | tail -n 200
}

clear() {
  systemctl stop --quiet "deployer-revert@$service.service" "$service.service"
  systemctl disable --quiet "$service.service" "deployer-revert@$service.service"
  systemctl reset-failed --quiet "$service.service" "deployer-revert@$service.service"
  rm -rf "/opt/$service" "/var/lib/deployer/$service" "/var/lib/$service" "/var/lib/private/$service" \
    "$units/$service.service" "$units"/*.wants/*"$service.service" "/var/lib/unless-stopped/$service.service"
  systemctl daemon-reload
} 2>/dev/null

own_point() {
  drop_in=/run/systemd/system/deployer-revert@.service.d
  rm -rf "$drop_in"
  if [ -n "$point" ]; then
    mkdir -p "$drop_in"
    printf '[Service]\nEnvironment=DEPLOYER_FAULT_POINT=%s\n' "$point" >"$drop_in/fault.conf"
  fi
  systemctl daemon-reload
}

case $what in
  evidence) evidence ;;
  clear) clear ;;
  own_point) own_point ;;
esac 2>&1
exit 0
