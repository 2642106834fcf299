"""The mathematics: problems, strategies, bounds. NumPy and SciPy only."""
