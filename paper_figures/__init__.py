"""One script a figure, drawn from recorded data."""
