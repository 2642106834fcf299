"""Safety against capability of real fine-tunes under every strategy, and T17's envelope."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from finebound.views import style
from finebound.views.claims import Claim
from finebound.views.style import fixed_ticks, hollow_handle, zero_lines
from paper_figures.finetuned import (
    PROXY_COLOURS,
    gates_note,
    main_task,
    of_findings,
    read_finetuned,
    run_of,
    setting,
)

SOURCE = "measurement"

_MARKS = {"none": "D", "loss": "o", "parameter": "s", "hybrid": "^", "soft": "v"}
_WORDS = {
    "none": "unconstrained",
    "loss": "Case I",
    "parameter": "Case II",
    "hybrid": "hybrid",
    "soft": "soft Case II",
}
_STARTS: dict[str, str] = dict.fromkeys(("b", "b'", "c", "c'"), "That these runs confirm that")
# Nats per token: losses are float32 forward passes.
_ROUNDING = 1e-5


def record(seed: int) -> dict[str, Any]:
    """Loss changes of every run and T17's envelopes; ``seed`` is the experiment's own."""
    result, about = read_finetuned()
    return {
        "experiment": about,
        "runs": [run_of(run) for run in result.done],
        "envelopes": [
            entry.model_dump(include={"task", "proxy", "runs", "envelope"})
            for entry in result.envelopes
        ],
        "findings": [f.to_dict() for f in result.findings if f.finding in _STARTS],
    }


def _shown(data: dict[str, Any]) -> dict[str, Any]:
    """The envelope that the most runs make."""
    return max(data["envelopes"], key=lambda entry: len(entry["runs"]))


def shows(data: dict[str, Any]) -> str:
    shown = _shown(data)
    return (
        f"Real fine-tunes under every strategy ({setting(data['experiment'])}). (a) Changes of the "
        "held-out safety and task losses from the aligned model (the cross at 0), with paired "
        "95 % bootstrap intervals over rows; colour: the proxy, or none in black; lines join the "
        "lambdas or radii of one sweep. "
        f"(b) On the training sets, exact: the {shown['proxy']} proxy's and the {shown['task']} "
        "task's loss of the unconstrained and Case I runs. By T17 no weights of this adapter reach "
        "the grey region, if no run is further above the minimum of its own objective than the "
        "other runs prove." + gates_note(data["runs"], "Hollow")
    )


def claims(data: dict[str, Any]) -> list[Claim]:
    slacks = [(run["slack"], run["id"]) for entry in data["envelopes"] for run in entry["runs"]]
    worst, name = max(slacks)
    beaten = sum(slack > _ROUNDING for slack, _ in slacks)
    told = f", the worst ({name}) by at least {worst:.3g} nats/token" if beaten else ""
    return [
        Claim(
            "T17's premise, that every run is at the minimum of its objective as far as the "
            "others can tell,",
            beaten == 0,
            f"{beaten} of {len(slacks)} runs in {len(data['envelopes'])} envelopes are beaten on "
            f"their own objective{told}",
        ),
        *of_findings(data["findings"], _STARTS),
    ]


def draw(data: dict[str, Any]) -> Figure:
    figure = style.new_figure(height=3.7)
    plane, proven = figure.subplots(1, 2)
    _plane(plane, data)
    _envelope(proven, _shown(data))
    _legend(figure, data)
    return figure


def _plane(axes: Axes, data: dict[str, Any]) -> None:
    zero_lines(axes, cross=True)
    for sweep in _sweeps(data["runs"]):
        x, y = (np.array([run[key] for run in sweep], float).T for key in ("safety", "task_change"))
        axes.errorbar(
            x[0],
            y[0],
            xerr=style.bars(x),
            yerr=style.bars(y),
            fmt=f"-{_MARKS[sweep[0]['kind']]}",
            color=PROXY_COLOURS.get(sweep[0]["proxy"], style.INK),
            ms=4.6,
            mew=0,
            lw=1.0,
            elinewidth=0.5,
        )
        for run in sweep:
            if run["failed"]:
                colour = PROXY_COLOURS.get(run["proxy"], style.INK)
                mark = _MARKS[run["kind"]]
                at = run["safety"][0], run["task_change"][0]
                axes.plot(*at, mark, ms=4.6, mfc="white", mec=colour, mew=1.0, zorder=3)
    main = main_task(data["runs"])
    others = sorted(
        (run for run in data["runs"] if run["task"] != main), key=lambda run: run["task_change"][0]
    )
    for number, run in enumerate(others):
        # The lowest one's name right below it and the next one's left above: they may be close.
        axes.annotate(
            run["task"],
            (run["safety"][0], run["task_change"][0]),
            xytext=(-5, 5) if number % 2 else (5, -11),
            ha="right" if number % 2 else "left",
            textcoords="offset points",
        )
    fixed_ticks(axes)
    style.panel_letter(axes, "a", f"held out ({main} where not named)")
    axes.set_xlabel("change of the safety loss (nats/token)")
    axes.set_ylabel("change of the task loss (nats/token)")


def _sweeps(runs: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Runs that differ in lambda or the radius alone, in its order."""
    found: dict[tuple, list[dict[str, Any]]] = {}
    for run in runs:
        key = (run["task"], run["kind"], run["proxy"], run["kind"] == "none" and run["id"])
        found.setdefault(key, []).append(run)
    return [
        sorted(group, key=lambda run: (run["lam"] or 0.0, run["radius"] or 0.0))
        for group in found.values()
    ]


def _envelope(axes: Axes, shown: dict[str, Any]) -> None:
    runs = sorted(shown["runs"], key=lambda run: run["lam"])
    x, y = (np.array([run[name] for run in runs]) for name in ("proxy_loss", "task_loss"))
    wide, high = (0.25 * max(float(np.ptp(values)), 1e-3) for values in (x, y))
    grid = np.linspace(x.min() - wide, x.max() + wide, 201)
    lams, intercepts = (np.array(shown["envelope"][name], float) for name in ("lam", "intercept"))
    edge = (intercepts - lams * grid[:, None]).max(axis=1)
    floor = y.min() - 2.0 * high
    axes.fill_between(grid, floor, np.maximum(edge, floor), color=style.MUTED, alpha=0.25, lw=0)
    axes.plot(grid, edge, color=style.MUTED, lw=1.2)
    for run in runs:
        free = run["lam"] == 0.0
        axes.plot(
            run["proxy_loss"],
            run["task_loss"],
            _MARKS["none" if free else "loss"],
            ms=5.5,
            color=style.INK if free else PROXY_COLOURS.get(shown["proxy"], style.INK),
        )
        axes.annotate(
            rf"$\lambda$ {run['lam']:g}",
            (run["proxy_loss"], run["task_loss"]),
            xytext=(6, 3),
            textcoords="offset points",
        )
    axes.set_xlim(grid[0], grid[-1])
    axes.set_ylim(floor, y.max() + high)
    fixed_ticks(axes)
    style.panel_letter(axes, "b", "what the runs prove (T17)")
    axes.set_xlabel(f"loss of the {shown['proxy']} proxy (nats/token)")
    axes.set_ylabel("training task loss (nats/token)")


def _legend(figure: Figure, data: dict[str, Any]) -> None:
    plain: dict[str, Any] = {"ls": "none", "ms": 4.6}
    kinds = {run["kind"] for run in data["runs"]}
    proxies = {run["proxy"] for run in data["runs"]}
    handles = [
        style.key(word, marker=_MARKS[kind], color=style.INK, **plain)
        for kind, word in _WORDS.items()
        if kind in kinds
    ]
    handles += [
        style.key(proxy, color=colour, lw=2.2)
        for proxy, colour in PROXY_COLOURS.items()
        if proxy in proxies
    ]
    handles += hollow_handle(data["runs"])
    figure.legend(handles=handles, loc="outside upper center", ncols=4)
