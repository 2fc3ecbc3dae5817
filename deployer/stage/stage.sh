# shellcheck shell=sh
# stage.sh - put a release on the disk, verified and durable, where nothing uses it yet.
#
#   stage.sh SERVICE RELEASE USER BINARY SHA256 ENCODING ENV_SIZE UNIT_SIZE JSON_SIZE
#     ENCODING: plain, gzip or zstd; or link:OTHER, the binary of release OTHER is the same
#     standard input: .env, the unit, release.json, then the binary as ENCODING says
service=$1 release=$2 user=$3 binary=$4 sha256=$5 encoding=$6 env_size=$7 unit_size=$8 json_size=$9
releases=/opt/$service/releases
new=$releases/.staging-$release

give_up() { rm -rf "$new"; fail "$@"; }

if ! id -u "$user" >/dev/null 2>&1; then
  if command -v useradd >/dev/null; then
    try no_user "cannot create the user $user" useradd --system --user-group --no-create-home \
      --home-dir /nonexistent --shell /usr/sbin/nologin "$user"
  else
    try no_user "cannot create the group $user" addgroup -S "$user"
    try no_user "cannot create the user $user" adduser -S -D -H -h /nonexistent -s /sbin/nologin -G "$user" "$user"
  fi
fi
group=$(id -gn "$user")

umask 022
try cannot_write "cannot make $releases" mkdir -p "$releases" "/var/lib/deployer/$service"
rm -rf "$releases"/.staging-*    # what a run that died half-way left behind
mkdir "$new" || give_up cannot_write "cannot make $new"

# The .env has its owner and mode before it has its first byte.
(umask 077 && : >"$new/.env") || give_up cannot_write "cannot write $new/.env"
chown "root:$group" "$new/.env" || give_up cannot_write "cannot give $new/.env to the group $group"
chmod 640 "$new/.env" || give_up cannot_write "cannot protect $new/.env"
take "$env_size" >>"$new/.env" || give_up cannot_write "cannot write $new/.env"
take "$unit_size" >"$new/$service.service" || give_up cannot_write "cannot write the unit"
(umask 077 && take "$json_size" >"$new/release.json") || give_up cannot_write "cannot write release.json"

case $encoding in
  plain) cat >"$new/$binary" ;;
  gzip) gzip -dc >"$new/$binary" ;;
  zstd) zstd -dcq >"$new/$binary" ;;
  link:*)
    ln "$releases/${encoding#link:}/$binary" "$new/$binary" 2>/dev/null ||
      cp "$releases/${encoding#link:}/$binary" "$new/$binary" ;;
  *) give_up bad_encoding "unknown encoding $encoding" ;;
esac || give_up cannot_write "cannot write $new/$binary"
chmod 755 "$new/$binary"

found=$(sha256sum "$new/$binary")
found=${found%% *}
[ "$found" = "$sha256" ] || give_up digest_mismatch "$binary arrived damaged: its digest is $found"

durable "$new/$binary" "$new/.env" "$new/$service.service" "$new/release.json" "$new"
mv "$new" "$releases/$release" || give_up cannot_write "cannot make $releases/$release"
durable "$releases" "/opt/$service"
say "staged $release"
