"""How often certificates are wrong, and what violated assumptions do to them (T21 to T24)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from finebound.base.records import spawn_seed
from finebound.views import style
from finebound.views.claims import Claim
from theory.confidence import clopper_pearson

if TYPE_CHECKING:
    from sims.assumptions.common import Experiment
    from sims.certifications import Setting

SOURCE = "measurement"

_RUNS, _LEVEL, _PROBES, _BUDGET = 100_000, 0.05, 120, 0.05
_INSTANCES = 2_000
_ERRORS = 2.0
"""Standard errors of a count by which it may exceed the level."""
_QUANTILES = {"q05": 0.05, "q50": 0.5, "q95": 0.95}
_LEFT, _RIGHT = 0.03, 30.0
"""Ends of the axis of ratios."""


def record(seed: int) -> dict[str, Any]:
    """Wrong certificates of each setting, counted, and ratios with and without each assumption."""
    from sims.assumptions.certificates import EXPERIMENTS

    return {
        "runs": _RUNS,
        "level": _LEVEL,
        "probes": _PROBES,
        "budget": _BUDGET,
        "settings": [
            {"name": name, "valid": valid, "wrong": _wrong(name, setting, seed)}
            for name, (valid, setting) in _settings().items()
        ],
        "assumptions": [_assumption(experiment, seed) for experiment in EXPERIMENTS],
    }


def _settings() -> dict[str, tuple[bool, Setting]]:
    """What a certification may look like, and whether it is one that the statements allow."""
    from sims.certifications import Setting

    def at_the_boundary(**how: Any) -> Setting:
        return Setting(budget=_BUDGET, probes=_PROBES, level=_LEVEL, **how)

    five = (0.1, 0.2, 0.4, 0.7, 1.0)
    return {
        "one model": (True, at_the_boundary(risks=(1.0,))),
        "one model, no answer gained": (True, at_the_boundary(risks=(1.0,), gained=0.0)),
        "one model, noisy answers": (True, at_the_boundary(risks=(1.0,), gained=0.2)),
        "one model, read once": (True, at_the_boundary(risks=(1.0,), stops=False)),
        "two models, alike": (True, at_the_boundary(shared=1.0)),
        "two models, independent": (True, at_the_boundary(shared=0.0)),
        "five models in order": (True, at_the_boundary(risks=five)),
        "goes on behind a failure": (
            False,
            at_the_boundary(risks=(1.0,) * 5, shared=0.0, goes_on=True),
        ),
        "peeks without Ville": (False, at_the_boundary(risks=(1.0,), guard=False)),
    }


def _wrong(name: str, setting: Setting, seed: int) -> int:
    from sims.certifications import false_certificates

    return false_certificates(setting, _RUNS, np.random.default_rng(spawn_seed(seed, name)))


def _assumption(experiment: Experiment, seed: int) -> dict[str, Any]:
    """Quantiles of truth / bound (bound / truth of a lower bound), met and violated."""
    n = max(_INSTANCES // experiment.cost, 1)
    found: dict[str, Any] = {"statement": experiment.statement, "assumption": experiment.assumption}
    for name, holds in (("met", True), ("violated", False)):
        rng = np.random.default_rng(spawn_seed(seed, f"{experiment.name} {name}"))
        finding = experiment.run(rng, n, holds)
        ratios = finding.ratios()
        found[name] = {
            **{key: float(np.quantile(ratios, q)) for key, q in _QUANTILES.items()},
            "beyond": int((ratios > 1.0 + finding.resolution).sum()),
            "worst": float(min(ratios.max(), 1e6)),
            "instances": n,
        }
    return found


def shows(data: dict[str, Any]) -> str:
    return (
        f"(a) Certifications of a budget of {100 * data['budget']:g} points at a level of "
        f"{data['level']:.0%} from at most {data['probes']} probes, of models that lose exactly "
        f"the budget: how many of {data['runs']:,} are wrong. Probes are read until one certifies, "
        "candidates are tested in their order on the same probes. Bars are 95 % intervals of the "
        "counts, the line is the level. Diamonds are what T23 and T24 do not allow. (b) What is "
        "true over what is promised (promised over true of T21's and T22's lower limits) where an "
        "assumption is met and where it is violated: medians and the middle 90 % of random "
        "instances; beyond the line the promise is broken. What lies at an edge lies there or "
        "beyond."
    )


def claims(data: dict[str, Any]) -> list[Claim]:
    runs, level = data["runs"], data["level"]
    most = level + _ERRORS * float(np.sqrt(level * (1.0 - level) / runs))
    valid = [one for one in data["settings"] if one["valid"]]
    others = [one for one in data["settings"] if not one["valid"]]
    worst = max(valid, key=lambda one: one["wrong"])
    met = [one["met"] for one in data["assumptions"]]
    broken = [one for one in data["assumptions"] if one["violated"]["beyond"]]
    beyond = sum(one["beyond"] for one in met)
    return [
        Claim(
            f"T23 and T24, that no more than {level:.0%} of the certificates are wrong,",
            all(one["wrong"] <= most * runs for one in valid),
            f"at most {worst['wrong'] / runs:.1%} of {runs:,} in {len(valid)} settings "
            f"({worst['name']})",
        ),
        Claim(
            "T24 and T23, that what they forbid fails more often,",
            all(one["wrong"] > most * runs for one in others),
            ", ".join(f"{one['name']} {one['wrong'] / runs:.0%}" for one in others),
        ),
        Claim(
            "T21 to T24, that none of their promises breaks where its assumption is met,",
            beyond == 0,
            f"{beyond} of {sum(one['instances'] for one in met):,} instances",
        ),
        Claim(
            "T21 to T24, that each of these assumptions is needed,",
            len(broken) == len(data["assumptions"]),
            f"{len(broken)} of {len(data['assumptions'])} break a promise when they are violated",
        ),
    ]


def draw(data: dict[str, Any]) -> Figure:
    figure = style.new_figure(height=5.0, width=5.6)
    upper, lower = figure.subplots(2, 1, height_ratios=(9, 8))
    _counts(upper, data)
    _ratios(lower, data["assumptions"])
    handles = [
        style.mark("allowed", "o", color=style.BLUE),
        style.mark("not allowed", "D", color=style.RED),
        style.mark("assumption met", "o", color=style.GREEN),
        style.mark("violated", "D", color=style.ORANGE),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=4)
    style.panel_letter(upper, "a", "wrong certificates")
    style.panel_letter(lower, "b", "assumptions")
    return figure


def _counts(axes: Axes, data: dict[str, Any]) -> None:
    for place, one in enumerate(data["settings"]):
        # A half of a count is no count: what is drawn is the share.
        found = clopper_pearson(round(one["wrong"]), data["runs"], p=0.05)
        axes.errorbar(
            100 * one["wrong"] / data["runs"],
            place,
            xerr=100 * style.bars([[found.estimate], [found.lower], [found.upper]]),
            fmt="o" if one["valid"] else "D",
            ms=4.5,
            color=style.BLUE if one["valid"] else style.RED,
            clip_on=False,
        )
    axes.axvline(100 * data["level"], color=style.INK, lw=0.8)
    axes.set_yticks(range(len(data["settings"])), [one["name"] for one in data["settings"]])
    axes.set_ylim(len(data["settings"]) - 0.5, -0.5)
    axes.set_xlim(left=0.0)
    style.few_ticks(axes.xaxis, axes.get_xlim())
    axes.set_xlabel("wrong certificates (%)")
    axes.set_ylabel("certification (how it is done)")


def _ratios(axes: Axes, assumptions: list[dict[str, Any]]) -> None:
    marks = {"met": ("o", style.GREEN, -0.16), "violated": ("D", style.ORANGE, 0.16)}
    for place, one in enumerate(assumptions):
        for name, (mark, colour, up) in marks.items():
            low, middle, high = np.clip([one[name][q] for q in _QUANTILES], _LEFT, _RIGHT)
            axes.plot([low, high], [place + up] * 2, color=colour, lw=1.2)
            axes.plot([middle], [place + up], mark, ms=4.5, color=colour, clip_on=False)
    axes.axvline(1.0, color=style.INK, lw=0.8)
    axes.set_xscale("log")
    axes.set_xlim(_LEFT, _RIGHT)
    axes.set_xticks((0.1, 1, 10), ("0.1", "1", "10"))
    axes.minorticks_off()
    names = [f"{one['statement']}: {one['assumption']}" for one in assumptions]
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel("true / promised (ratio)")
    axes.set_ylabel("assumption (its statement)")
