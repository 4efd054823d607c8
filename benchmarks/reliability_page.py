"""docs/reliability.md."""
