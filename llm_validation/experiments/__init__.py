"""Grids of real fine-tunes, each put beside the bounds that were computed for it."""
