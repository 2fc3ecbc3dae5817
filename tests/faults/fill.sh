#!/bin/sh
# fill.sh - a small disk under a folder of the host, filled to the brim, emptied; or a folder read-only.
#
#   fill.sh mount|unmount|fill|empty|lock|unlock FOLDER [FREE]
#
# The disk is a tmpfs that begins with what the folder holds, and has FREE MiB (128m) for more.
set -eu
what=$1 folder=$2 free=${3:-}
disk=/run/faults$folder

case $what in
  mount)
    mkdir -p "$disk"
    inodes=$(($(find "$folder" | wc -l) + 150))
    used=$(du -sm "$folder" | cut -f 1)
    mount -t tmpfs -o "size=$((used + ${free%m}))m,nr_inodes=$inodes,mode=755" faults "$disk"
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
    # Nor may there be a name for a new file or link, which needs no space on a tmpfs.
    mkdir "$folder/.fillers" 2>/dev/null || :
    n=0
    while touch "$folder/.fillers/$n" 2>/dev/null; do n=$((n + 1)); done
    ;;
  empty) rm -rf "$folder/.filler" "$folder/.fillers" ;;
  # A mount above it: a file that is open for writing keeps no disk from failing.
  lock) mount --bind -o ro "$folder" "$folder" ;;
  unlock) umount --lazy "$folder" ;;
esac
