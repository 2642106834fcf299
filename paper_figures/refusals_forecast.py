"""What was forecast of refusals before real fine-tunes, beside what these then did (T20)."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from finebound.base.errors import InputError
from finebound.base.records import manifest
from finebound.results.evidence import EvidenceResult
from finebound.results.result import Manifest
from finebound.results.skill import LOSS, REFUSALS
from finebound.views import style
from finebound.views.claims import Claim
from finebound.views.style import fixed_ticks
from llm_validation.estimation.evidence import shipped
from llm_validation.estimation.scoring import Judged
from llm_validation.estimation.skill import (
    calibrated_loss,
    calibrated_refusals,
    pair_of,
    skill,
)

SOURCE = "measurement"

_SPEARMAN, _NEAR, _COVERED, _BELOW = 0.9, 0.9, 0.85, 0.4
_METHODS = {"lora": (style.BLUE, "o"), "full": (style.ORANGE, "s"), "ia3": (style.GREEN, "^")}


def the_evidence() -> tuple[EvidenceResult, ...]:
    """Every shipped fine-tune. Raises InputError without any."""
    found = shipped()
    if not found:
        raise InputError(
            "there is no evidence yet.",
            remedy="Run `python -m llm_validation.experiments.evidence --out DIR`.",
        )
    return found


def skill_of_the_evidence(seed: int) -> dict[str, Any]:
    """How its forecasts did, without a manifest: the figure's record has its own."""
    made = Manifest(**manifest(given={}, inputs={}, seed=seed))
    found = skill(the_evidence(), made, seed=seed).to_dict()
    del found["manifest"]
    return found


def record(seed: int) -> dict[str, Any]:
    """Every shipped fine-tune of the evidence; ``seed`` resamples fine-tunes for intervals."""
    found = the_evidence()
    refusals, losses = _rows(calibrated_refusals(found)), _rows(calibrated_loss(found))
    return {
        "skill": skill_of_the_evidence(seed),
        "fine_tunes": [
            {
                "id": one.id,
                "pair": list(pair_of(one)),
                "method": one.plan["method"]["kind"],
                "refusals": {
                    **refusal,
                    "before": one.forecast.refusal.before,
                    "by_likelihood": one.forecast.refusal.by_likelihood,
                    "measured": one.measured.refusal,
                },
                "loss": {**loss, "measured": one.measured.safety_loss_change},
            }
            for one, refusal, loss in zip(found, refusals, losses, strict=True)
        ],
    }


def shows(data: dict[str, Any]) -> str:
    before = data["fine_tunes"][0]["refusals"]["before"]
    return (
        f"{data['skill']['fine_tunes']} fine-tunes of the packaged aligned model in "
        f"{data['skill']['pairs']} pairs of datasets, each forecast before it was run. Forecasts "
        "and their 90 % intervals are calibrated on the fine-tunes of all other pairs (T25). (a) "
        f"Harmful probes refused at temperature 1; the dashed lines are the {before:.0%} of "
        "before. On the line a forecast is right, in the band right to 10 points. Grey crosses are "
        "forecasts from stored answers alone (T22). (b) The change of the loss on the model's own "
        "answers to these probes."
    )


def claims(data: dict[str, Any]) -> list[Claim]:
    rows = {
        (one["quantity"], one["name"], one["calibrated"]): one
        for one in data["skill"]["predictors"]
    }
    number, pairs = data["skill"]["fine_tunes"], data["skill"]["pairs"]
    refusals, loss = (rows[of, "coarse unroll (T20)", True] for of in (REFUSALS, LOSS))
    rho, rho_loss, near = refusals["spearman"], loss["spearman"], refusals["within_ten"]
    covered = refusals["covered"]
    raw, climate = rows[REFUSALS, "coarse unroll (T20)", False], rows[REFUSALS, "climatology", True]
    less = 1.0 - refusals["interval_score"] / climate["interval_score"]
    return [
        Claim(
            "T20, that forecasts rank the changes of refusals and of the safety loss with a "
            f"Spearman correlation of at least {_SPEARMAN:g},",
            min(_known(rho), _known(rho_loss)) >= _SPEARMAN,
            f"{_known(rho):.2f} ({rho['lower']:.2f} to {rho['upper']:.2f}) for refusals and "
            f"{_known(rho_loss):.2f} ({rho_loss['lower']:.2f} to {rho_loss['upper']:.2f}) for the "
            f"loss over {number} fine-tunes",
        ),
        Claim(
            f"T20, that {_NEAR:.0%} of forecasts are right to 10 points,",
            _known(near) >= _NEAR,
            f"{near['estimate']:.0%} of {number} ({near['lower']:.0%} to {near['upper']:.0%}); "
            f"median error {100 * refusals['error']:.0f} points",
        ),
        Claim(
            f"T25, that 90 % intervals hold what was measured in {_COVERED:.0%} of the fine-tunes,",
            _known(covered) >= _COVERED,
            f"{covered['estimate']:.0%} of {number} in {pairs} pairs held, "
            f"{100 * refusals['width']:.0f} points wide on average, "
            f"{100 * raw['width']:.0f} before calibration",
        ),
        Claim(
            f"T25, that the interval score is {_BELOW:.0%} below that of climatology,",
            less >= _BELOW,
            f"{less:.0%} for refusals ({100 * refusals['interval_score']:.0f} and "
            f"{100 * climate['interval_score']:.0f} points)",
        ),
    ]


def _rows(judged: Judged) -> list[dict[str, float]]:
    """What is expected of each fine-tune, and its interval."""
    columns = (column.tolist() for column in judged)
    return [
        {"said": said, "lower": lower, "upper": upper}
        for said, lower, upper in zip(*columns, strict=True)
    ]


def draw(data: dict[str, Any]) -> Figure:
    figure = style.new_figure(height=3.3)
    refusals, losses = figure.subplots(1, 2)
    found = data["fine_tunes"]
    _refusals(refusals, found)
    _losses(losses, found)
    figure.legend(*refusals.get_legend_handles_labels(), loc="outside upper center", ncols=4)
    style.panel_letter(refusals, "a", "refusals after the fine-tune")
    style.panel_letter(losses, "b", "change in safety loss")
    return figure


def _refusals(axes: Axes, found: list[dict[str, Any]]) -> None:
    _points(axes, found, "refusals", scale=100)
    mine = [one["refusals"] for one in found]
    axes.plot(
        [100 * one["measured"] for one in mine],
        [100 * one["by_likelihood"] for one in mine],
        "x",
        ms=3.5,
        color=style.MUTED,
        label="stored answers alone (T22)",
    )
    ends = np.array([0.0, 100.0])
    axes.plot(ends, ends, color=style.INK, lw=0.8, zorder=0)
    axes.fill_between(ends, ends - 10, ends + 10, color=style.MUTED, alpha=0.2, lw=0, zorder=0)
    before = 100 * mine[0]["before"]
    for line in (axes.axvline, axes.axhline):
        line(before, color=style.MUTED, lw=0.7, ls="--", zorder=0)
    axes.set(xlim=(-4, 104), ylim=(-4, 104))
    fixed_ticks(axes)
    axes.set_xlabel("measured: harmful probes refused (%)")
    axes.set_ylabel("forecast (%)")


def _losses(axes: Axes, found: list[dict[str, Any]]) -> None:
    _points(axes, found, "loss")
    ends = [one["loss"][name] for one in found for name in ("lower", "upper", "measured")]
    low, high = min([*ends, 0.0]), max([*ends, 0.0])
    room = 0.08 * (high - low)
    line = np.array([low - room, high + room])
    axes.plot(line, line, color=style.INK, lw=0.8, zorder=0)
    axes.set(xlim=tuple(line), ylim=tuple(line))
    fixed_ticks(axes)
    axes.set_xlabel("measured rise (nats/token)")
    axes.set_ylabel("forecast (nats/token)")


def _points(axes: Axes, found: list[dict[str, Any]], what: str, *, scale: float = 1.0) -> None:
    for method, (colour, mark) in _METHODS.items():
        mine = [one[what] for one in found if one["method"] == method]
        if not mine:
            continue
        rows = [[one["said"], one["lower"], one["upper"]] for one in mine]
        said = scale * np.transpose(rows)
        axes.errorbar(
            [scale * one["measured"] for one in mine],
            said[0],
            yerr=style.bars(said),
            fmt=mark,
            ms=4,
            lw=0.7,
            color=colour,
            label={"lora": "LoRA", "full": "all weights", "ia3": "IA3"}[method],
        )


def _known(limits: dict[str, Any]) -> float:
    return -np.inf if limits["estimate"] is None else float(limits["estimate"])
