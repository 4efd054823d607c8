"""Whether the score changes where the map says it should."""
