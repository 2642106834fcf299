"""Families of toy problems: each draws instances and knows their true gaps by its own path."""
