"""Init-only controls: what a start that is not the aligned model costs before any training."""

from __future__ import annotations

from typing import Any

from finebound.views.behaviour.init_only import SOURCE, claims, data_of, draw, shows
from paper_figures.behaved import read_studies

__all__ = ["SOURCE", "claims", "data_of", "draw", "record", "shows"]


def record(seed: int) -> dict[str, Any]:
    """Starts and ends of the runs whose start is not theta_s; ``seed`` is the experiments' own."""
    return data_of(read_studies("peft", "translation"))
