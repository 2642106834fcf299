"""Case I, the alignment-loss constraint: statements T1 to T5 of docs/theorems.md."""

from theory.loss_constraint.any_class import comparator, value_gap
from theory.loss_constraint.tabular import (
    floor_terms,
    mixture,
    overlap_mass,
    safety_floor,
    safety_gap_expansion,
)

__all__ = [
    "comparator",
    "floor_terms",
    "mixture",
    "overlap_mass",
    "safety_floor",
    "safety_gap_expansion",
    "value_gap",
]
