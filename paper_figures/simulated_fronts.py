"""Trained toy models on the exact fronts of theory, over overlap and disagreement (T3, T10)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from finebound.views import style
from finebound.views.claims import Claim
from paper_figures.gaps import root_dots, root_ticks

SOURCE = "measurement"

_OVERLAPS = (0.2, 0.5, 0.8)
_DISAGREEMENTS = (0.25, 0.5, 0.8)
_LAMS = (0.1, 0.3, 1.0, 3.0, 10.0)
_CURVE = np.geomspace(1e-3, 1e3, 41)
_INSTANCES = 12
_TICKS = ((0.0, 0.01, 0.05, 0.1, 0.2), (0.0, 0.05, 0.2, 0.4, 0.6), (0.0, 0.1, 0.5, 1.0, 1.5))
_LOOKS = {"tabular": (style.BLUE, "o", 5.6), "MLP": (style.ORANGE, "x", 4.2)}


def record(seed: int) -> dict[str, Any]:
    """Mean gaps of trained models at each lambda, and the mean exact fronts, nats."""
    import jax

    from sims.findings.ensemble import Lab
    from sims.findings.finding import columns
    from sims.finetune import Plan
    from sims.models.mlp import MLP
    from sims.models.table import Table
    from theory.exact import frontier

    cells = [(tau, overlap) for tau in _DISAGREEMENTS for overlap in _OVERLAPS]
    tau, overlap = np.repeat(np.array(cells), _INSTANCES, axis=0).T
    labs = {
        "tabular": Lab(Table(), Plan(400, 0.3), chunk=180),
        "MLP": Lab(MLP(), Plan(400, 0.03), chunk=180),
    }
    keys = jax.random.split(jax.random.key(seed), _INSTANCES)[np.tile(range(_INSTANCES), 9)]
    lams = np.array(_LAMS)
    instances: list[dict[str, Any]] = [
        {"disagreement": tau, "overlap": overlap} for tau, overlap in cells
    ]
    made = {
        name: lab.ensemble_of(keys, overlap=overlap, disagreement=tau) for name, lab in labs.items()
    }
    # Both classes on the same pairs, those drawn with the network's features.
    made["tabular"] = made["tabular"].replaced(**made["MLP"].problem.pair._asdict())
    problem = made["MLP"].tables()
    least, front = frontier(problem, lams), frontier(problem, _CURVE)
    parts = [slice(k * _INSTANCES, (k + 1) * _INSTANCES) for k in range(len(cells))]
    for cell, rows in zip(instances, parts, strict=True):
        cell["front_safety"] = front.safety_gap[rows].mean(axis=0).tolist()
        cell["front_capability"] = front.capability_gap[rows].mean(axis=0).tolist()
    for name, ensemble in made.items():
        gaps = ensemble.finetuned(lam=lams).gaps
        paid = (gaps.task + lams * gaps.safety) / (least.capability_gap + lams * least.safety_gap)
        for cell, rows in zip(instances, parts, strict=True):
            cell[name] = {
                "safety_gap": columns(gaps.safety[rows]),
                "capability_gap": columns(gaps.task[rows]),
                "least_ratio": float(paid[rows].min()),
                "largest_ratio": float(paid[rows].max()),
            }
    return {"lams": list(_LAMS), "instances_each": _INSTANCES, "cells": instances}


def shows(data: dict[str, Any]) -> str:
    return (
        f"Means over {data['instances_each']} random instances of the safety and the capability "
        "gap, after fine-tuning under a loss constraint with a perfect proxy at lambda from "
        f"{data['lams'][0]:g} to {data['lams'][-1]:g}; bars are 95 % t intervals over instances. "
        "Lines: the mean of the exact fronts (T3, T10a), which is the front of the instances taken "
        "together. Rows by the disagreement tau of the teachers on shared contexts, columns by the "
        "mass of those contexts; the axes are the same within a row."
    )


def claims(data: dict[str, Any]) -> list[Claim]:
    cells = data["cells"]
    runs = len(cells) * data["instances_each"] * len(data["lams"])
    below = min(cell[name]["least_ratio"] for cell in cells for name in _LOOKS)
    above = {name: max(cell[name]["largest_ratio"] for cell in cells) for name in _LOOKS}
    ends = {(cell["disagreement"], cell["overlap"]): _level(cell) for cell in cells}
    taus = sorted({tau for tau, _ in ends})
    masses = sorted({mass for _, mass in ends})
    grows = all(ends[tau, a] < ends[tau, b] for tau in taus for a, b in pairwise(masses)) and all(
        ends[a, mass] < ends[b, mass] for mass in masses for a, b in pairwise(taus)
    )
    return [
        Claim(
            "T10(a)",
            below > 1.0 - 1e-9,
            f"of {runs:,} fine-tunes of each class none is below its own front, and the nearest "
            f"has G_f + lambda G_s = {below:.9f} of the least",
        ),
        Claim(
            "T3, that training ends at the closed form,",
            max(above.values()) < 1.01,
            "the farthest fine-tune has "
            + " and ".join(f"{above[name]:.6f} of the least ({name})" for name in _LOOKS),
        ),
        Claim(
            "T3, that the price grows with overlap and with disagreement,",
            grows,
            "at lambda = 1 the mean of G_f + G_s rises in every row and column, from "
            f"{min(ends.values()):.3f} to {max(ends.values()):.3f} nats",
        ),
    ]


def _level(cell: dict[str, Any]) -> float:
    """Mean ``G_f + G_s`` at lambda = 1, the middle of the grid."""
    table = cell["tabular"]
    middle = len(table["safety_gap"]["mean"]) // 2
    return table["safety_gap"]["mean"][middle] + table["capability_gap"]["mean"][middle]


def draw(data: dict[str, Any]) -> Figure:
    figure = style.new_figure(height=6.1)
    panels = figure.subplots(3, 3, sharex="row", sharey="row")
    for axes, letter, cell in zip(panels.flat, "abcdefghi", data["cells"], strict=True):
        _draw_cell(axes, cell)
        style.panel_letter(
            axes, letter, rf"$\tau$ = {cell['disagreement']:g}, overlap {cell['overlap']:g}"
        )
        axes.set_xlabel("safety gap $G_s$ (nats)")
        axes.set_ylabel("capability gap $G_f$ (nats)")
        axes.set_box_aspect(0.75)
    for number, row in enumerate(panels):
        cells = data["cells"][3 * number : 3 * number + 3]
        root_ticks(row[0], _TICKS[number])
        row[0].set_xlim(0.0, 1.06 * np.sqrt(max(max(c["front_safety"]) for c in cells)))
        row[0].set_ylim(0.0, 1.06 * np.sqrt(max(max(c["front_capability"]) for c in cells)))
        for axes in row[1:]:
            axes.set_ylabel("")
    handles = [
        style.mark(f"{name} fine-tunes", marker, color=colour)
        for name, (colour, marker, _) in _LOOKS.items()
    ]
    front = style.key("exact front", color=style.MUTED)
    figure.legend(handles=[front, *handles], loc="outside upper center", ncols=3)
    return figure


def _draw_cell(axes: Axes, cell: dict[str, Any]) -> None:
    axes.plot(np.sqrt(cell["front_safety"]), np.sqrt(cell["front_capability"]), color=style.MUTED)
    for name, (colour, marker, size) in _LOOKS.items():
        root_dots(
            axes,
            cell[name],
            fmt=marker,
            ms=size,
            color=colour,
            elinewidth=0.8,
            mew=1.2 if marker == "x" else 0.0,
            zorder=3,
        )
