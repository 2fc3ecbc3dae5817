# shellcheck shell=sh
# releases.sh - the releases of these services on this host; changes nothing.
#
#   releases.sh SERVICE...
[ "$(id -u)" = 0 ] || fail not_root "this needs root: set become: true, or connect as root"
for service; do
  root=/opt/$service
  say "= service $service"
  current=$(readlink "$root/current")
  for about in "$root"/releases/*/release.json; do
    [ -f "$about" ] || continue
    release=${about%/release.json}
    release=${release##*/}
    state=good
    mark=/var/lib/deployer/$service/unproven/$release
    if [ -f "$mark" ]; then
      read -r state <"$mark"
      state=${state:-failed}
    fi
      if [ "$current" = "releases/$release" ]; then what=current; else what=other; fi
    say "= release $service $release $state $what"
    cat "$about" 2>/dev/null
    say ""
  done
done
exit 0
