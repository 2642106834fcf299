"""The plots of an estimate over lambda, over both constraints, and of the forecasts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from finebound.results.estimate import CostBound, EstimateResult, GapPoints, StrategyCosts
from finebound.views.page_plots import (
    FAINT,
    GRID,
    LAMBDA,
    PAGE_WIDTH,
    PROXY,
    SAFETY,
    TASK,
    Plot,
    log_axis,
)
from finebound.views.style import INK, MUTED, new_figure, paper_style

_AT_MOST = {"ls": "--", "mfc": "white"}
_LINES: dict[str, tuple[str, dict[str, Any]]] = {
    "forced_safety": ("safety, exactly", {"color": SAFETY, "marker": "o"}),
    "forced_capability": ("capability, exactly", {"color": TASK, "marker": "s"}),
    "contested_safety": ("safety, at most", {"color": SAFETY, "marker": "o", **_AT_MOST}),
    "contested_capability": ("capability, at most", {"color": TASK, "marker": "s", **_AT_MOST}),
}
_EMPTY_CELL, _EMPTY_TEXT = "#EEF0F2", "#8A9199"
_MOST_LABELLED_CELLS = 144


def front_plot(result: EstimateResult) -> Plot | None:
    """The exact front on the rows, the lambdas asked for marked; None where all of it is 0."""
    front, asked, with_proxy = (
        result.frontier,
        result.frontier.asked,
        result.frontier.with_proxy,
    )
    if not (max(front.safety_gap) > 0 and max(front.capability_gap) > 0):
        return None
    shown = [(gaps.safety_gap, gaps.capability_gap) for gaps in (asked, with_proxy) if gaps]
    shown = shown or [tuple(zip(*(front.points.at(lam) for lam in (0.1, 10.0)), strict=True))]
    limits = [1.12 * max(value for gaps in shown for value in gaps[side]) for side in (0, 1)]

    def draw(axes: Axes) -> None:
        axes.fill_between(
            front.safety_gap, front.capability_gap, color=GRID, lw=0, label="no policy here"
        )
        axes.plot(front.safety_gap, front.capability_gap, color=INK)
        marks: tuple[tuple[GapPoints | None, dict[str, Any], str], ...] = (
            (asked, {"marker": "o", "color": INK, "ms": 5.5, "mec": "white"}, "best possible"),
            (with_proxy, {"marker": "D", "color": PROXY, "ms": 5}, "with proxy"),
        )
        for gaps, form, label in marks:
            if gaps is not None:
                axes.plot(gaps.safety_gap, gaps.capability_gap, ls="none", label=label, **form)
        axes.set(
            xlabel="safety gap (nats/response)",
            ylabel="capability gap (nats/response)",
            xlim=(0, limits[0]),
            ylim=(0, limits[1]),
        )
        if asked is not None:
            _label_apart(axes, asked, limits)
        axes.legend(loc="upper right")

    caption = "Every policy, whatever its size or training, lies on or above this curve."
    if asked is not None:
        caption += (
            " Dots: the best trade for the weights λ that you asked for. A larger λ buys safety "
            "with capability."
        )
    if with_proxy is not None:
        caption += " Diamonds: where penalising the proxy ends instead, for the same λ."
    return Plot(drawn(draw, height=3.9), caption)


def lambda_plots(result: EstimateResult) -> list[Plot]:
    """Gaps against lambda, nats per response; with a model the change in safety loss too."""
    rows = sorted(result.costs("loss"), key=lambda row: row.strategy.lam or 0.0)
    return [plot for plot in (_per_response(rows), _per_token(rows)) if plot is not None]


def hybrid_map(result: EstimateResult) -> Plot | None:
    """The change in safety loss at most, for every lambda and radius; None without a model."""
    found = {
        (row.strategy.radius or 0.0, row.strategy.lam or 0.0): row.safety
        for row in result.costs("hybrid")
        if row.safety is not None
    }
    if not found:
        return None
    radii, lams = (sorted({key[place] for key in found}) for place in (0, 1))

    def draw(axes: Axes) -> None:
        colour = _colours(list(found.values()))
        for (radius, lam), cost in found.items():
            column, row = lams.index(lam), radii.index(radius)
            face = colour(cost)
            axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fc=face, ec="white", lw=1.5))
            if len(found) <= _MOST_LABELLED_CELLS:
                ink = _EMPTY_TEXT if cost.vacuous else _readable_on(face)
                text = f"{cost.value:.2g}"
                axes.text(column, row, text, ha="center", va="center", fontsize=8.5, color=ink)
        axes.set_xlim(-0.5, len(lams) - 0.5)
        axes.set_ylim(-0.5, len(radii) - 0.5)
        axes.set_xticks(range(len(lams)), [f"{lam:g}" for lam in lams])
        axes.set_yticks(range(len(radii)), [f"{radius:g}" for radius in radii])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_xlabel(LAMBDA)
        axes.set_ylabel("radius (norm of the weights)")
        axes.set_title("change in safety loss, at most (nats/token)")

    return Plot(
        drawn(draw, height=1.5 + 0.42 * len(radii)),
        "Penalising the safety loss and staying within a radius at once: the change in safety loss "
        "is at most the number in the cell. Paler is safer; grey cells are vacuous.",
    )


def forecast_plot(result: EstimateResult) -> Plot | None:
    """Forecast changes of both losses with their 90 % intervals; None without a forecast."""
    made = result.strategy_forecast
    if not made:
        return None
    places = np.arange(len(made))
    with paper_style():
        figure = new_figure(height=1.2 + 0.24 * len(made), width=7.2)
        panels = figure.subplots(1, 2, sharey=True)
        for axes, name, colour in zip(panels, ("safety", "task"), (SAFETY, TASK), strict=True):
            values = [getattr(one, f"{name}_change") for one in made]
            limits = np.array([getattr(one, f"{name}_interval") for one in made])
            axes.axvline(0.0, color=MUTED, lw=0.8)
            # An interval of one measured row is infinite: the table says so, no line can.
            limits[~np.isfinite(limits)] = np.nan
            axes.hlines(places, *limits.T, color=colour, lw=2.2, alpha=0.45)
            axes.plot(values, places, "o", color=colour, ms=5)
            axes.set(xlabel=f"change in {name} loss (nats/token)", ylim=(len(made) - 0.5, -0.5))
            axes.grid(True, axis="x", color=GRID, lw=0.6)
            axes.set_axisbelow(True)
        panels[0].set_yticks(places, [one.in_words for one in made])
    return Plot(
        figure,
        "What the planned fine-tune is forecast to change under each strategy: loss after minus "
        "before, with 90 % intervals. ESTIMATED: no bound.",
    )


def drawn(draw: Callable[[Axes], None], *, height: float) -> Figure:
    """A figure of one panel that ``draw`` fills."""
    with paper_style():
        figure = new_figure(height=height, width=PAGE_WIDTH)
        draw(figure.subplots())
    return figure


def _label_apart(axes: Axes, gaps: GapPoints, limits: Sequence[float]) -> None:
    """A label at every point that is not too close to a point labelled before it."""
    placed: list[tuple[float, float]] = []
    for lam, *place in zip(gaps.lam, gaps.safety_gap, gaps.capability_gap, strict=True):
        point = (place[0], place[1])
        here = (point[0] / limits[0], point[1] / limits[1])
        if all(max(abs(here[0] - x), abs(here[1] - y)) > 0.055 for x, y in placed):
            axes.annotate(f"λ = {lam:g}", point, (7, 5), textcoords="offset points", fontsize=8)
            placed.append(here)


def _height(entry: CostBound | float | None) -> float:
    """The number that a plot draws; NaN where there is none."""
    if entry is None:
        return math.nan
    return entry.value if isinstance(entry, CostBound) else entry


def _per_response(rows: Sequence[StrategyCosts]) -> Plot | None:
    points = {
        name: [
            (row.strategy.lam, height)
            for row in rows
            if 0 < (height := _height(getattr(row, name))) < math.inf
        ]
        for name in _LINES
    }
    if not any(points.values()):
        return None

    def draw(axes: Axes) -> None:
        for name, (label, form) in _LINES.items():
            if points[name]:
                axes.plot(*zip(*points[name], strict=True), ms=5, label=label, **form)
        log_axis(axes, "x")
        log_axis(axes, "y")
        axes.set_ylim(top=axes.get_ylim()[1] * 4)
        axes.legend(ncols=2, loc="upper left")
        axes.set(xlabel=LAMBDA, ylabel="gap (nats/response)")

    exactly = (
        "Solid: exactly, on the rows alone."
        if points["forced_safety"]
        else "No two rows contradict each other, so no exact curve is drawn."
    )
    return Plot(
        drawn(draw, height=3.7),
        f"What penalising with strength λ costs. {exactly} Dashed: at most this much, from "
        "measured overlap.",
    )


def _per_token(rows: Sequence[StrategyCosts]) -> Plot | None:
    points = [
        (row.strategy.lam or 0.0, row.safety)
        for row in rows
        if row.safety is not None and 0 < row.safety.value < math.inf
    ]
    if not points:
        return None

    def draw(axes: Axes) -> None:
        axes.plot([lam for lam, _ in points], [c.value for _, c in points], color=FAINT, zorder=1)
        looks: tuple[tuple[bool, dict[str, Any], str], ...] = (
            (False, {"color": SAFETY}, "at most"),
            (True, {"color": MUTED, "mfc": "white"}, "at most, but vacuous"),
        )
        for vacuous, form, label in looks:
            chosen = [(lam, cost.value) for lam, cost in points if cost.vacuous is vacuous]
            if chosen:
                axes.plot(*zip(*chosen, strict=True), "o", ms=5.5, label=label, **form)
        log_axis(axes, "x")
        log_axis(axes, "y")
        axes.legend(loc="upper right")
        axes.set(xlabel=LAMBDA, ylabel="change in safety loss (nats/token)")

    return Plot(
        drawn(draw, height=3.7),
        "The most that this model's safety loss may rise for the same λ, within the radius that "
        "the planned training budget can reach. Hollow grey points are vacuous.",
    )


def _colours(costs: Sequence[CostBound]) -> Callable[[CostBound], Any]:
    """A cell's colour: the paler the safer, grey where the bound is vacuous."""
    sound = [cost.value for cost in costs if not cost.vacuous and cost.value > 0]
    low, high = (min(sound), max(sound)) if sound else (1.0, 1.0)
    scale = LogNorm(low, max(high, 1.001 * low))
    colours = matplotlib.colormaps["YlOrRd"]

    def colour(cost: CostBound) -> Any:
        return _EMPTY_CELL if cost.vacuous else colours(0.75 * float(scale(max(cost.value, low))))

    return colour


def _readable_on(face: Any) -> str:
    """Dark ink on a light cell, white on a dark one."""
    red, green, blue = to_rgb(face)
    return INK if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"
