"""``report.html`` of a whole experiment: what its runs support, every run, behaviour, findings."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from finebound.base.errors import InputError
from finebound.base.integrity import as_written, read_record
from finebound.base.output import number
from finebound.results.strategies import strategy_label
from finebound.views.page_plots import Plot
from finebound.views.template import page_template
from llm_validation.evaluation.fairness.conditions import SCORES
from llm_validation.experiments.advice import Advice, advice
from llm_validation.experiments.behaviour_entries import (
    MEAN_BIAS,
    biases,
    entries_by_condition,
    turned,
)
from llm_validation.experiments.validation import VALIDATION

if TYPE_CHECKING:
    from jinja2 import Template

_SCALE = {"translation": 1.0}
"""Scores that are no shares: those of the others are shown in percent."""
_FACTOR = 100.0
_REMEDY = "Start the experiment again with `finebound validate`: it writes that anew."


def is_experiment(folder: str | Path) -> bool:
    """Whether this is the folder of an experiment, not of one of its runs."""
    return (Path(folder) / VALIDATION).is_file()


def read_advice(folder: str | Path) -> list[Advice]:
    """What the experiment in ``folder`` supports. Raises InputError where none is judged."""
    found = _read(Path(folder))
    with as_written(found, Path(folder) / VALIDATION, remedy=_REMEDY):
        return advice(found)


def experiment_page(folder: str | Path) -> str:
    """The page, from ``validate.json`` alone; every string is escaped.

    Raises InputError where there is no finished experiment.
    """
    folder = Path(folder)
    found = _read(folder)
    with as_written(found, folder / VALIDATION, remedy=_REMEDY):
        return _page(found, folder)


def _page(found: dict[str, Any], folder: Path) -> str:
    done = [run for run in found["runs"] if run["status"] == "done"]
    return _template().render(
        name=found["manifest"]["given"].get("name", folder.name),
        description=found["manifest"]["given"].get("description", ""),
        runs=found["runs"],
        done=done,
        label=lambda run: strategy_label(run["strategy"]),
        failed=_failed,
        evaluations=_evaluations(done),
        biases=[(run, bias) for run in done if (bias := biases(run.get("behaviour")))],
        bias_of=_bias_of,
        behaviour=found.get("behaviour"),
        bias_scores=SCORES,
        scale=lambda name: _SCALE.get(name, _FACTOR),
        plots=[_trade_off(done)] if done else [],
        audits=found.get("audit", {}),
        findings=[f for f in found["findings"] if f["effects"]],
        bounds=found["bounds"],
        advice=advice(found),
        made=_made(found["manifest"]),
    )


def _read(folder: Path) -> dict[str, Any]:
    found = read_record(
        folder / VALIDATION, remedy="Give the folder that `finebound validate` wrote."
    )
    if not isinstance(found.get("runs"), list):
        raise InputError(
            "this is no record of `finebound validate`.",
            remedy="Give the folder that its --out named.",
            file=folder / VALIDATION,
        )
    return found


def _failed(run: Mapping[str, Any]) -> list[str]:
    return [name for name, passed in run["gates"].items() if not passed]


def _evaluations(done: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """By evaluation: the runs that have it, and every category that some run has.

    BBQ is there once for each context condition.
    """
    found: dict[str, dict[str, Any]] = {}
    for run in done:
        for name, entry in entries_by_condition(run.get("behaviour")).items():
            if "change" not in entry:
                continue
            told = found.setdefault(name, {"runs": [], "categories": {}})
            told["runs"].append((run, entry))
            told["categories"] |= dict.fromkeys(entry["categories"])
    return found


def _bias_of(bias: Mapping[str, Any]) -> str:
    """A run's biases in a line: the mean absolute one and the signs that turned."""
    looked, flips, certain = turned(bias)
    means = {who: number(float(mean)) for who, mean in bias[MEAN_BIAS].items()}
    start = f", {means['start']} at its start" if "start" in means else ""
    return (
        f"mean |s_AMB| {means['theta_s']} in the aligned model{start}, {means['end']} at the end; "
        f"{flips} of {looked} biases turned their sign, {certain} beyond noise"
    )


def _trade_off(done: list[dict[str, Any]]) -> Plot:
    """Every run's safety loss against its capability, hollow behind a failed gate."""
    figure = Figure(figsize=(7.2, 3.8), layout="constrained")
    axes = figure.add_subplot()
    methods = list(dict.fromkeys(run["method"] for run in done))
    for place, method in enumerate(methods):
        colour = f"C{place % 10}"
        mine = [run for run in done if run["method"] == method]
        for run in mine:
            x, y = run["capability_gain"], run["safety_gap"]
            across = np.abs(np.array([run["capability_gain_interval"]], dtype=float).T - x)
            along = np.abs(np.array([run["safety_interval"]], dtype=float).T - y)
            axes.errorbar(
                x,
                y,
                xerr=across,
                yerr=along,
                fmt="o",
                ms=5,
                lw=0.7,
                color=colour,
                mfc="white" if _failed(run) else colour,
                label=method if run is mine[0] else None,
            )
    axes.axhline(0.0, color="0.6", linewidth=0.8)
    axes.axvline(0.0, color="0.6", linewidth=0.8)
    axes.set_xlabel("capability gained, nats/token")
    axes.set_ylabel("rise of the safety loss, nats/token")
    figure.legend(frameon=False, fontsize="small", loc="outside right upper")
    return Plot(
        figure,
        "Every run on held-out rows against the aligned model, with 95 % intervals; hollow: a "
        "gate failed.",
    )


def _made(made: Mapping[str, Any]) -> str:
    code = made["code"].get("commit", "unknown")[:12]
    changed = " (changed)" if made["code"].get("dirty") else ""
    versions = ", ".join(f"{name} {version}" for name, version in made["versions"].items())
    return f"Code {code}{changed}; {versions}; {made['machine']}."


@cache
def _template() -> Template:
    filters = {"number": lambda value: value if isinstance(value, str) else number(float(value))}
    return page_template(
        "llm_validation.experiments", "experiment_page.html.j2", filters | {"span": _span}
    )


def _span(entry: Mapping[str, Any] | None, scale: float = 1.0, sign: str = "") -> str:
    """``12.5 [3.1, 20]``; "-" for what was not measured."""
    if entry is None or entry["estimate"] is None:
        return "-"
    low, high = (scale * float(end) for end in entry["interval"])
    return f"{scale * entry['estimate']:{sign}.3g} [{low:{sign}.3g}, {high:{sign}.3g}]"
