"""Stage 3: what is desired against what is observed, and what must change.  No input or output."""
