"""Whether the map is high where the evidence is known to be."""
