"""Stage 7: keep the new release, or go back to the one before."""
