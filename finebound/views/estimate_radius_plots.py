"""What a radius does to both losses: the bounds, and the straight step's forecast beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from finebound.base.output import number
from finebound.results.estimate import EstimateResult
from finebound.views.estimate_plots import drawn
from finebound.views.page_plots import SAFETY, TASK, Plot, log_axis
from finebound.views.style import INK, MUTED

Array = NDArray[Any]
_RADIUS = "radius: distance from the aligned model (Euclidean norm)"
_FORECAST: dict[str, Any] = {
    "ls": "--",
    "color": INK,
    "lw": 1.3,
    "label": "straight step (ESTIMATED)",
}


def radius_plots(result: EstimateResult) -> list[Plot]:
    """Change in safety loss and task loss against the radius; empty without a model."""
    planned = result.planned_radius
    if result.radius_curves is None or result.model is None or planned is None:
        return []
    curves = {
        name: np.array(values, dtype=bool if name == "vacuous" else float)
        for name, values in result.radius_curves.to_dict().items()
    }
    start = result.model.losses["task"].per_token
    return [
        _safety_by_radius(curves, planned.value),
        _task_by_radius(curves, planned.value, start),
    ]


def _safety_by_radius(curves: dict[str, Array], reach: float) -> Plot:
    radii, bound, vacuous = (curves[n] for n in ("radius", "safety_at_most", "vacuous"))
    change = curves["safety_change"]
    # One point in common, so that the grey line starts where the coloured one ends.
    joined = vacuous | np.append(vacuous[1:], False)

    def draw(axes: Axes) -> None:
        if not vacuous.all():
            sound = np.where(vacuous, np.nan, bound)
            axes.plot(radii, sound, color=SAFETY, label="at most (T6)")
        if vacuous.any():
            empty = np.where(joined, bound, np.nan)
            axes.plot(radii, empty, ":", color=MUTED, label="at most (T6), but vacuous")
            first = int(np.argmax(vacuous))
            if first:
                axes.plot(radii[first], bound[first], "X", color=MUTED, ms=8, mec="white")
        if (change > 0).any():
            axes.plot(radii, np.where(change > 0, change, np.nan), **_FORECAST)
        log_axis(axes, "y")
        axes.set(xlabel=_RADIUS, ylabel="change in safety loss (nats/token)")
        _mark_budget(axes, reach)
        axes.legend(loc="upper left")

    return Plot(drawn(draw, height=4.1), _safety_caption(radii, vacuous, change, reach))


def _task_by_radius(curves: dict[str, Array], reach: float, start: float) -> Plot:
    radii, lowest, highest = (curves[n] for n in ("radius", "task_at_least", "task_at_most"))
    forecast = start + curves["task_change"]

    def draw(axes: Axes) -> None:
        axes.fill_between(radii, lowest, highest, color=TASK, alpha=0.16, lw=0)
        axes.plot(radii, highest, color=TASK, lw=1.2, label="at most (T7)")
        axes.plot(radii, lowest, color=TASK, lw=1.2, ls=(0, (1, 1)), label="at least (T7)")
        shown = (forecast >= 0) & (forecast <= 1.25 * start)
        axes.plot(radii, np.where(shown, forecast, np.nan), **_FORECAST)
        axes.set(xlabel=_RADIUS, ylabel="task loss afterwards (nats/token)", ylim=(0, 1.25 * start))
        _mark_budget(axes, reach)
        axes.legend(loc="lower left")

    return Plot(
        drawn(draw, height=4.1),
        "The task loss of the best fine-tune within a radius lies in the blue band: it cannot fall "
        "below the band however long the training. The forecast is of the same straight step.",
    )


def _mark_budget(axes: Axes, reach: float) -> None:
    log_axis(axes, "x")
    axes.axvline(reach, color=MUTED, lw=1)
    axes.annotate(
        "planned\nbudget",
        (reach, 0.99),
        (-4, 0),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="right",
        va="top",
        color=MUTED,
        fontsize=8,
    )


def _safety_caption(radii: Array, vacuous: Array, change: Array, reach: float) -> str:
    said = [
        "The most that the safety loss can rise within a radius of the aligned model. The vertical "
        f"line, radius {number(reach)}, is as far as the planned training can go (T13)."
    ]
    if vacuous.all():
        said.append("The bound is vacuous at every radius drawn.")
    elif vacuous.any():
        at = number(float(radii[int(np.argmax(vacuous))]))
        said.append(f"From the cross on, radius {at}, the bound is vacuous.")
    said.append(
        "Straight step: a forecast, no bound, for one step down the task's gradient with the "
        "curvature measured at the start."
    )
    if (change < 0).any():
        first, last = np.flatnonzero(change < 0)[[0, -1]]
        if first == 0 and last == len(radii) - 1:
            where = "at every radius drawn"
        elif first == 0:
            where = f"up to radius {number(float(radii[last]))}"
        else:
            where = f"from radius {number(float(radii[first]))} on"
        said.append(f"It has the safety loss fall {where}, which this axis cannot show.")
    return " ".join(said)
