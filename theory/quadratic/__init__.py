"""Quadratic problems with numbers that hold: exact arithmetic where it is small, errors else."""

from theory.quadratic.enclosure import Enclosure, Gaps
from theory.quadratic.facts import comparators, least_sum, orthogonal, solve, start

__all__ = ["Enclosure", "Gaps", "comparators", "least_sum", "orthogonal", "solve", "start"]
