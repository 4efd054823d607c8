"""Where models come from: one module a family of spec strings."""
