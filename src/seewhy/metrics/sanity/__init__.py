"""Sanity: does a map depend on what it claims to explain."""
