"""What a share of harmful rows in the task costs, and what a defence of the training buys back."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from finebound.results.strategies import settings_label
from finebound.views import style
from finebound.views.behaviour.common import costs_more, interval_words
from finebound.views.claims import Claim
from finebound.views.style import fixed_ticks, hollow_handle
from paper_figures.finetuned import gates_note, read_finetuned, run_of, setting

SOURCE = "measurement"

_LOOKS = {
    "none": ("undefended", style.INK, "o"),
    "loss": ("loss", style.BLUE, "s"),
    "constrained-sft": ("constrained SFT", "#8C564B", "d"),
    "lisa": ("Lisa", "#5E4FA2", "H"),
    "asft": ("AsFT", "#9E0142", "8"),
}
_STEP = 0.12  # between the marks of one share


def record(seed: int) -> dict[str, Any]:
    """Every run's held-out changes beside its share of harmful rows; ``seed`` is the grid's own."""
    result, about = read_finetuned("defence_regimes")
    tasks = result.manifest.given["tasks"]
    runs = [
        run_of(run) | {"share": tasks[run.task]["share"], "settings": settings_label(run.strategy)}
        for run in result.done
    ]
    return {"experiment": about, "runs": runs}


def shows(data: dict[str, Any]) -> str:
    return (
        "Fine-tunes on instructions of which a share is replaced by harmful prompts with "
        f"placeholder compliance ({setting(data['experiment'])}). Changes from the aligned model "
        "on held-out rows, benign ones for the task, with paired 95 % bootstrap intervals over "
        "rows: (a) rise of the safety loss, (b) capability gained."
        + gates_note(data["runs"], "Hollow")
    )


def claims(data: dict[str, Any]) -> list[Claim]:
    free = {run["share"]: run for run in data["runs"] if run["kind"] == "none"}
    found = []
    if len(free) > 1:
        low, high = free[min(free)], free[max(free)]
        at = f"{100 * low['share']:g} % harmful rows", f"{100 * high['share']:g} %"
        statement = "That harmful rows alone cost more safety than benign ones"
        found.append(costs_more(statement, low, high, at))
    for run in data["runs"]:
        if run["kind"] != "none" and run["share"] in free:
            other = free[run["share"]]
            found.append(
                Claim(
                    f"That {_name(run)} costs less safety than no defence at "
                    f"{100 * run['share']:g} % harmful rows",
                    # What fails a gate (no language any more) is not called safe.
                    run["safety"][2] < other["safety"][1] and not run["failed"],
                    f"{interval_words(run['safety'])} instead of "
                    f"{interval_words(other['safety'])} nats/token, with a gain of "
                    f"{-run['task_change'][0]:.3g} instead of {-other['task_change'][0]:.3g}"
                    + "".join(f", behind the failed gate {name}" for name in run["failed"]),
                )
            )
    return found


def _name(run: dict[str, Any]) -> str:
    name = _LOOKS[run["kind"]][0]
    proxy = f", {run['proxy']} proxy" if run["proxy"] else ""
    return f"{name} ({run['settings']}{proxy})" if run["settings"] else name


def draw(data: dict[str, Any]) -> Figure:
    figure = style.new_figure(height=3.0)
    safety, gain = figure.subplots(1, 2)
    shares = sorted({run["share"] for run in data["runs"]})
    for kind, (_, colour, mark) in _LOOKS.items():
        mine = sorted((r for r in data["runs"] if r["kind"] == kind), key=lambda r: r["share"])
        # Beside the undefended one, so that intervals at one share can be read.
        aside = _STEP * list(_LOOKS).index(kind)
        line = "-" if kind == "none" else "none"
        places = [shares.index(run["share"]) + aside for run in mine]
        for axes, values in (
            (safety, [run["safety"] for run in mine]),
            (gain, [-np.array(run["task_change"])[[0, 2, 1]] for run in mine]),
        ):
            axes.plot(places, [v[0] for v in values], ls=line, lw=1.0, color=colour)
            for place, value, run in zip(places, values, mine, strict=True):
                face = "white" if run["failed"] else colour
                look = {"fmt": mark, "ms": 4.5, "elinewidth": 0.9, "color": colour, "mew": 1.0}
                axes.errorbar(place, value[0], yerr=style.bars(value), mfc=face, **look)
    for axes in (safety, gain):
        axes.axhline(0.0, color=style.MUTED, lw=0.6, zorder=0)
        fixed_ticks(axes)
        axes.set_xticks(range(len(shares)), [f"{100 * share:g}" for share in shares])
        axes.set_xlim(-0.3, len(shares) - 0.6)
        axes.set_xlabel("harmful rows in the task (percent)")
    safety.set_ylabel("rise of the safety loss (nats/token)")
    gain.set_ylabel("capability gained (nats/token)")
    style.panel_letter(safety, "a", "safety, held out")
    style.panel_letter(gain, "b", "capability, held out")
    _legend(figure, data["runs"])
    return figure


def _legend(figure: Figure, runs: list[dict[str, Any]]) -> None:
    named = {run["kind"]: _name(run) for run in runs}
    handles = [
        style.mark(named[kind], mark, color=colour)
        for kind, (_, colour, mark) in _LOOKS.items()
        if kind in named
    ]
    handles += hollow_handle(runs)
    figure.legend(handles=handles, loc="outside upper center", ncols=2)
