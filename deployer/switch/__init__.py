"""Stage 5: flip `current` to the staged release and restart the service."""
