"""Behaviour against the measured safety loss: does one rank the runs as the other does?"""

from __future__ import annotations

from typing import Any

from finebound.views.behaviour.behaviour_loss import SOURCE, claims, data_of, draw, shows
from paper_figures.behaved import read_studies

__all__ = ["SOURCE", "claims", "data_of", "draw", "record", "shows"]


def record(seed: int) -> dict[str, Any]:
    """Changes of behaviour beside the safety loss; ``seed`` is the experiments' own."""
    return data_of(read_studies("peft", "translation"))
