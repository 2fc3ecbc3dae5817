"""Stage 6: the health test and the stay-up window."""
