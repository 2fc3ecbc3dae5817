"""One question to many hosts at once, for commands that deploy nothing."""
