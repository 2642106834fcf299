"""Bounds put to work where an assumption of theirs fails, and beside it where it holds."""
