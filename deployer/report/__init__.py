"""Stage 8: say what happens.  The run emits events; console, log lines and JSON listen."""
