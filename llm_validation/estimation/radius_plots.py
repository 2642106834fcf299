"""What a radius does to both losses: the bounds and the straight step's forecast beside them."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from finebound.base.output import number
from finebound.views.page_plots import (
    FORECAST_LINE,
    MUTED,
    SAFETY,
    TASK,
    Plot,
    log_axis,
    new_figure,
    styled,
)
from llm_validation.estimation.bounds import model_bounds
from llm_validation.estimation.model_side import straight_step
from llm_validation.estimation.pipeline import Estimate
from llm_validation.estimation.summary import Verdict, budget_radius, height_of, verdict
from theory.bound import Direction, Quantity
from theory.strategy import ParameterConstraint

_RADIUS = "radius: distance from the aligned weights (Euclidean norm)"


_RADII_ON_CURVE = 60


def radius_plots(estimate: Estimate) -> list[Plot]:
    """Safety loss rise and task loss against the radius, nats/token; empty without a model."""
    planned = budget_radius(estimate)
    if estimate.model is None or planned is None:
        return []
    reach = float(planned.value)
    asked = [*estimate.request.radii, reach]
    radii = np.geomspace(min(asked) / 1.5, max(asked) * 1.5, _RADII_ON_CURVE)
    safety, lowest, highest = _at_radii(estimate, radii, reach)
    steps = [straight_step(estimate.model, float(radius)) for radius in radii]
    change = np.array([step.safety_change for step in steps])
    start = estimate.model.losses["task"].per_token
    forecast = start + np.array([step.task_change for step in steps])
    return [
        _safety_by_radius(radii, safety, change, reach),
        _task_by_radius(radii, lowest, highest, forecast, reach, start),
    ]


def _safety_by_radius(
    radii: NDArray, safety: list[Verdict | None], change: NDArray, reach: float
) -> Plot:
    vacuous = np.array([v is None or v.vacuous for v in safety])
    bound = np.array([height_of(v) for v in safety])
    # One point in common, so that the grey line starts where the coloured one ends.
    joined = vacuous | np.append(vacuous[1:], False)
    with styled():
        figure = new_figure(height=4.1)
        axes = figure.subplots()
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
            rising = np.where(change > 0, change, np.nan)
            axes.plot(radii, rising, **FORECAST_LINE)
        log_axis(axes, "y")
        axes.set(xlabel=_RADIUS, ylabel="safety loss rise (nats/token)")
        _mark_budget(axes, reach)
        axes.legend(loc="upper left")
    return Plot(figure, _safety_caption(radii, vacuous, change, reach))


def _task_by_radius(
    radii: NDArray,
    lowest: NDArray,
    highest: NDArray,
    forecast: NDArray,
    reach: float,
    start: float,
) -> Plot:
    with styled():
        figure = new_figure(height=4.1)
        axes = figure.subplots()
        axes.fill_between(radii, lowest, highest, color=TASK, alpha=0.16, lw=0)
        axes.plot(radii, highest, color=TASK, lw=1.2, label="at most (T7)")
        axes.plot(radii, lowest, color=TASK, lw=1.2, ls=(0, (1, 1)), label="at least (T7)")
        shown = (forecast >= 0) & (forecast <= 1.25 * start)
        axes.plot(radii, np.where(shown, forecast, np.nan), **FORECAST_LINE)
        axes.set(xlabel=_RADIUS, ylabel="task loss afterwards (nats/token)", ylim=(0, 1.25 * start))
        _mark_budget(axes, reach)
        axes.legend(loc="lower left")
    return Plot(
        figure,
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


def _at_radii(
    estimate: Estimate, radii: NDArray, reach: float
) -> tuple[list[Verdict | None], NDArray, NDArray]:
    """The verdict on safety and the task loss's limits ``[n]`` at each radius ``[n]``."""
    safety, lowest, highest = [], [], []
    start = estimate.model.losses["task"].per_token
    for radius in radii:
        found = model_bounds(
            estimate.model,
            ParameterConstraint(float(radius)),
            has_proxy="proxy" in estimate.datasets,
            reach=reach,
        )
        safety.append(verdict(found, Quantity.SAFETY_LOSS_INCREASE, Direction.UPPER))
        low = verdict(found, Quantity.CAPABILITY_GAP, Direction.LOWER)
        high = verdict(found, Quantity.CAPABILITY_GAP, Direction.UPPER)
        # A loss is at least 0, and the best within a radius no worse than the start.
        lowest.append(0.0 if low is None else max(low.value, 0.0))
        highest.append(start if high is None else min(high.value, start))
    return safety, np.array(lowest), np.array(highest)


def _safety_caption(radii: NDArray, vacuous: NDArray, change: NDArray, reach: float) -> str:
    said = [
        "How far the safety loss can rise within a radius of the aligned weights. The vertical "
        f"line, radius {number(reach)}, is as far as the planned training can go (T13)."
    ]
    if vacuous.all():
        said.append("The bound is vacuous at every radius drawn.")
    elif vacuous.any():
        at = number(radii[int(np.argmax(vacuous))])
        said.append(f"From the cross on, radius {at}, the bound is vacuous.")
    said.append(
        "Straight step: a forecast, no bound, for one step down the task's gradient with the "
        "curvature measured at the start."
    )
    if (change < 0).any():
        first, last = np.flatnonzero(change < 0)[[0, -1]]
        where = (
            "at every radius drawn"
            if first == 0 and last == len(radii) - 1
            else (
                f"up to radius {number(radii[last])}"
                if first == 0
                else f"from radius {number(radii[first])} on"
            )
        )
        said.append(f"It has the safety loss fall {where}, which this axis cannot show.")
    return " ".join(said)
