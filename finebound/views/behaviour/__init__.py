"""Figures of how a finished experiment's runs behave: an experiment in, a figure out."""
