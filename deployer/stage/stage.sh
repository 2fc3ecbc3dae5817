# shellcheck shell=sh
# stage.sh - take the lock, and put a release on the disk, verified and durable, where nothing uses it yet.
#
#   stage.sh RUN BY PID FROM LEASE SERVICE SEAL BREAK RELEASE USER BINARY SHA256 BLAKE2B ENCODING ENV UNIT JSON
#     SEAL, BREAK: as lock.sh has them
#     ENCODING: plain, gzip or zstd; patch:OTHER, what makes it from the binary of release OTHER; or link:OTHER,
#       which has the same
#     ENV, UNIT, JSON: the texts of .env, the unit and release.json
#     standard input: the binary as ENCODING says
owner "$@"
shift 5
service=$1 seal=$2 break=$3
shift 3
release=$1 user=$2 binary=$3 sha256=$4 blake2b=$5 encoding=$6 env=$7 unit=$8 json=$9
releases=/opt/$service/releases
new=$releases/.staging-$release

has_room() { # whether the disk takes more beside what came; else the tool that unpacks is not to blame
  dd if=/dev/zero of="$new/.room" bs=64k count=16 2>/dev/null && rm -f "$new/.room"
}

give_up() { rm -rf "$new"; fail "$@"; }

binary_of() { # RELEASE: its binary, which may have had another name
  for file in "$releases/$1/$binary" "$releases/$1"/*; do
    case ${file##*/} in "$service.service" | release.json) continue ;; esac
    [ ! -e "$file" ] || break
  done
  say "$file"
}

# sshd moves all that waits in its buffer with every packet, up to 2 MB: what is slower than the line must not
# let it fill up.
hurry() { dd bs=8M iflag=fullblock 2>/dev/null; }

# Not under the mutex any longer than for this: bytes come from afar, and may never come.
(enter "$service" && take_lock "$service" "$seal" "$break") || exit 1

for old in "$releases"/.staging-*; do    # what a run that died half-way left behind
  [ ! -e "$old" ] || rm -rf "$old"
done
try cannot_write "cannot make $new" mkdir -p "$new"
point stage.made

umask 027
put "$new/.env" "$env" || give_up cannot_write "cannot write $new/.env"
umask 077
put "$new/release.json" "$json" || give_up cannot_write "cannot write release.json"
umask 022
put "$new/$service.service" "$unit" || give_up cannot_write "cannot write the unit"

case $encoding in
  plain) cat >"$new/$binary" ;;
  gzip) hurry | gzip -dc >"$new/$binary" ;;
  zstd) hurry | zstd -dcq >"$new/$binary" ;;
  patch:*) hurry | zstd -dcq --patch-from="$(binary_of "${encoding#patch:}")" >"$new/$binary" ;;
  link:*)
    old=$(binary_of "${encoding#link:}")
    ln "$old" "$new/$binary" 2>/dev/null || cp "$old" "$new/$binary" ;;
  *) give_up bad_encoding "unknown encoding $encoding" ;;
esac || { has_room && give_up cannot_unpack "cannot make $binary from ${encoding%%:*}"; } ||
  give_up cannot_write "cannot write $new/$binary"
point stage.received

private_group() { # USER: a group that nobody but the user is in, made if there is none; sets group
  # The group of one's own name is that, unless somebody was added to it.
  group=$(id -gn "$1" 2>/dev/null) || return 1
  [ "$1" != root ] || return 0
  [ "$group" != "$1" ] || { is_private "$1" "$group" && return; }
  group=deployer-$1
  if ! grep -q "^$group:" /etc/group; then
    if command -v groupadd >/dev/null; then groupadd --system "$group"; else addgroup -S "$group"; fi || return 1
  fi
  case " $(id -Gn "$1") " in *" $group "*) ;; *)
    # usermod knows the users of /etc/passwd only, gpasswd those of a directory, too.
    if command -v usermod >/dev/null; then usermod -aG "$group" "$1" || gpasswd -a "$1" "$group"
    else addgroup "$1" "$group"; fi || return 1 ;;
  esac
  is_private "$1" "$group"
}

is_private() { # USER GROUP: whether nobody else is a member of the group, or has it as primary one
  people=$(cat /etc/passwd)
  found=$(grep "^$2:" /etc/group) || {
    # Of a directory, which getent(1) asks; of a group that nobody knows it is not said who is in it.
    found=$(timeout 5 getent group "$2" 2>/dev/null) || return 1
    people="$people
$(timeout 5 getent passwd 2>/dev/null)"
  }
  members=$(printf '%s\n' "$found" | sed -n "s/^$2:[^:]*:\([0-9]*\):/\1 /p")
  case ${members#* } in '' | "$1") ;; *) return 1 ;; esac
  members=${members%% *}
  others=$(printf '%s\n' "$people" | sed -n "/^$1:/!s/^\([^:]*\):[^:]*:[^:]*:$members:.*/\1/p")
  [ -z "$others" ]
}

if id -u "$user" >/dev/null 2>&1; then
  private_group "$user" >/dev/null || give_up no_group "cannot make a group for .env that only $user is in"
else
  group=$user
  if command -v useradd >/dev/null; then
    useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$user"
  else
    addgroup -S "$user" && adduser -S -D -H -h /nonexistent -s /sbin/nologin -G "$user" "$user"
  fi >/dev/null || give_up no_user "cannot create the user $user"
fi
chown "root:$group" "$new/.env" || give_up cannot_write "cannot give $new/.env to the group $group"
chmod 755 "$new/$binary" || give_up cannot_write "cannot set the mode of $new/$binary"

# Of the file, not of what went by on the way to it: a read from memory costs less than a tee.
found=$(digest "$new/$binary")
case ${found%% *} in
  "$sha256" | "$blake2b") ;;
  *) give_up digest_mismatch "$binary arrived damaged: its digest is ${found%% *}" ;;
esac

point stage.verified

durable "$new/$binary" "$new/.env" "$new/$service.service" "$new/release.json" "$new"
enter "$service"
{ is_ours "$service" && [ "$left" -gt 0 ]; } || give_up stale "the lock of $service is not this run's any more"
mark "$service" "$release" staged || give_up cannot_write "cannot write $state/$service/unproven/$release"
mv "$new" "$releases/$release" || give_up cannot_write "cannot make $releases/$release"
durable "$releases" "/opt/$service"
point stage.done
say "staged $release"
