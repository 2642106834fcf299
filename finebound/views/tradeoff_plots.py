"""The figures of defences and runs in one plane: the plane, the scores, the modules over depth."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from finebound.results.tradeoff import (
    UNDEFENDED,
    LayerEntry,
    ModuleEntry,
    PairedInterval,
    TheoryCurve,
    TradeoffResult,
)
from finebound.views.page_plots import Plot
from finebound.views.style import INK, MUTED, bars, new_figure, with_room, zero_lines

_COLOURS = (
    *("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"),
    *("#7A5C00", "#6A51A3", "#A11D33", "#4D9221", "#5E4FA2", "#8C564B"),
)
_MARKS = "os^vDPX<>*hp"
_FORMS = {"limit": "limit", "front": "linearised front", "forecasts": "forecasts of runs"}
_STYLES: dict[str, dict[str, Any]] = {
    "limit": {"color": MUTED, "ls": "-", "lw": 1.6},
    "front": {"color": MUTED, "ls": (0, (4, 2)), "lw": 1.4},
    "forecasts": {"color": MUTED, "ls": "none", "marker": "1", "ms": 8},
}
_DEPTH = re.compile(r"\.(\d+)\.")


def plane_plot(result: TradeoffResult) -> Plot:
    """Every place with its intervals; failed ones crossed out; the frontiers with their status."""
    figure = new_figure(width=8.0, height=5.4)
    axes = figure.add_subplot()
    zero_lines(axes)
    axes.plot(0.0, 0.0, "+", ms=10, mew=1.8, color=INK, label="the aligned model")
    for number, family in enumerate(result.families):
        _draw_family(axes, result, family, number)
    failed = [place for place in result.places if not place.counts]
    limits = _limits(result)
    for place in failed:
        corner = np.clip(_three((place.gain, place.rise))[0], *limits)
        axes.plot(*corner, "x", color=MUTED, ms=6, mew=1.2, clip_on=False)
    if failed:
        axes.plot([], [], "x", color=MUTED, label="incoherent (clipped to the edge)")
    (x_low, y_low), (x_high, y_high) = limits
    axes.set_xlim(x_low, x_high)
    axes.set_ylim(y_low, y_high)
    for curve in result.frontiers:
        _draw_curve(axes, curve)
    axes.set_xlabel("capability gained: fall of the held-out task loss (nats/token)")
    axes.set_ylabel("rise of the held-out safety loss (nats/token)")
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    return Plot(
        figure,
        f"Held-out rows of the task {result.task}; down and right is better. Bars: paired 95 % "
        "bootstrap intervals over rows. Lines join the strengths of a family.",
    )


def _draw_family(axes: Axes, result: TradeoffResult, family: str, number: int) -> None:
    """The counted places of a family, joined in order of their gain."""
    places = result.of_family(family)
    if not places:
        return
    x, y = _three(place.gain for place in places), _three(place.rise for place in places)
    plain = family == UNDEFENDED
    colour = INK if plain else _COLOURS[number % len(_COLOURS)]
    axes.errorbar(
        x[0],
        y[0],
        xerr=bars(x),
        yerr=bars(y),
        fmt=("--" if plain else "-") + ("D" if plain else _MARKS[number % len(_MARKS)]),
        color=colour,
        ms=5,
        mew=0,
        lw=0.9,
        elinewidth=0.5,
        label=family,
    )


def _draw_curve(axes: Axes, curve: TheoryCurve) -> None:
    """A theoretical curve with its statement and status; below the axes it says how far."""
    gain, rise = (np.array(values, dtype=float) for values in (curve.gain, curve.rise))
    limits = axes.get_xlim(), axes.get_ylim()
    label = f"{curve.statement} {_FORMS[curve.form]} ({curve.status.lower()})"
    if curve.form == "limit" and (below := limits[1][0] - float(rise.max())) > 0.0:
        label += f"\n{below:.2g} below the axes"
    axes.plot(gain, rise, label=label, zorder=1, **_STYLES[curve.form])
    axes.set_xlim(limits[0])
    axes.set_ylim(limits[1])


def scores_plot(result: TradeoffResult) -> Plot | None:
    """Hypervolume of every family with its interval; None where no family has one."""
    scored = [(s, s.hypervolume) for s in result.scores if s.hypervolume is not None]
    if not scored:
        return None
    figure = new_figure(width=8.0, height=0.6 + 0.32 * len(scored))
    axes = figure.add_subplot()
    x = _three(volume for _, volume in scored)
    height = np.arange(len(scored))[::-1]
    axes.errorbar(x[0], height, xerr=bars(x), fmt="o", color=INK, ms=4.5, elinewidth=0.8)
    axes.set_yticks(height, [f"{s.family} ({s.strengths})" for s, _ in scored])
    axes.set_xlabel("hypervolume, (nats/token)²")
    axes.set_ylim(-0.6, len(scored) - 0.4)
    return Plot(
        figure,
        "What each family dominates, against no gain at the worst coherent safety loss; in "
        "brackets its number of coherent strengths. Paired 95 % bootstrap intervals over rows.",
    )


def depth_plot(entry: LayerEntry) -> Plot:
    """Distance, cosine, ``|C|_2`` and the score of every module, block by block."""
    kinds: dict[str, list[ModuleEntry]] = {}
    for module in entry.modules:
        kinds.setdefault(module.name.rpartition(".")[2], []).append(module)
    columns = {
        "distance": "|C dW - dW|",
        "cosine": "cosine",
        "projector_norm": "|C|₂",
        "score": "E-DIEM" if entry.method == "splora" else "score",
    }
    figure = new_figure(width=8.0, height=4.2)
    for axes, (name, words) in zip(figure.subplots(2, 2).flat, columns.items(), strict=True):
        for number, (kind, modules) in enumerate(kinds.items()):
            depth = np.array([_depth_of(m.name, i) for i, m in enumerate(modules)])
            value = np.array([getattr(m, name) for m in modules], dtype=float)
            changed = np.array([m.changed for m in modules], dtype=bool)
            colour = _COLOURS[number % len(_COLOURS)]
            axes.plot(depth, value, color=colour, lw=0.8)
            axes.plot(depth[~changed], value[~changed], "o", color=colour, ms=3.5, label=kind)
            axes.plot(depth[changed], value[changed], "x", color=colour, ms=6, mew=1.6)
        axes.set_ylabel(words)
        axes.xaxis.get_major_locator().set_params(integer=True)
    for axes in figure.axes[2:]:
        axes.set_xlabel("block")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
    did = "pruned" if entry.method == "splora" else "changed"
    return Plot(
        figure,
        f"{entry.id}: {entry.changed} of {len(entry.modules)} modules {did} (crosses).",
    )


def _depth_of(name: str, place: int) -> int:
    """The number of a module's block; its place among its kind where the name has none."""
    found = _DEPTH.search(name)
    return int(found[1]) if found else place


def _three(intervals: Iterable[PairedInterval]) -> np.ndarray:
    """Estimates, lower and upper ends, ``[3, n]``."""
    return np.array([(i.estimate, i.lower, i.upper) for i in intervals], dtype=float).T


def _limits(result: TradeoffResult) -> tuple[np.ndarray, np.ndarray]:
    """Corners of the axes: the counted places with their intervals and theta_s, and some room."""
    rows: list[Sequence[float]] = [(0.0, 0.0)]
    for place in result.places:
        if place.counts:
            ends = _three((place.gain, place.rise)).T
            rows += [tuple(corner) for corner in ends.T if np.isfinite(corner).all()]
    return with_room(rows)
