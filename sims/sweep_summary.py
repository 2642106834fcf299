"""A sweep in one line a strategy."""

from __future__ import annotations

import numpy as np

from sims.sweep_record import Columns

_MEDIANS = ("safety", "proxy", "task", "displacement", "slack")
# The numbers that each kind of strategy was given; the others are what training made of them.
_GIVEN = {
    "lam": ("lam",),
    "epsilon": ("epsilon",),
    "radius": ("radius",),
    "hybrid": ("lam", "radius"),
    "stop": ("stop",),
}


def by_strategy(columns: Columns) -> list[dict[str, float | int | str]]:
    """Runs, medians (nats, and distance) and the share that converged, in the grid's order."""
    labels = np.array([_label(columns, i) for i in range(len(columns["strategy"]))])
    rows = []
    for name in dict.fromkeys(labels.tolist()):
        chosen = labels == name
        medians = {column: float(np.median(columns[column][chosen])) for column in _MEDIANS}
        converged = float(np.mean(columns["converged"][chosen]))
        runs = int(chosen.sum())
        rows.append({"strategy": name, "runs": runs, **medians, "converged": converged})
    return rows


def _label(columns: Columns, i: int) -> str:
    kind = str(columns["strategy"][i])
    given = (f"{name} {float(columns[name][i]):g}" for name in _GIVEN[kind])
    return " and ".join(given)
