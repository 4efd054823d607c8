"""How steady a map is while the input, the run or its luck changes a little."""
