"""From a dataset pair and a model to bounds and a page."""
