def evaluate() -> None:
    """Evaluate."""
