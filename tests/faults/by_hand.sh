#!/bin/sh
# by_hand.sh - what somebody does on a host behind the deployer's back; runs there, as root.
#
#   by_hand.sh stop|start|restart|edit|mask|delete|wipe|unreadable SERVICE
#   by_hand.sh unedit SERVICE            remove the drop-in of edit
#   by_hand.sh edited SERVICE            whether that is still there, and systemd has loaded it
#   by_hand.sh deaf SECONDS | hearing    for so long no systemctl of the PATH reaches systemd
#   by_hand.sh hold SERVICE SECONDS      as the service's own user: hold every lock that it can get
#
# No order fails: what systemd says to it is its own affair.
set -u
PATH=/usr/sbin:/usr/bin:/sbin:/bin
what=$1 service=${2:-}
units=/etc/systemd/system
unit=$units/$service.service
drop_in=$unit.d/by-hand.conf
wrapper=/usr/local/sbin/systemctl

case $what in
  stop | start | restart) systemctl "$what" "$service.service" || : ;;
  edit)
    mkdir -p "${drop_in%/*}"
    printf '[Service]\nNice=1\n' >"$drop_in"
    systemctl daemon-reload || :
    ;;
  unedit)
    rm -f "$drop_in"
    rmdir "${drop_in%/*}" 2>/dev/null || :
    systemctl daemon-reload || :
    ;;
  edited)
    [ -f "$drop_in" ] && systemctl show -p DropInPaths "$service.service" | grep -qF "$drop_in"
    exit
    ;;
  mask)
    ln -sfn /dev/null "$unit"
    systemctl daemon-reload || :
    ;;
  delete)
    rm -f "$unit"
    systemctl daemon-reload || :
    ;;
  wipe) rm -rf "/opt/$service" ;;
  unreadable)
    # A file in its place, not through a link that may stand there.
    rm -f "$unit"
    printf '[Service\nExecStart=\n' >"$unit"
    systemctl daemon-reload || :
    ;;
  deaf)
    read -r up _ </proc/uptime
    cat >"$wrapper" <<END
#!/bin/sh
read -r up _ </proc/uptime
[ "\${up%.*}" -lt $((${up%.*} + $2)) ] || exec /usr/bin/systemctl "\$@"
echo "Failed to connect to bus: No such file or directory" >&2
exit 1
END
    chmod 755 "$wrapper"
    ;;
  hearing) rm -f "$wrapper" ;;
  hold)
    user=$(systemctl show -p User --value "$service.service")
    # shellcheck disable=SC2016  # the names in it are Perl's
    exec setpriv --reuid "${user:-nobody}" --regid "$(id -g "${user:-nobody}")" --init-groups perl -e '
      use Fcntl qw(:flock O_RDONLY O_NONBLOCK);
      my ($service, $seconds) = @ARGV;
      my @held;
      sub hold {
        my ($path) = @_;
        my $file;
        # What a pipe is for comes from its other end, for which nobody here waits.
        if ((open($file, "+<", $path) or sysopen($file, $path, O_RDONLY | O_NONBLOCK)) and flock($file, LOCK_EX | LOCK_NB)) {
          push @held, $file;
        }
        return if -l $path or !opendir(my $folder, $path);
        hold("$path/$_") for grep { !/^\.\.?$/ } readdir $folder;
      }
      hold($_) for "/var/lib/deployer", "/var/lib/unless-stopped", "/usr/local/libexec", "/opt/$service",
        "/etc/systemd/system", "/run/lock", "/var/lib/$service";
      $| = 1;
      print scalar(@held), "\n";
      sleep $seconds;
    ' "$service" "$3"
    ;;
esac
exit 0
