"""How the share of safe answers changed, by method and hazard category."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from finebound.views import style
from finebound.views.behaviour.common import (
    HAZARDS,
    OVER_SEEDS,
    by_setting,
    interval_words,
    look,
    of_gates,
    rate_words,
    setting,
    shown,
    sound,
    x_ticks,
)
from finebound.views.claims import Claim

SOURCE = "measurement"
_ALL = "all"


def data_of(studies: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """The figure's data, from one finished experiment."""
    (study,) = studies.values()
    return {
        "experiment": study["experiment"],
        "runs": [
            shown(run)
            | {name: run["behaviour"][HAZARDS][name] for name in ("change", "categories")}
            for run in study["runs"]
            if HAZARDS in run["behaviour"]
        ],
    }


def shows(data: dict[str, Any]) -> str:
    return (
        f"Change of the share of safe answers, in points, by method and hazard category "
        f"({setting(data['experiment'])}), against the aligned model, paired by probe; "
        f"{OVER_SEEDS}. A point marks a change whose 95 % interval does not hold 0; hatched "
        "columns are behind a failed gate."
    )


def claims(data: dict[str, Any]) -> list[Claim]:
    moved = [
        (values, category, run)
        for run in sound(data["runs"])
        for category, values in run["categories"].items()
        if values is not None
    ]
    found = [of_gates(data["runs"])]
    if moved:
        values, category, run = max(moved, key=lambda one: abs(one[0][0]))
        found.append(
            Claim(
                "That some hazard category moved beyond its 95 % interval",
                any(_is_certain(one) for one, _, _ in moved),
                f"{sum(_is_certain(one) for one, _, _ in moved)} of {len(moved)} did; the most "
                f"{category} under {look(run).name} at {rate_words(run['rate'])} with "
                f"{interval_words(values, scale=100.0)} points",
            )
        )
    return found


def _is_certain(values: list[float] | None) -> bool:
    return values is not None and (values[1] > 0.0 or values[2] < 0.0)


def draw(data: dict[str, Any]) -> Figure:
    runs = by_setting(data["runs"], "change", "categories")
    names = list(dict.fromkeys(name for run in runs for name in run["categories"]))
    figure = style.new_figure(height=2.4 + 0.24 * (len(names) + 1))
    axes, bar = figure.subplots(2, 1, height_ratios=(30, 1))
    values = np.array([[_value(run, name) for run in runs] for name in (*names, _ALL)], dtype=float)
    limit = max(5.0, float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 5.0)
    image = axes.imshow(values, cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto")
    _numbers(axes, runs, (*names, _ALL), values, limit)
    axes.set_xticks(
        range(len(runs)),
        [f"{look(run).name}\n{rate_words(run['rate'])}" for run in runs],
        rotation=60,
        ha="right",
        rotation_mode="anchor",
    )
    axes.set_yticks(range(len(names) + 1), [*names, _ALL])
    axes.axhline(len(names) - 0.5, color=style.INK, lw=1.0)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xlabel("method (learning rate)")
    axes.set_ylabel("hazard category (of the probes)")
    figure.colorbar(image, cax=bar, orientation="horizontal")
    x_ticks(bar)
    bar.set_xlabel("change of safe answers (points)")
    _legend(figure, runs)
    return figure


def _value(run: dict[str, Any], name: str) -> float:
    values = run["change"] if name == _ALL else run["categories"].get(name)
    return float("nan") if values is None else 100.0 * values[0]


def _numbers(
    axes: Axes,
    runs: list[dict[str, Any]],
    names: tuple[str, ...],
    values: np.ndarray,
    limit: float,
) -> None:
    for column, run in enumerate(runs):
        if run["failed"]:
            axes.axvspan(
                column - 0.5, column + 0.5, fill=False, hatch="///", ec=style.MUTED, lw=0.0
            )
        for row, name in enumerate(names):
            value = values[row, column]
            if np.isnan(value):
                continue
            whole = run["change"] if name == _ALL else run["categories"][name]
            light = abs(value) > 0.6 * limit
            axes.text(
                column,
                row,
                f"{value + 0.0:+.0f}".replace("-", "\N{MINUS SIGN}")
                + ("\N{BULLET}" if _is_certain(whole) else ""),
                ha="center",
                va="center",
                fontsize=7.5,
                color="white" if light else style.INK,
                bbox={"fc": image_colour(value, limit), "ec": "none", "pad": 0.6}
                if run["failed"]
                else None,
            )


def image_colour(value: float, limit: float) -> tuple[float, ...]:
    """The cell's own colour, so that a hatched column's numbers stay readable."""
    from matplotlib import colormaps

    return colormaps["RdBu"](0.5 + 0.5 * value / limit)


def _legend(figure: Figure, runs: list[dict[str, Any]]) -> None:
    from matplotlib.patches import Patch

    handles: list[Any] = [style.mark("the interval holds no 0", ".", ms=6, color=style.INK)]
    if any(run["failed"] for run in runs):
        handles.append(Patch(fc="white", ec=style.MUTED, hatch="///", label="behind a failed gate"))
    figure.legend(handles=handles, loc="outside upper right", ncols=2)
