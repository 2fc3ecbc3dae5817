#!/bin/sh
# fill.sh - a small disk under a folder of the host, filled to the brim, emptied; or a folder read-only.
#
#   fill.sh mount|unmount|fill|empty|lock|unlock FOLDER [SIZE]
#
# The disk is a tmpfs that begins with what the folder holds.
set -eu
what=$1 folder=$2 size=${3:-}
disk=/run/faults$folder

case $what in
  mount)
    mkdir -p "$disk"
    mount -t tmpfs -o "size=$size,mode=755" faults "$disk"
    cp -a "$folder/." "$disk"
    mount --bind "$disk" "$folder"
    ;;
  unmount)
    umount --lazy "$folder"
    umount --lazy "$disk"
    ;;
  fill)
    # By halves, for a last page may be free when a larger piece does not fit.
    for piece in 1M 64k 4k 1k; do
      dd if=/dev/zero bs=$piece 2>/dev/null >>"$folder/.filler" || :
    done
    # Somebody freed some while it was filled.
    if dd if=/dev/zero bs=4k count=1 2>/dev/null >"$folder/.filler2"; then
      dd if=/dev/zero bs=4k 2>/dev/null >>"$folder/.filler" || :
    fi
    ;;
  empty) rm -f "$folder/.filler" "$folder/.filler2" ;;
  # A mount above it: a file that is open for writing keeps no disk from failing.
  lock) mount --bind -o ro "$folder" "$folder" ;;
  unlock) umount --lazy "$folder" ;;
esac
