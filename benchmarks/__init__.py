"""Measured against the targets of the project; each prints what it measured."""
