"""What the figures of safety and capability gaps share: means with intervals, square-root axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from finebound.views import style


def with_interval(column: Mapping[str, Sequence[float]]) -> np.ndarray:
    """Means, lower and upper ends of a column as ``sims`` writes it, ``[3, m]``."""
    return np.array([column[name] for name in ("mean", "low", "high")])


def dots(
    axes: Axes,
    x: np.ndarray,
    column: Mapping[str, Sequence[float]],
    *,
    fmt: str = "o",
    logarithmic: bool = False,
    **look: Any,
) -> None:
    """The means of a column against ``x`` with their intervals."""
    mean, low, high = with_interval(column)
    if logarithmic:
        low = np.maximum(low, 0.3 * mean)  # an interval to 0 has no end on a logarithmic axis
    bars = style.bars([mean, low, high])
    axes.errorbar(x, mean, yerr=bars, fmt=fmt, mew=0, elinewidth=0.8, **look)


def root_dots(axes: Axes, run: Mapping[str, Any], **look: Any) -> None:
    """A run's mean gaps with their intervals on square-root axes."""
    names = ("safety_gap", "capability_gap")
    x, y = (np.sqrt(np.maximum(with_interval(run[name]), 0.0)) for name in names)
    axes.errorbar(x[0], y[0], xerr=style.bars(x), yerr=style.bars(y), **look)


def root_ticks(axes: Axes, ticks: Sequence[float]) -> None:
    """Positions are roots of nats, labels nats: both ends of a front can be told apart."""
    labels = [f"{tick:g}" for tick in ticks]
    axes.set_xticks(np.sqrt(ticks), labels)
    axes.set_yticks(np.sqrt(ticks), labels)
