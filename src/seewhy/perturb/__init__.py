"""How evidence is removed: operators, mask sources, and the scorer that turns many edits into many scores."""
