"""BBQ's bias by dimension and context, of the aligned model and of every fine-tune."""

from __future__ import annotations

from typing import Any

from finebound.views.behaviour.bbq_dots import SOURCE, claims, data_of, draw, shows
from paper_figures.behaved import read_studies

__all__ = ["SOURCE", "claims", "data_of", "draw", "record", "shows"]


def record(seed: int) -> dict[str, Any]:
    """Biases with intervals; ``seed`` is the experiment's own."""
    return data_of(read_studies("peft"))
