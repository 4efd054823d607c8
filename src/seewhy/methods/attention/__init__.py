"""Methods that read how the tokens of a vision transformer attend to each other."""
