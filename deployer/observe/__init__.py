"""Stage 2: ask a host everything in one exec: facts, disks, releases, digests, unit states."""
