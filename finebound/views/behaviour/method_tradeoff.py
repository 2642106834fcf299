"""Safety against capability of fine-tuning methods at one learning rate, with their starts."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from finebound.views import style
from finebound.views.behaviour.common import (
    costs_of,
    dot,
    interval_words,
    legend,
    look,
    of_gates,
    rate_words,
    setting,
    sound,
)
from finebound.views.claims import Claim
from finebound.views.style import fixed_ticks, zero_lines

SOURCE = "measurement"
_PANELS = 2

data_of = costs_of


def shows(data: dict[str, Any]) -> str:
    told = " and ".join(rate_words(rate) for rate in _rates(data))
    return (
        f"Fine-tuning methods at one learning rate each panel ({told}; "
        f"{setting(data['experiment'])}): rise of the held-out safety loss against the capability "
        "gained, from the aligned model (the cross at 0), with paired 95 % bootstrap intervals "
        "over rows. A dotted line leads from a start that is not the aligned model: the init-only "
        "control. Hollow: behind a failed gate."
    )


def claims(data: dict[str, Any]) -> list[Claim]:
    found = [of_gates(data["runs"])]
    for rate in _rates(data):
        mine = sorted(sound(_at(data, rate)), key=lambda run: run["safety"][0])
        if len(mine) < 2:
            continue
        least, most = mine[0], mine[-1]
        found.append(
            Claim(
                f"That the method decides the safety loss at the learning rate {rate_words(rate)}",
                least["safety"][2] < most["safety"][1],
                f"from {interval_words(least['safety'])} nats/token ({look(least).name}) to "
                f"{interval_words(most['safety'])} ({look(most).name}) over {len(mine)} runs",
            )
        )
    return found


def _rates(data: dict[str, Any]) -> list[float]:
    """The rates with the most runs, the lower first."""
    counts: dict[float, int] = {}
    for run in data["runs"]:
        counts[run["rate"]] = counts.get(run["rate"], 0) + 1
    return sorted(sorted(counts, key=lambda rate: (-counts[rate], rate))[:_PANELS])


def _at(data: dict[str, Any], rate: float) -> list[dict[str, Any]]:
    return [run for run in data["runs"] if run["rate"] == rate]


def draw(data: dict[str, Any]) -> Figure:
    figure = style.new_figure(height=3.6)
    rates = _rates(data)
    panels = figure.subplots(1, len(rates), squeeze=False)[0]
    for axes, letter, rate in zip(panels, "ab", rates, strict=False):
        _panel(axes, _at(data, rate))
        style.panel_letter(axes, letter, f"learning rate {rate_words(rate)}")
    panels[0].set_ylabel("rise of the safety loss (nats/token)")
    marks = [
        style.mark(label, mark, color=style.INK)
        for mark, label in (("+", "aligned model"), ("x", "a run's own start"))
    ]
    legend(figure, data["runs"], extra=marks)
    return figure


def _panel(axes: Axes, runs: list[dict[str, Any]]) -> None:
    zero_lines(axes, cross=True)
    for run in runs:
        if run["start"] is not None and run["path"]:
            first, last = run["path"][0], (run["gain"][0], run["safety"][0])
            axes.plot(
                *zip(first, last, strict=True), ls=":", lw=1.0, color=look(run).colour, zorder=1
            )
            axes.plot(*first, "x", ms=4.5, color=look(run).colour)
        dot(axes, run, run["gain"], run["safety"])
    axes.margins(0.1)
    fixed_ticks(axes)
    axes.set_xlabel("capability gained (nats/token)")
