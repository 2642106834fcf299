"""Each method's learning rates, from its start through its checkpoints to its end."""

from __future__ import annotations

from string import ascii_lowercase
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from finebound.views import style
from finebound.views.behaviour.common import (
    costs_more,
    costs_of,
    dot,
    in_order,
    look,
    of_gates,
    panels_of,
    rate_words,
    setting,
    sound,
)
from finebound.views.claims import Claim
from finebound.views.style import fixed_ticks, hollow_handle, zero_lines

SOURCE = "measurement"
_COLUMNS = 4
_MARKS = "osD^vP"

data_of = costs_of


def shows(data: dict[str, Any]) -> str:
    return (
        f"The learning rates of every method ({setting(data['experiment'])}): rise of the "
        "held-out safety loss against the capability gained, from the run's own start (the small "
        "dot) through its checkpoints to its end (the large mark, with paired 95 % bootstrap "
        "intervals over rows); a darker line is a higher rate. Hollow: behind a failed gate."
    )


def claims(data: dict[str, Any]) -> list[Claim]:
    found = [of_gates(data["runs"])]
    for name, runs in _methods(sound(data["runs"])).items():
        low, high = runs[0], runs[-1]
        if low["rate"] == high["rate"]:
            continue
        statement = f"That a higher learning rate costs {name} more safety"
        at = rate_words(low["rate"]), rate_words(high["rate"])
        found.append(costs_more(statement, low, high, at))
    return found


def _methods(runs: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Runs by their method, each by rate."""
    found: dict[str, list[dict[str, Any]]] = {}
    for run in in_order(runs):
        found.setdefault(look(run).name, []).append(run)
    return found


def draw(data: dict[str, Any]) -> Figure:
    methods = _methods(data["runs"])
    figure, panels = panels_of(len(methods), _COLUMNS, head=0.7, row=2.3)
    rates = sorted({run["rate"] for run in data["runs"]})
    shown = zip(panels.flat, ascii_lowercase, methods.items(), strict=False)
    for axes, letter, (name, runs) in shown:
        zero_lines(axes)
        for run in runs:
            _run(axes, run, rates)
        style.panel_letter(axes, letter, name)
        axes.set_xlabel("gain (nats/token)")
        # A method that collapses would press all others into a point: each has its own scale.
        axes.margins(0.12)
        fixed_ticks(axes)
    for axes in panels[:, 0]:
        axes.set_ylabel("rise of the safety loss (nats/token)")
    _legend(figure, rates, data["runs"])
    return figure


def _shade(rate: float, rates: list[float]) -> tuple[float, float, float]:
    """From light to full blue."""
    share = 1.0 if len(rates) == 1 else 0.35 + 0.65 * rates.index(rate) / (len(rates) - 1)
    red, green, blue = (1.0 - share * (1.0 - channel) for channel in to_rgb(style.BLUE))
    return red, green, blue


def _run(axes: Axes, run: dict[str, Any], rates: list[float]) -> None:
    colour, mark = _shade(run["rate"], rates), _MARKS[rates.index(run["rate"]) % len(_MARKS)]
    path = np.array(run["path"]).reshape(-1, 2)
    axes.plot(path[:, 0], path[:, 1], "-", lw=1.2, color=colour)
    axes.plot(path[:-1, 0], path[:-1, 1], ".", ms=4, color=colour)
    dot(axes, run, run["gain"], run["safety"], colour=colour, mark=mark)


def _legend(figure: Figure, rates: list[float], runs: list[dict[str, Any]]) -> None:
    handles = [
        style.key(
            f"learning rate {rate_words(rate)}",
            color=_shade(rate, rates),
            marker=_MARKS[place % len(_MARKS)],
            ms=5,
        )
        for place, rate in enumerate(rates)
    ]
    handles += hollow_handle(runs)
    figure.legend(handles=handles, loc="outside upper center", ncols=3)
