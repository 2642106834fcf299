"""Each method's learning rates, from its start through its checkpoints to its end."""

from __future__ import annotations

from typing import Any

from finebound.views.behaviour.learning_rates import SOURCE, claims, data_of, draw, shows
from paper_figures.behaved import read_studies

__all__ = ["SOURCE", "claims", "data_of", "draw", "record", "shows"]


def record(seed: int) -> dict[str, Any]:
    """Every run's checkpoints; ``seed`` is the experiment's own."""
    return data_of(read_studies("translation"))
