"""Command tasks: run the user's own commands between the stages of a deploy."""
