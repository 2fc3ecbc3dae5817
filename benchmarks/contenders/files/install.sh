#!/bin/sh
# Put binary, .env and unit of a service in place, and start it; runs on the host, in the folder that holds them.
#
#   install.sh SERVICE
set -eu
service=$1
id -u "$service" >/dev/null 2>&1 || useradd --system --shell /usr/sbin/nologin "$service"

# A new file and a rename: a running binary cannot be written.
place() {
  chown root:root "$1"
  chmod "$2" "$1"
  mv "$1" "$3.new"
  mv "$3.new" "$3"
}
place binary 755 "/usr/local/bin/$service"
place env 600 "/etc/$service.env"
place unit 644 "/etc/systemd/system/$service.service"
systemctl daemon-reload
systemctl enable --quiet "$service"
systemctl restart "$service"
