"""BBQ's bias by dimension and context, of the aligned model and of every fine-tune."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from finebound.views import style
from finebound.views.behaviour.common import (
    BBQ,
    OVER_SEEDS,
    by_setting,
    legend,
    look,
    of_gates,
    setting,
    shown,
    sound,
    x_ticks,
)
from finebound.views.claims import Claim

SOURCE = "measurement"
_CONDITIONS = ("ambiguous", "disambiguated")
_FIRST, _LAST, _ALIGNED = -0.22, 0.38, -0.38
"""Places within a row: of the first and the last run, and of the aligned model above them."""


def data_of(studies: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """The figure's data, from one finished experiment."""
    (study,) = studies.values()
    return {
        "experiment": study["experiment"],
        "runs": [
            shown(run) | {"bias": run["behaviour"][BBQ]["bias"]["categories"]}
            for run in study["runs"]
            if BBQ in run["behaviour"]
        ],
    }


def shows(data: dict[str, Any]) -> str:
    return (
        f"BBQ's bias scores by method ({setting(data['experiment'])}) and dimension: s_AMB in "
        "ambiguous contexts, s_DIS in disambiguated ones; positive follows the stereotype; "
        f"{OVER_SEEDS}. "
        "Diamonds with bars: the aligned model with its 95 % interval over items. From top to "
        "bottom in each row: the methods in the legend's order, the higher rate lower. Hollow: "
        "behind a failed gate."
    )


def claims(data: dict[str, Any]) -> list[Claim]:
    turned, looked = 0, 0
    for run in sound(data["runs"]):
        for conditions in run["bias"].values():
            for cell in conditions.values():
                if cell["end"] is None or cell["theta_s"] is None:
                    continue
                looked += 1
                certain = all(v[1] > 0.0 or v[2] < 0.0 for v in (cell["end"], cell["theta_s"]))
                turned += certain and cell["end"][0] * cell["theta_s"][0] < 0.0
    found = [of_gates(data["runs"])]
    if looked:
        found.append(
            Claim(
                "That no fine-tune turns a bias around beyond noise",
                turned == 0,
                f"{turned} of {looked} biases changed their sign with both intervals away from 0",
            )
        )
    return found


def draw(data: dict[str, Any]) -> Figure:
    runs = by_setting(data["runs"], "bias")
    names = list(dict.fromkeys(name for run in runs for name in run["bias"]))
    figure = style.new_figure(height=1.3 + 0.42 * len(names))
    panels = figure.subplots(1, 2, sharey=True)
    for axes, letter, condition in zip(panels, "ab", _CONDITIONS, strict=True):
        _panel(axes, runs, names, condition)
        style.panel_letter(axes, letter, f"{condition} contexts")
        axes.set_xlabel(
            r"$s_\mathrm{AMB}$ (no unit)" if letter == "a" else r"$s_\mathrm{DIS}$ (no unit)"
        )
    panels[0].set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    panels[0].set_ylim(len(names) - 0.4, -0.6)
    panels[0].set_ylabel("dimension (of BBQ)")
    aligned = style.key("aligned model", marker="d", ms=6, color=style.INK, lw=1.2)
    legend(figure, runs, extra=[aligned])
    return figure


def _panel(axes: Axes, runs: list[dict[str, Any]], names: list[str], condition: str) -> None:
    places = np.linspace(_FIRST, _LAST, len(runs))
    axes.axvline(0.0, color=style.MUTED, lw=0.6, zorder=0)
    for row, name in enumerate(names):
        if row % 2:
            axes.axhspan(row - 0.5, row + 0.5, color=style.MUTED, alpha=0.08, lw=0, zorder=0)
        start = next(
            (r["bias"][name][condition]["theta_s"] for r in runs if name in r["bias"]), None
        )
        if start is not None:
            place = row + _ALIGNED
            axes.plot(start[1:], [place, place], color=style.INK, lw=1.2, alpha=0.75, zorder=1)
            axes.plot(start[0], place, "d", ms=5, color=style.INK, zorder=2)
        for run, place in zip(runs, places, strict=True):
            end = run["bias"].get(name, {}).get(condition, {}).get("end")
            if end is None:
                continue
            shown = look(run)
            axes.plot(
                end[0],
                row + place,
                shown.mark,
                ms=4.4 + 1.5 * (shown.mark == "*"),
                color=shown.colour,
                mfc="white" if run["failed"] else shown.colour,
                mew=0.9,
                zorder=3,
            )
    axes.set_xlim(-1.05, 1.05)
    x_ticks(axes)
