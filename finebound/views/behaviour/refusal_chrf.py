"""Refusal against translation quality: methods and learning rates of the translation study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from finebound.views import style
from finebound.views.behaviour.common import (
    REFUSAL,
    TRANSLATION,
    dot,
    in_order,
    interval_words,
    legend,
    look,
    of_gates,
    rate_words,
    setting,
    shown,
    sound,
)
from finebound.views.claims import Claim
from finebound.views.style import fixed_ticks

SOURCE = "measurement"

_SMALLEST, _LARGER = 4.0, 1.6  # points: the mark of the lowest rate, and each higher one's more


def data_of(studies: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """The figure's data, from one finished experiment."""
    (study,) = studies.values()
    runs = []
    for run in study["runs"]:
        if {REFUSAL, TRANSLATION} <= run["behaviour"].keys():
            told = {
                name: {who: run["behaviour"][name][who] for who in ("end", "theta_s", "change")}
                for name in (REFUSAL, TRANSLATION)
            }
            runs.append(shown(run) | told | {"path": _path(run["behaviour"])})
    return {"experiment": study["experiment"], "runs": runs}


def _path(behaviour: dict[str, Any]) -> list[list[float]]:
    """``[chrF, refusal]`` where the run starts and at every checkpoint that has both."""
    start = [behaviour[n]["start"] or behaviour[n]["theta_s"] for n in (TRANSLATION, REFUSAL)]
    chrf, refusal = (dict(behaviour[n]["checkpoints"]) for n in (TRANSLATION, REFUSAL))
    between = [[chrf[at], refusal[at]] for at in sorted(chrf.keys() & refusal.keys())]
    return [[estimate for estimate, *_ in start], *between]


def shows(data: dict[str, Any]) -> str:
    return (
        f"Refusal of harmful prompts against the mean chrF of translations into English "
        f"({setting(data['experiment'])}), with 95 % intervals over items (Wilson, bootstrap). The "
        "cross is the aligned model; lines lead from a run's start through its checkpoints (dots) "
        "to its end, whose mark is larger for a higher learning rate. Hollow: behind a failed gate."
    )


def claims(data: dict[str, Any]) -> list[Claim]:
    found = [of_gates(data["runs"])]
    runs = sound(data["runs"])
    if runs:
        best = max(runs, key=lambda run: run[TRANSLATION]["change"][0])
        change = best[REFUSAL]["change"]
        found.append(
            Claim(
                "That the run that gains the most chrF loses refusal",
                change[2] < 0.0,
                f"{look(best).name} at {rate_words(best['rate'])} gains "
                f"{interval_words(best[TRANSLATION]['change'])} chrF, its refusal changes by "
                f"{interval_words(change, scale=100.0)} points",
            )
        )
    return found


def draw(data: dict[str, Any]) -> Figure:
    figure = style.new_figure(height=4.2, width=6.2)
    axes = figure.subplots()
    runs = in_order(data["runs"])
    sizes = _sizes(runs)
    for run in runs:
        end = [run[TRANSLATION]["end"][0], run[REFUSAL]["end"][0]]
        path = np.array([*run["path"], end]) * (1.0, 100.0)
        axes.plot(*path.T, "-", lw=0.9, color=look(run).colour, alpha=0.5, zorder=1)
        axes.plot(*path[1:-1].T, ".", ms=3, color=look(run).colour, zorder=2)
        ends = run[TRANSLATION]["end"], run[REFUSAL]["end"]
        dot(axes, run, *ends, scale=100.0, ms=sizes[run["rate"]])
    if runs:
        start = runs[0]
        axes.plot(
            start[TRANSLATION]["theta_s"][0],
            100.0 * start[REFUSAL]["theta_s"][0],
            "+",
            ms=11,
            mew=1.8,
            color=style.INK,
        )
    axes.margins(0.1)
    fixed_ticks(axes)
    axes.set_xlabel("mean chrF (0 to 100)")
    axes.set_ylabel("harmful prompts refused (percent)")
    plain: dict[str, Any] = {"ls": "none", "color": style.INK}
    aligned = style.key("aligned model", marker="+", ms=7, **plain)
    rates = [
        style.key(f"rate {rate_words(rate)}", marker="o", ms=size, **plain)
        for rate, size in sizes.items()
    ]
    legend(figure, runs, extra=[aligned, *rates])
    return figure


def _sizes(runs: list[dict[str, Any]]) -> dict[float, float]:
    """The size of the marks of each learning rate, the higher the larger."""
    rates = sorted({run["rate"] for run in runs})
    return {rate: _SMALLEST + _LARGER * place for place, rate in enumerate(rates)}
