"""What the figures of methods and behaviour share: an experiment in numbers, looks, claims."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from finebound.base.errors import InputError
from finebound.results.behaviour import Bias
from finebound.results.experiment import DoneRun, ExperimentResult
from finebound.results.result import Known
from finebound.results.spans import Span
from finebound.views import style
from finebound.views.claims import Claim
from finebound.views.style import few_ticks, hollow_handle

HAZARDS, REFUSAL, TRANSLATION, BBQ = "hazards", "refusal", "translation", "bbq"

PURPLE, SKY, BROWN = "#CC79A7", "#56B4E9", "#7A5C2E"
_LOOKS = {
    "full": ("full weights", style.INK, "s"),
    "lora": ("LoRA", style.BLUE, "o"),
    "qlora": ("QLoRA", SKY, "v"),
    "ia3": ("IA3", style.GREEN, "D"),
    "prompt-tuning": ("Prompt-Tuning", style.ORANGE, "^"),
    "prompt-text": ("Prompt-Tuning from a text", BROWN, "<"),
    "p-tuning": ("P-Tuning", style.RED, "P"),
}
OVER_SEEDS = "averaged over seeds, without those behind a failed gate unless all are"
"""Of what ``by_setting`` gives, for a caption."""
_HELD_OUT = "safety.held-out"
_DEFAULT_RATE = 2e-4


@dataclass(frozen=True)
class Look:
    """How a method is called and drawn; one trained by DPO has a star of its method's colour."""

    name: str
    colour: str
    mark: str


def look(run: dict[str, Any]) -> Look:
    name, colour, mark = _LOOKS[run["kind"]]
    if run["objective"] != "dpo":
        return Look(name, colour, mark)
    return Look("DPO", PURPLE, "*") if run["kind"] == "full" else Look(f"{name} DPO", colour, "*")


def has_behaviour(result: ExperimentResult) -> bool:
    """Whether an experiment has a finished run and its behaviour."""
    return bool(result.done) and result.behaviour is not None


def study_of(result: ExperimentResult, *, folder: Path, remedy: str) -> dict[str, Any]:
    """A finished experiment: what made it, and its runs in numbers.

    Raises InputError, with the folder and the remedy, for one without behaviour.
    """
    done = result.done
    if not done or result.behaviour is None:
        raise InputError("holds no run with its behaviour.", remedy=remedy, file=folder)
    return {
        "experiment": {
            "model": result.model,
            "rows": {name: entry.rows for name, entry in result.sets.items()},
            "runs_done": len(done),
            "runs_planned": len(result.runs),
            "steps": max(run.steps for run in done),
        },
        "runs": [run_of(run) for run in done],
        "correlations": {
            name: entry.passed.to_dict() for name, entry in result.behaviour.correlations.items()
        },
    }


def costs_of(studies: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """What the figures of cost against capability are drawn from: one finished experiment."""
    (study,) = studies.values()
    return {
        "experiment": study["experiment"],
        "runs": [shown(run, "safety", "gain", "path", "start") for run in study["runs"]],
    }


def shown(run: dict[str, Any], *more: str) -> dict[str, Any]:
    """The entries of a run that every figure draws, and ``more`` of them."""
    keys = ("id", "kind", "objective", "rate", "seed", "failed", *more)
    return {key: run[key] for key in keys}


def run_of(run: DoneRun) -> dict[str, Any]:
    """A finished run in numbers; an interval is ``[estimate, lower, upper]``.

    ``path`` is ``[gain, safety rise]`` at every checkpoint, from the run's own start.
    """
    given = run.given
    return {
        "id": run.id,
        "method": run.method,
        "kind": _kind(given.get("method", {"kind": "lora"})),
        "objective": given.get("objective", {"kind": "sft"})["kind"],
        "rate": given.get("learning_rate", _DEFAULT_RATE),
        "seed": run.seed,
        "failed": run.failed_gates,
        "safety": _flat(run.safety),
        "gain": _flat(run.capability),
        "path": _path(run),
        "start": run.own_start and _flat(run.own_start.safety),
        "behaviour": {
            name: {
                **{who: _flat(getattr(entry, who)) for who in _SPANS},
                "categories": {
                    category: _flat(cells.change) for category, cells in entry.categories.items()
                },
                **({"bias": _bias(entry.bias)} if entry.bias else {}),
                "checkpoints": [[c.fraction, c.mean.estimate] for c in entry.checkpoints],
            }
            for name, entry in (run.behaviour or {}).items()
            if entry.change is not None
        },
    }


def _kind(method: dict[str, Any]) -> str:
    """A method's kind; virtual tokens that start at a text are another one than random ones."""
    return "prompt-text" if method.get("init") == "text" else method["kind"]


_SPANS = ("end", "theta_s", "start", "change", "start_change")


def _path(run: DoneRun) -> list[list[float]]:
    task = f"task.{run.task}.held-out"
    points = []
    for checkpoint in run.checkpoints:
        change = checkpoint.loss_change
        if checkpoint.step == 0 and run.own_start is not None:
            change = run.own_start.loss_change
        if task in change and _HELD_OUT in change:
            points.append([-_number(change[task]), _number(change[_HELD_OUT])])
    return points


def _number(value: Known) -> float:
    return math.nan if value is None else value


def _flat(span: Span | None) -> list[float] | None:
    if span is None or span.estimate is None:
        return None
    return [span.estimate, *map(float, span.interval)]


def _bias(found: Bias) -> dict[str, Any]:
    means = found.mean_absolute_ambiguous
    return {
        "change": _number(means["end"]) - _number(means["theta_s"]),
        "categories": {
            category: {
                condition: {who: _flat(getattr(cell, who)) for who in ("end", "theta_s", "start")}
                for condition, cell in conditions.items()
            }
            for category, conditions in found.categories.items()
        },
    }


def sound(runs: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The runs that passed every gate."""
    return [run for run in runs if not run["failed"]]


def in_order(runs: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """By method in the order of the palette, supervised before DPO, then by rate and seed."""
    kinds = list(_LOOKS)
    return sorted(
        runs,
        key=lambda r: (r["objective"] == "dpo", kinds.index(r["kind"]), r["rate"], r["seed"]),
    )


def by_setting(runs: Iterable[dict[str, Any]], *keys: str) -> list[dict[str, Any]]:
    """One entry a method, objective and rate: ``keys`` averaged over its seeds, in order.

    Seeds behind a failed gate are left out, unless all are.
    """
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for run in in_order(runs):
        groups.setdefault((run["kind"], run["objective"], run["rate"]), []).append(run)
    members = [sound(group) or group for group in groups.values()]
    return [
        mine[0] | {key: _average([run[key] for run in mine]) for key in keys} for mine in members
    ]


def _average(values: Sequence[Any]) -> Any:
    """The mean, entry by entry, of numbers, lists or objects of them; None is left out."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    if isinstance(known[0], dict):
        names = dict.fromkeys(name for value in known for name in value)
        return {name: _average([value.get(name) for value in known]) for name in names}
    if isinstance(known[0], list):
        return np.mean(known, axis=0).tolist()
    return float(np.mean(known))


def rate_words(rate: float) -> str:
    """A learning rate as people write it: 5e-3."""
    digits, power = f"{rate:.1e}".split("e")
    return f"{float(digits):g}e{int(power)}"


def setting(about: dict[str, Any]) -> str:
    """The model and the size of the experiment, for a caption."""
    return (
        f"{about['model']}, {about['steps']} steps; {about['runs_done']} of "
        f"{about['runs_planned']} planned runs finished"
    )


def dot(
    axes: Axes,
    run: dict[str, Any],
    x: Sequence[float],
    y: Sequence[float],
    *,
    scale: float = 1.0,
    ms: float = 5.0,
    colour: str | tuple[float, float, float] | None = None,
    mark: str | None = None,
) -> None:
    """A run at ``x`` and ``scale y``, ``[estimate, lower, upper]``; hollow behind a failed gate.

    ``colour`` and ``mark`` are the method's own where not given.
    """
    own = look(run)
    mark, colour, height = mark or own.mark, colour or own.colour, scale * np.array(y)
    axes.errorbar(
        x[0],
        height[0],
        xerr=style.bars(x),
        yerr=style.bars(height),
        fmt=mark,
        ms=ms + 2.0 * (mark == "*"),
        lw=0.6,
        color=colour,
        mfc="white" if run["failed"] else colour,
        mew=1.0,
    )


def panels_of(count: int, columns: int, *, head: float, row: float) -> tuple[Figure, np.ndarray]:
    """A figure of ``count`` panels in rows of ``row`` inches below ``head`` inches, ``[r, c]``."""
    columns = min(columns, count)
    rows = -(-count // columns)
    figure = style.new_figure(height=head + row * rows)
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes in panels.flat[count:]:
        axes.remove()
    return figure, panels


def legend(figure: Figure, runs: Iterable[dict[str, Any]], *, extra: Sequence[Any] = ()) -> None:
    """The methods that are drawn, and what hollow means if some run is."""
    runs = list(runs)
    shown = dict.fromkeys(look(run) for run in in_order(runs))
    handles = [style.mark(one.name, one.mark, color=one.colour) for one in shown]
    handles += hollow_handle(runs)
    figure.legend(handles=[*handles, *extra], loc="outside upper center", ncols=4)


def of_gates(runs: Sequence[dict[str, Any]]) -> Claim:
    """That every run passed its gates; else which gates threw out how many."""
    failed: dict[str, int] = {}
    for run in runs:
        for name in run["failed"]:
            failed[name] = failed.get(name, 0) + 1
    behind = len(runs) - len(sound(runs))
    told = ", ".join(f"{name} {count}" for name, count in sorted(failed.items()))
    return Claim(
        "That every run passes its gates",
        not behind,
        f"{behind} of {len(runs)} runs are behind a failed one" + (f" ({told})" if told else ""),
    )


def costs_more(
    statement: str, low: dict[str, Any], high: dict[str, Any], at: tuple[str, str]
) -> Claim:
    """That ``high`` costs more safety than ``low``, beyond both intervals; ``at`` says where."""
    return Claim(
        statement,
        high["safety"][1] > low["safety"][2],
        f"{interval_words(low['safety'])} nats/token at {at[0]}, "
        f"{interval_words(high['safety'])} at {at[1]}",
    )


def interval_words(values: Sequence[float], *, scale: float = 1.0) -> str:
    """``+0.1 (-0.2 to +0.3)``."""
    estimate, low, high = (scale * value for value in values)
    return f"{estimate:+.3g} ({low:+.3g} to {high:+.3g})"


def x_ticks(axes: Axes) -> None:
    """Few ticks within the limits of an axis whose other one has names."""
    low, high = axes.get_xlim()
    axes.set_xlim(low, high)
    few_ticks(axes.xaxis, (low, high))
