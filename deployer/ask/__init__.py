"""Read-only questions to many hosts at once, for commands that show what is there and change nothing."""
