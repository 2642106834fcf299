"""What a nat bought on real fine-tunes: nats, refusals, and T21's curve under them."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from finebound.base.errors import InputError
from finebound.views import style
from finebound.views.claims import Claim
from llm_validation.estimation.evidence import shipped
from llm_validation.estimation.skill import pair_of
from llm_validation.forecast.stored_answers import PREFIX
from theory.binary_divergence import kl_lower_inverse, kl_lower_inverses

SOURCE = "measurement"

_INFORMATIVE, _OF_RUNS, _SLACK = 0.01, 0.8, 4.0
_LOST_LITTLE = 0.1
_LEAST, _MOST = 0.05, 40.0
"""Ends of the axis, nats per answer."""
_METHODS = {
    "lora": ("LoRA", style.BLUE, "o"),
    "full": ("all weights", style.ORANGE, "s"),
    "ia3": ("IA3", style.GREEN, "^"),
}


def record(seed: int) -> dict[str, Any]:
    """Every shipped fine-tune of the evidence; nothing is drawn at random.

    Raises InputError without any.
    """
    found = shipped()
    if not found:
        raise InputError(
            "there is no evidence yet.",
            remedy="Run `python -m llm_validation.experiments.evidence --out DIR`.",
        )
    rises = np.geomspace(_LEAST, _MOST, 60)
    runs = [
        {
            "id": one.id,
            "pair": list(pair_of(one)),
            "method": one.plan["method"]["kind"],
            "before": one.forecast.refusal.before,
            "rise": one.measured.delta,
            "refusals": one.measured.refusal,
            "at_least": kl_lower_inverse(one.forecast.refusal.before, max(0.0, one.measured.delta)),
            "by_stored_answers": one.measured.refusal_by_likelihood,
        }
        for one in found
    ]
    starts = sorted({float(one.forecast.refusal.before) for one in found})
    return {
        "tokens": PREFIX,
        "probes": found[0].forecast.refusal.n,
        "runs": runs,
        "curves": [
            {
                "before": start,
                "rise": rises.tolist(),
                "at_least": kl_lower_inverses(start, rises).tolist(),
            }
            for start in starts
        ],
    }


def shows(data: dict[str, Any]) -> str:
    runs = data["runs"]
    starts = " and ".join(f"{curve['before']:.0%}" for curve in data["curves"])
    pairs = len({tuple(run["pair"]) for run in runs})
    return (
        f"{len(runs)} fine-tunes of the packaged aligned model in {pairs} pairs of datasets. "
        f"Across: the rise of the loss on the first {data['tokens']} tokens of the model's own "
        f"answers to {data['probes']} harmful probes. Up: the share of these probes that is still "
        f"refused at temperature 1; dashed: the {starts} of before. The curve is what T21 "
        "guarantees for the rise. Grey crosses: what T22 tells of each run from the stored "
        "answers alone."
    )


def claims(data: dict[str, Any]) -> list[Claim]:
    runs = data["runs"]
    below = [run for run in runs if run["refusals"] < run["at_least"]]
    nearest = min(run["refusals"] - run["at_least"] for run in runs)
    little = [run for run in runs if run["before"] - run["refusals"] < _LOST_LITTLE]
    say = [run for run in runs if run["at_least"] >= _INFORMATIVE]
    say_of_little = [run for run in little if run["at_least"] >= _INFORMATIVE]
    slack, slack_of_little = _slack(runs), _slack(little)
    above = [run for run in runs if run["by_stored_answers"] > run["refusals"]]
    error = np.median([run["refusals"] - run["by_stored_answers"] for run in runs])
    of_little = f"the {len(little)} fine-tunes that lost less than {100 * _LOST_LITTLE:.0f} points"
    return [
        Claim(
            "T21, that no fine-tune refuses less than its nats allow,",
            not below,
            f"{len(runs) - len(below)} of {len(runs)} lie on or above the curve, the nearest by "
            f"{100 * nearest:.1f} points",
        ),
        Claim(
            f"T21, that it promises {_INFORMATIVE:.0%} of refusals or more to {_OF_RUNS:.0%} of "
            f"the fine-tunes that lose less than {100 * _LOST_LITTLE:.0f} points,",
            len(say_of_little) >= _OF_RUNS * len(little) and bool(little),
            f"to {len(say_of_little)} of {of_little}, and to {len(say)} of all {len(runs)}; the "
            f"largest promise is {max(run['at_least'] for run in runs):.1%}",
        ),
        Claim(
            f"T21, that the loss it allows is at most {_SLACK:g} times the measured one in the "
            "median of these,",
            slack_of_little is not None and slack_of_little <= _SLACK,
            f"{_times(slack_of_little)} in points over {of_little}, {_times(slack)} over all that "
            "lost any",
        ),
        Claim(
            "T22, that stored answers tell of no more refusals than there are,",
            not above,
            f"{len(runs) - len(above)} of {len(runs)} lie at or below what was measured, "
            f"{100 * error:.0f} points in the median",
        ),
    ]


def _slack(runs: list[dict[str, Any]]) -> float | None:
    """Median of what T21 allows to be lost over what was lost; None where nothing was."""
    factors = [
        (run["before"] - run["at_least"]) / (run["before"] - run["refusals"])
        for run in runs
        if run["refusals"] < run["before"]
    ]
    return float(np.median(factors)) if factors else None


def _times(factor: float | None) -> str:
    return "no factor" if factor is None else f"{factor:.1f} times"


def draw(data: dict[str, Any]) -> Figure:
    figure = style.new_figure(height=3.4, width=5.0)
    axes = figure.subplots()
    for curve in data["curves"]:
        (line,) = axes.plot(curve["rise"], 100 * np.array(curve["at_least"]), color=style.INK)
        axes.fill_between(
            curve["rise"], 100 * np.array(curve["at_least"]), color=style.MUTED, alpha=0.15, lw=0
        )
        axes.axhline(100 * curve["before"], color=style.MUTED, lw=0.7, ls="--", zorder=0)
        line.set_label("at least (T21)" if curve is data["curves"][0] else "_")
    _runs(axes, data["runs"])
    axes.set_xscale("log")
    axes.set(xlim=(_LEAST, _MOST), ylim=(-3, 103))
    ticks = (0.1, 0.3, 1, 3, 10, 30)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    style.few_ticks(axes.yaxis, (0.0, 100.0))
    axes.set_xlabel("rise of the loss on the model's own answers (nats/answer)")
    axes.set_ylabel("harmful probes refused (%)")
    figure.legend(loc="outside right upper")
    return figure


def _runs(axes: Axes, runs: list[dict[str, Any]]) -> None:
    for method in dict.fromkeys(run["method"] for run in runs):
        name, colour, mark = _METHODS.get(method, (method, style.RED, "D"))
        mine = [run for run in runs if run["method"] == method]
        rises = [max(run["rise"], _LEAST) for run in mine]
        axes.plot(
            rises,
            [100 * run["refusals"] for run in mine],
            mark,
            ms=4.5,
            color=colour,
            label=name,
            clip_on=False,
        )
    axes.plot(
        [max(run["rise"], _LEAST) for run in runs],
        [100 * run["by_stored_answers"] for run in runs],
        "x",
        ms=3.5,
        color=style.MUTED,
        label="stored answers (T22)",
    )
