#!/bin/sh
# reset.sh - what the benchmark does on a host between jobs, untimed; runs there, as root.
#
#   reset.sh clear SERVICE...    remove every trace that any contender left of these services
#   reset.sh linger USER         keep USER's systemd running, as if somebody were logged in: else it starts and
#                                stops with logins, and whoever comes first pays for it
set -u
what=$1
shift
units=/etc/systemd/system

clear() {
  for service; do
    set -- "unless-stopped@$service.service" "deployer-revert@$service.service" "$service.service"
    systemctl stop --quiet "$@"
    systemctl disable --quiet "$@"
    systemctl reset-failed --quiet "$@"
    rm -rf "/usr/local/bin/$service" "/usr/local/lib/$service" "/etc/$service.env" \
      "$units/$service.service" "$units"/*.wants/*"$service.service" \
      "/var/lib/deployer/$service" "/var/lib/unless-stopped/$service.service" "/var/lib/$service"
    if [ -e "/opt/$service" ]; then
      rm -rf "/opt/$service"
      clear_helpers
    fi
    userdel "$service"
  done
  systemctl daemon-reload
} 2>/dev/null

# What all services of the deployer share: a host's first deploy has to bring it, so that one that is timed does.
clear_helpers() {
  systemctl disable --quiet deployer-revert.service
  rm -f /usr/local/libexec/unless-stopped /usr/local/libexec/deployer-revert \
    "$units/unless-stopped@.service" "$units/deployer-revert@.service" "$units/deployer-revert.service" \
    "$units"/*.wants/deployer-revert.service /var/lib/deployer/helpers
  rmdir /usr/local/libexec /var/lib/unless-stopped /var/lib/deployer
}

case $what in
  clear) clear "$@" ;;
  linger) loginctl enable-linger "$1" ;;
esac
