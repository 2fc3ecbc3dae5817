"""Stage 4: upload releases to where nothing uses them yet."""
