"""Arrays to pictures: colour maps, overlays, contact sheets. Knows no model and no method."""
