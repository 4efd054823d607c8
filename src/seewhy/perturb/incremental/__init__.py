"""Forward passes that recompute only what a window of the input can change."""
