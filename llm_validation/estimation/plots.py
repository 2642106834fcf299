"""The page's plots: pure functions of an estimate, the same bytes on every run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from finebound.base.output import strategy_words
from finebound.views.page_plots import (
    FAINT,
    INK,
    LAMBDA,
    MUTED,
    PROXY,
    SAFETY,
    TASK,
    Plot,
    log_axis,
    new_figure,
    styled,
)
from llm_validation.estimation.bounds import front_on_rows
from llm_validation.estimation.pipeline import Estimate
from llm_validation.estimation.summary import Row, height_of, rows
from theory.bound import Direction, Quantity
from theory.strategy import Hybrid, LossConstraint

if TYPE_CHECKING:
    from llm_validation.estimation.forecast import StrategyForecast

_AT_MOST = {"ls": "--", "mfc": "white"}
_MOST_LABELLED_CELLS = 144


def front_plot(estimate: Estimate) -> Plot | None:
    """The exact Pareto front on the rows, the request's lambdas marked; None where it is 0."""
    front = estimate.front
    if not (front.safety_gap.max() > 0 and front.capability_gap.max() > 0):
        return None
    lams = sorted(estimate.request.lams)
    asked = front_on_rows(estimate.shared, lams)
    through_proxy = _through_proxy(estimate)
    with styled():
        figure = new_figure(height=3.9)
        axes = figure.subplots()
        axes.fill_between(
            front.safety_gap, front.capability_gap, color="#E6E9EC", lw=0, label="no policy here"
        )
        axes.plot(front.safety_gap, front.capability_gap, color=INK)
        best = (asked.safety_gap, asked.capability_gap)
        axes.plot(*best, "o", color=INK, ms=5.5, mec="white", mew=0.8, label="best possible")
        if through_proxy:
            axes.plot(*zip(*through_proxy, strict=True), "D", color=PROXY, ms=5, label="with proxy")
        limits = [
            1.12 * max([*values, *(point[place] for point in through_proxy)])
            for place, values in enumerate(best)
        ]
        axes.set(
            xlabel="safety gap (nats/response)",
            ylabel="capability gap (nats/response)",
            xlim=(0, limits[0]),
            ylim=(0, limits[1]),
        )
        _label_apart(axes, [f"λ = {lam:g}" for lam in lams], *best, limits)
        axes.legend(loc="upper right")
    caption = (
        "Every policy, whatever its size or training, lies on or above this curve. Dots: the best "
        "trade for the weights λ that you asked for. A larger λ buys safety with capability."
    )
    if through_proxy:
        caption += " Diamonds: where penalising the proxy ends instead, for the same λ."
    return Plot(figure, caption)


def _label_apart(
    axes: Axes, labels: list[str], x: NDArray, y: NDArray, limits: list[float]
) -> None:
    """A label at every point that is not too close to a point labelled before it."""
    placed: list[NDArray] = []
    for label, here in zip(labels, np.stack([x / limits[0], y / limits[1]], axis=1), strict=True):
        if all(abs(here - other).max() > 0.055 for other in placed):
            place = (here[0] * limits[0], here[1] * limits[1])
            axes.annotate(label, place, (7, 5), textcoords="offset points", fontsize=8)
            placed.append(here)


def _through_proxy(estimate: Estimate) -> list[tuple[float, float]]:
    """``(safety, capability)`` gaps of a table trained with the proxy, if finite (T5)."""
    if "proxy" not in estimate.datasets:
        return []
    gaps: dict[float, dict[Quantity, float]] = {}
    for e in estimate.bounds:
        if e.basis == "rows" and e.bound.direction is Direction.EQUALITY:
            gaps.setdefault(e.strategy.lam, {})[e.bound.quantity] = float(e.bound.value)
    wanted = (Quantity.SAFETY_GAP, Quantity.CAPABILITY_GAP)
    points = [tuple(gap.get(quantity, np.inf) for quantity in wanted) for gap in gaps.values()]
    return [point for point in points if np.isfinite(point).all()]


def lambda_plots(estimate: Estimate) -> list[Plot]:
    """Gaps against lambda: exact and at most, nats/response; with a model the rise, nats/token."""
    table = [row for row in rows(estimate) if isinstance(row.strategy, LossConstraint)]
    table.sort(key=lambda row: row.strategy.lam)
    return [plot for plot in (_per_response(table), _per_token(table)) if plot is not None]


def _per_response(table: list[Row]) -> Plot | None:
    lines = {
        "forced_safety": ("safety, exactly", {"color": SAFETY, "marker": "o"}),
        "forced_capability": ("capability, exactly", {"color": TASK, "marker": "s"}),
        "contested_safety": ("safety, at most", {"color": SAFETY, "marker": "o", **_AT_MOST}),
        "contested_capability": ("capability, at most", {"color": TASK, "marker": "s", **_AT_MOST}),
    }
    drawn = {}
    for name in lines:
        points = [(row.strategy.lam, height_of(getattr(row, name))) for row in table]
        drawn[name] = [(x, y) for x, y in points if 0 < y < np.inf]
    if not any(drawn.values()):
        return None
    with styled():
        figure = new_figure(height=3.7)
        axes = figure.subplots()
        for name, points in drawn.items():
            if points:
                label, form = lines[name]
                axes.plot(*zip(*points, strict=True), ms=5, label=label, **form)
        log_axis(axes, "x")
        log_axis(axes, "y")
        axes.set_ylim(top=axes.get_ylim()[1] * 4)
        axes.legend(ncols=2, loc="upper left")
        axes.set(xlabel=LAMBDA, ylabel="gap (nats/response)")
    caption = "What penalising with strength λ costs."
    if drawn["forced_safety"]:
        caption += " Solid: exactly, on the rows alone."
    else:
        caption += " No two rows contradict each other, so no exact curve is drawn."
    caption += " Dashed: at most this much, from measured overlap."
    return Plot(figure, caption)


def _per_token(table: list[Row]) -> Plot | None:
    points = [(row.strategy.lam, row.safety) for row in table if row.safety]
    points = [(x, v) for x, v in points if 0 < v.value < np.inf]
    if not points:
        return None
    with styled():
        figure = new_figure(height=3.7)
        axes = figure.subplots()
        axes.plot([x for x, _ in points], [v.value for _, v in points], "-", color=FAINT, zorder=1)
        for vacuous, form, label in (
            (False, {"color": SAFETY}, "at most"),
            (True, {"color": MUTED, "mfc": "white"}, "at most, but vacuous"),
        ):
            chosen = [(x, v.value) for x, v in points if v.vacuous is vacuous]
            if chosen:
                axes.plot(*zip(*chosen, strict=True), "o", ms=5.5, label=label, **form)
        log_axis(axes, "x")
        log_axis(axes, "y")
        axes.legend(loc="upper right")
        axes.set(xlabel=LAMBDA, ylabel="safety loss rise (nats/token)")
    return Plot(
        figure,
        "How far the safety loss may rise on this model for the same λ, within the radius that the "
        "planned training budget can reach. Hollow grey points are vacuous.",
    )


def _readable_on(face) -> str:
    """Dark ink on a light cell, white on a dark one."""
    from matplotlib.colors import to_rgb

    red, green, blue = to_rgb(face)
    return INK if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"


def hybrid_map(estimate: Estimate) -> Plot | None:
    """Safety loss rise at most, for every lambda and radius, nats/token; None without a model."""
    found = {
        (row.strategy.radius, row.strategy.lam): row.safety
        for row in rows(estimate)
        if isinstance(row.strategy, Hybrid) and row.safety is not None
    }
    if not found:
        return None
    radii, lams = (sorted({key[place] for key in found}) for place in (0, 1))
    sound = [v.value for v in found.values() if not v.vacuous and v.value > 0]
    low, high = (min(sound), max(sound)) if sound else (1.0, 1.0)
    scale = LogNorm(low, max(high, 1.001 * low))
    colours = matplotlib.colormaps["YlOrRd"]
    with styled():
        figure = new_figure(height=1.5 + 0.42 * len(radii))
        axes = figure.subplots()
        for row, radius in enumerate(radii):
            for column, lam in enumerate(lams):
                value = found.get((radius, lam))
                empty = value is None or value.vacuous
                face = "#EEF0F2" if empty else colours(0.75 * float(scale(max(value.value, low))))
                axes.add_patch(
                    Rectangle((column - 0.5, row - 0.5), 1, 1, fc=face, ec="white", lw=1.5)
                )
                if value is not None and len(found) <= _MOST_LABELLED_CELLS:
                    axes.text(
                        column,
                        row,
                        f"{value.value:.2g}",
                        ha="center",
                        va="center",
                        fontsize=8.5,
                        color="#8A9199" if empty else _readable_on(face),
                    )
        axes.set_xlim(-0.5, len(lams) - 0.5)
        axes.set_ylim(-0.5, len(radii) - 0.5)
        axes.set_xticks(range(len(lams)), [f"{lam:g}" for lam in lams])
        axes.set_yticks(range(len(radii)), [f"{radius:g}" for radius in radii])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_xlabel(LAMBDA)
        axes.set_ylabel("radius (norm of the weights)")
        axes.set_title("safety loss rise, at most (nats/token)")
    return Plot(
        figure,
        "Penalising the safety loss and staying within a radius at once: the safety loss rises by "
        "at most the number in the cell. Paler is safer; grey cells are vacuous.",
    )


def forecast_plot(forecasts: Sequence[StrategyForecast]) -> Plot | None:
    """Forecast changes of both losses with their 90 % intervals, nats/token; None of none."""
    if not forecasts:
        return None
    places = np.arange(len(forecasts))
    with styled():
        figure = new_figure(height=1.2 + 0.24 * len(forecasts), width=7.2)
        panels = figure.subplots(1, 2, sharey=True)
        for axes, name, colour in zip(panels, ("safety", "task"), (SAFETY, TASK), strict=True):
            values = np.array([getattr(made, f"{name}_change") for made in forecasts])
            limits = np.array([getattr(made, f"{name}_interval") for made in forecasts])
            axes.axvline(0.0, color=MUTED, lw=0.8)
            # An interval of one measured row is infinite: the table says so, no line can.
            limits[~np.isfinite(limits)] = np.nan
            axes.hlines(places, *limits.T, color=colour, lw=2.2, alpha=0.45)
            axes.plot(values, places, "o", color=colour, ms=5)
            axes.set(xlabel=f"{name} loss change (nats/token)", ylim=(len(forecasts) - 0.5, -0.5))
            axes.grid(True, axis="x", color="#E6E9EC", lw=0.6)
            axes.set_axisbelow(True)
        panels[0].set_yticks(places, [strategy_words(made.strategy) for made in forecasts])
    return Plot(
        figure,
        "What the planned fine-tune is forecast to change under each strategy: loss after minus "
        "before, with 90 % intervals. ESTIMATED: no bound.",
    )
