"""Safety and task loss of real fine-tunes against lambda, by proxy (T5, the paper's findings)."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from finebound.views import style
from finebound.views.claims import Claim
from finebound.views.style import fixed_ticks
from paper_figures.finetuned import (
    PROXY_COLOURS,
    gates_note,
    of_findings,
    read_finetuned,
    run_of,
    setting,
)

SOURCE = "measurement"

_STARTS = {
    "a": "T5's lower floor for a better proxy: that these runs confirm that",
    "a'": "That these runs confirm that",
    "d-safety": "That these runs confirm that",
    "d-capability": "That these runs confirm that",
}


def record(seed: int) -> dict[str, Any]:
    """Loss changes of one task's unconstrained run and of Case I; ``seed`` is the experiment's."""
    result, about = read_finetuned()
    runs = [run_of(run) for run in result.done]
    lams = Counter(run["task"] for run in runs if run["kind"] == "loss" and run["lam"] is not None)
    task = lams.most_common(1)[0][0]
    return {
        "experiment": about,
        "task": task,
        "runs": [
            run
            for run in runs
            if run["task"] == task
            and (run["kind"] == "none" or (run["kind"] == "loss" and run["lam"] is not None))
        ],
        "findings": [f.to_dict() for f in result.findings if f.finding in _STARTS],
    }


def shows(data: dict[str, Any]) -> str:
    return (
        f"Real fine-tunes on {data['task']} instructions ({setting(data['experiment'])}) against "
        "the strength lambda of the proxy's loss, by who wrote the proxy; lambda = 0 is the "
        "unconstrained run. (a) Change of the safety loss from the aligned model on held-out rows, "
        "with paired 95 % bootstrap intervals over rows, one training seed. (b) The same on the "
        "training sets, exact. (c) Change of the held-out task loss, negative for a gain."
        + gates_note(data["runs"], "Hollow")
    )


def claims(data: dict[str, Any]) -> list[Claim]:
    rose = [run for run in data["runs"] if run["training_safety"] > 0.0]
    both = [run for run in rose if run["safety"][0] > 0.0]
    apart = [run["training_safety"] - run["safety"][0] for run in data["runs"]]
    return [
        *of_findings(data["findings"], _STARTS),
        Claim(
            "That the safety loss rises on held-out rows where it does on the training set",
            len(both) == len(rose),
            f"it rises on the training set in {len(rose)} of {len(data['runs'])} runs and on "
            f"held-out rows too in {len(both)} of these; the two changes differ by "
            f"{min(apart):.2g} to {max(apart):.2g} nats/token",
        ),
    ]


def draw(data: dict[str, Any]) -> Figure:
    figure = style.new_figure(height=2.9)
    safety, training, task = figure.subplots(1, 3)
    lams = sorted({run["lam"] or 0.0 for run in data["runs"]})
    for number, (proxy, colour) in enumerate(PROXY_COLOURS.items()):
        mine = sorted((r for r in data["runs"] if r["proxy"] == proxy), key=lambda r: r["lam"])
        if not mine:
            continue
        # Side by side, so that intervals at one lambda can be read.
        places = [lams.index(run["lam"]) + 0.11 * (number - 1.5) for run in mine]
        look = {"color": colour, "label": proxy}
        _intervals(safety, places, [run["safety"] for run in mine], **look)
        training.plot(places, [run["training_safety"] for run in mine], "-o", ms=4, lw=1.0, **look)
        _intervals(task, places, [run["task_change"] for run in mine], **look)
        _hollow((safety, training, task), places, mine, colour)
    free = [run for run in data["runs"] if run["kind"] == "none"]
    look = {"color": style.INK, "label": "unconstrained"}
    zeros = [0.0] * len(free)
    _intervals(safety, zeros, [run["safety"] for run in free], **look)
    training.plot(zeros, [run["training_safety"] for run in free], "o", ms=4, **look)
    _intervals(task, zeros, [run["task_change"] for run in free], **look)
    _hollow((safety, training, task), zeros, free, style.INK)
    for axes in (safety, training, task):
        axes.axhline(0.0, color=style.MUTED, lw=0.6, zorder=0)
        fixed_ticks(axes)
        axes.set_xticks(range(len(lams)), [f"{lam:g}" for lam in lams])
        axes.set_xlim(-0.4, len(lams) - 0.6)
        axes.set_xlabel(r"penalty strength $\lambda$ (no unit)")
        axes.set_ylabel("change of the loss (nats/token)")
    style.panel_letter(safety, "a", "safety, held out")
    style.panel_letter(training, "b", "safety, training set")
    style.panel_letter(task, "c", "task, held out")
    handles, labels = safety.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return figure


def _hollow(
    panels: tuple[Axes, ...], places: list[float], runs: list[dict[str, Any]], colour: str
) -> None:
    """Empty the marks of the runs behind a failed gate."""
    for place, run in zip(places, runs, strict=True):
        if run["failed"]:
            values = (run["safety"][0], run["training_safety"], run["task_change"][0])
            for axes, value in zip(panels, values, strict=True):
                axes.plot(place, value, "o", ms=4, mfc="white", mec=colour, zorder=3)


def _intervals(axes: Axes, x: list[float], values: list[list[float]], **look: Any) -> None:
    column = np.reshape(values, (-1, 3)).T
    bars = style.bars(column)
    axes.errorbar(x, column[0], yerr=bars, fmt="-o", ms=4, mew=0, lw=1.0, elinewidth=0.9, **look)
