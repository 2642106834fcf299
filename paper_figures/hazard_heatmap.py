"""How the share of safe answers changed, by method and hazard category."""

from __future__ import annotations

from typing import Any

from finebound.views.behaviour.hazard_heatmap import SOURCE, claims, data_of, draw, shows
from paper_figures.behaved import read_studies

__all__ = ["SOURCE", "claims", "data_of", "draw", "record", "shows"]


def record(seed: int) -> dict[str, Any]:
    """The change of the safe share of every run; ``seed`` is the experiment's own."""
    return data_of(read_studies("peft"))
