"""Case II, the alignment-parameter constraint: statements T6 to T8 of docs/theorems.md."""

from theory.parameter_constraint.capability import capability_within_radius
from theory.parameter_constraint.safety import safety_within_radius
from theory.parameter_constraint.separation import crossover_radius, separation

__all__ = [
    "capability_within_radius",
    "crossover_radius",
    "safety_within_radius",
    "separation",
]
