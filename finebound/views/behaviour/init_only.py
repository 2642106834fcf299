"""Init-only controls: what a start that is not the aligned model costs before any training."""

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
    REFUSAL,
    by_setting,
    interval_words,
    legend,
    look,
    of_gates,
    rate_words,
    setting,
    shown,
    x_ticks,
)
from finebound.views.claims import Claim

SOURCE = "measurement"


def data_of(studies: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """The figure's data, from finished experiments by name."""
    runs = []
    for study in studies.values():
        for run in study["runs"]:
            if run["start"] is None:
                continue
            name = next((n for n in (HAZARDS, REFUSAL) if n in run["behaviour"]), None)
            entry = run["behaviour"].get(name, {})
            safe = {what: entry.get(what) for what in ("change", "start_change")}
            runs.append(shown(run, "safety", "start") | {"safe": safe})
    return {"experiments": {n: s["experiment"] for n, s in studies.items()}, "runs": runs}


def shows(data: dict[str, Any]) -> str:
    told = "; ".join(f"{name}: {setting(about)}" for name, about in data["experiments"].items())
    return (
        "Init-only controls of every method that does not start at the aligned model: virtual "
        f"tokens, and a base rounded to 4 bits ({told}); {OVER_SEEDS}. Crosses: before the first "
        "step; marks: at the end. (a) Rise of the held-out safety loss, (b) change of the share of "
        "safe answers, both against the aligned model (the line at 0), with 95 % intervals. "
        "Hollow: behind a failed gate."
    )


def claims(data: dict[str, Any]) -> list[Claim]:
    found = [of_gates(data["runs"])]
    if data["runs"]:
        worst = max(data["runs"], key=lambda run: run["start"][0])
        found.append(
            Claim(
                "That a start costs safety before any training",
                worst["start"][1] > 0.0,
                f"at most {interval_words(worst['start'])} nats/token, {look(worst).name}",
            )
        )
    return found


def draw(data: dict[str, Any]) -> Figure:
    runs = by_setting(data["runs"], "safety", "start", "safe")
    figure = style.new_figure(height=1.5 + 0.36 * max(len(runs), 3))
    losses, safe = figure.subplots(1, 2, sharey=True)
    for row, run in enumerate(runs):
        _pair(losses, row, run, run["start"], run["safety"], 1.0)
        _pair(safe, row, run, run["safe"]["start_change"], run["safe"]["change"], 100.0)
    losses.set_yticks(
        range(len(runs)), [f"{look(run).name}, {rate_words(run['rate'])}" for run in runs]
    )
    losses.set_ylim(max(len(runs), 1) - 0.4, -0.6)
    for axes in (losses, safe):
        axes.axvline(0.0, color=style.MUTED, lw=0.6, zorder=0)
        x_ticks(axes)
    style.panel_letter(losses, "a", "safety loss")
    style.panel_letter(safe, "b", "safe answers")
    losses.set_xlabel("rise of the safety loss (nats/token)")
    safe.set_xlabel("change of safe answers (points)")
    losses.set_ylabel("method (learning rate)")
    before = style.mark("before step 1", "x", color=style.INK)
    legend(figure, runs, extra=[before])
    return figure


def _pair(
    axes: Axes,
    row: int,
    run: dict[str, Any],
    start: list[float] | None,
    end: list[float] | None,
    scale: float,
) -> None:
    shown = look(run)
    for values, place, mark, face in (
        (start, row - 0.15, "x", shown.colour),
        (end, row + 0.15, shown.mark, "white" if run["failed"] else shown.colour),
    ):
        if values is None:
            continue
        x = scale * np.array(values)
        axes.plot(x[1:], [place, place], lw=0.8, color=shown.colour)
        axes.plot(x[0], place, mark, ms=5, color=shown.colour, mfc=face, mew=1.0)
