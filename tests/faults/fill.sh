#!/bin/sh
# fill.sh - a small disk under folders of the host, filled to the brim, emptied; or a folder read-only.
#
#   fill.sh mount FOLDERS FREE     FREE MiB (128m) for more than they hold, and 150 names
#   fill.sh unmount FOLDERS
#   fill.sh fill|crowd|empty       to the last byte and name; to the last name, with bytes left; neither
#   fill.sh lock|unlock FOLDER
#
# The disk is one tmpfs that begins with what the folders (/opt:/var/lib) hold.
set -eu
what=$1 folders=${2:-} free=${3:-}
disk=/run/faults-disk

case $what in mount | unmount)
  IFS=:
  # shellcheck disable=SC2086  # by its colons
  set -- $folders
  unset IFS
esac

crowd() { # a name for a new file or link needs no space on a tmpfs, so names are used up by themselves
  mkdir "$disk/.fillers" 2>/dev/null || :
  n=0
  while touch "$disk/.fillers/$n" 2>/dev/null; do n=$((n + 1)); done
}

case $what in
  mount)
    mkdir -p "$disk"
    inodes=$(($(find "$@" | wc -l) + 150))
    used=$(du -smc "$@" | tail -n 1 | cut -f 1)
    mount -t tmpfs -o "size=$((used + ${free%m}))m,nr_inodes=$inodes,mode=755" faults "$disk"
    for folder; do
      mkdir -p "$disk$folder"
      cp -a "$folder/." "$disk$folder"
      mount --bind "$disk$folder" "$folder"
    done
    ;;
  unmount)
    for folder; do umount --lazy "$folder"; done
    umount --lazy "$disk"
    ;;
  fill)
    # By halves, for a last page may be free when a larger piece does not fit.
    for piece in 1M 64k 4k 1k; do
      dd if=/dev/zero bs=$piece 2>/dev/null >>"$disk/.filler" || :
    done
    crowd
    ;;
  crowd) crowd ;;
  empty) rm -rf "$disk/.filler" "$disk/.fillers" ;;
  # A mount above it: a file that is open for writing keeps no disk from failing.
  lock) mount --bind -o ro "$folders" "$folders" ;;
  unlock) umount --lazy "$folders" ;;
esac
