"""Whether the map is high where people looked."""
