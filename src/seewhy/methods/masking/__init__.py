"""Black-box methods: remove evidence, watch the score."""
