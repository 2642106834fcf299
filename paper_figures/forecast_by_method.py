"""Coverage and width of calibrated forecasts on real fine-tunes, method by method (T25)."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from finebound.results.skill import LOSS, REFUSALS
from finebound.views import style
from finebound.views.claims import Claim
from paper_figures.refusals_forecast import skill_of_the_evidence

SOURCE = "measurement"

_LEVEL, _RANGE = 0.9, 1 / 3
_LOOKS = {REFUSALS: (style.BLUE, "o", -0.13), LOSS: (style.ORANGE, "s", 0.13)}


def record(seed: int) -> dict[str, Any]:
    """Of every shipped fine-tune, by method; ``seed`` resamples fine-tunes for intervals."""
    skill = skill_of_the_evidence(seed)
    ranges = {
        one["quantity"]: one["width"] / one["relative_width"]
        for one in skill["predictors"]
        if one["relative_width"] is not None
    }
    return {
        "fine_tunes": skill["fine_tunes"],
        "pairs": skill["pairs"],
        "methods": [
            {
                **{name: one[name] for name in ("method", "quantity", "fine_tunes", "covered")},
                "relative_width": one["width"] / ranges[one["quantity"]],
            }
            for one in skill["methods"]
        ],
    }


def shows(data: dict[str, Any]) -> str:
    return (
        f"{data['fine_tunes']} fine-tunes of the packaged aligned model in {data['pairs']} pairs "
        "of datasets, forecast before they were run, with 90 % intervals that are calibrated on "
        "the fine-tunes of all other pairs, whatever their method (T25). (a) Share of intervals "
        "that held what was measured, with its 95 % interval; dashed: what is promised. (b) Their "
        "mean width over the range of what was measured of all; dashed: a third."
    )


def claims(data: dict[str, Any]) -> list[Claim]:
    rows = data["methods"]
    low = [one for one in rows if one["covered"]["upper"] < _LEVEL]
    least = min(rows, key=lambda one: one["covered"]["estimate"])
    wide = max(rows, key=lambda one: one["relative_width"])
    narrow = [one for one in rows if one["relative_width"] <= _RANGE]
    return [
        Claim(
            "T25, that the intervals of no method hold less often than 90 % by more than chance,",
            not low,
            f"the fewest are {least['covered']['estimate']:.0%} of {least['fine_tunes']} for "
            f"{least['quantity']} with {least['method']} (at most "
            f"{least['covered']['upper']:.0%})",
        ),
        Claim(
            "T25, that the mean width is at most a third of the range with every method,",
            len(narrow) == len(rows),
            f"it is in {len(narrow)} of {len(rows)} cases; the widest is "
            f"{wide['relative_width']:.0%} for {wide['quantity']} with {wide['method']}",
        ),
    ]


def draw(data: dict[str, Any]) -> Figure:
    methods = sorted({one["method"] for one in data["methods"]})
    figure = style.new_figure(height=1.3 + 0.42 * len(methods))
    coverage, width = figure.subplots(1, 2, sharey=True)
    for quantity, (colour, marker, off) in _LOOKS.items():
        rows = [one for one in data["methods"] if one["quantity"] == quantity]
        places = [methods.index(one["method"]) + off for one in rows]
        held = 100 * np.transpose(
            [[one["covered"][end] for end in ("estimate", "lower", "upper")] for one in rows]
        )
        look = {"fmt": marker, "ms": 5, "lw": 0.9, "color": colour}
        coverage.errorbar(held[0], places, xerr=style.bars(held), label=quantity, **look)
        width.plot(
            [100 * one["relative_width"] for one in rows], places, marker, ms=5, color=colour
        )
    counts = {one["method"]: one["fine_tunes"] for one in data["methods"]}
    coverage.set_yticks(range(len(methods)), [f"{name}: {counts[name]}" for name in methods])
    coverage.set_ylim(len(methods) - 0.5, -0.5)
    coverage.set_xlim(-4, 104)
    widest = max(_RANGE, *(one["relative_width"] for one in data["methods"]))
    width.set_xlim(0, 108 * widest)
    for axes in (coverage, width):
        style.few_ticks(axes.xaxis, axes.get_xlim())
    coverage.axvline(100 * _LEVEL, color=style.MUTED, lw=0.8, ls="--", zorder=0)
    width.axvline(100 * _RANGE, color=style.MUTED, lw=0.8, ls="--", zorder=0)
    coverage.set_xlabel("intervals that held (%)")
    coverage.set_ylabel("method (fine-tunes)")
    width.set_xlabel("mean width / range (%)")
    figure.legend(loc="outside upper center", ncols=2)
    style.panel_letter(coverage, "a", "coverage")
    style.panel_letter(width, "b", "width")
    return figure
