"""Relevance handed back through the layers: rules, composites, and LRP built from them."""
