"""What a radius keeps and what it costs: Case II of trained tables and T6 to T8."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from finebound.views import style
from finebound.views.claims import Claim
from paper_figures.gaps import dots

SOURCE = "measurement"

_RADII = np.geomspace(0.03, 10.0, 19)
_OVERLAPS = (0.0, 0.6)
_INSTANCES = 16
_COLOURS = (style.BLUE, style.RED)


def record(seed: int) -> dict[str, Any]:
    """Gaps of Case II against the radius, mean bounds, and Case I's price, nats."""
    from sims.findings.ensemble import Lab
    from sims.findings.finding import columns
    from sims.finetune import Plan
    from sims.models.table import Table
    from theory.bound import Direction, Quantity, Status
    from theory.evaluation import evaluate
    from theory.strategy import ParameterConstraint

    lab = Lab(Table(), Plan(400, 0.3), chunk=_INSTANCES * len(_RADII))

    def tightest(bounds: list[Any], statement: str, quantity: Quantity, upper: bool) -> np.ndarray:
        """The best of a statement's bounds in each instance, ``[n]``."""
        side = Direction.UPPER if upper else Direction.LOWER
        values = [
            np.where(b.status == Status.NOT_APPLICABLE, np.inf if upper else 0.0, b.value)
            * np.ones(_INSTANCES)
            for b in bounds
            if b.statement == statement and b.quantity == quantity and b.direction == side
        ]
        return np.min(values, axis=0) if upper else np.max(values, axis=0)

    curves = []
    for overlap in _OVERLAPS:
        made = lab.ensemble(seed, _INSTANCES, overlap=overlap, disagreement=0.7)
        problem = made.tables()
        gaps = made.finetuned(radius=_RADII).gaps
        penalised = made.finetuned(lam=np.ones(1)).gaps
        limits: dict[str, list[np.ndarray]] = {}
        for radius in _RADII:
            bounds = evaluate(problem, ParameterConstraint(float(radius)))
            for key, question in {
                "T6 upper": ("T6", Quantity.SAFETY_GAP, True),
                "T7 upper": ("T7", Quantity.CAPABILITY_GAP, True),
                "T7 lower": ("T7", Quantity.CAPABILITY_GAP, False),
                "T8 lower": ("T8", Quantity.CAPABILITY_GAP, False),
            }.items():
                limits.setdefault(key, []).append(tightest(bounds, *question))
        table = {key: np.stack(rows, axis=-1) for key, rows in limits.items()}
        tiny = 1e-9
        broken = {
            "T6 upper": int((gaps.safety > table["T6 upper"] + tiny).sum()),
            "T7 upper": int((gaps.task > table["T7 upper"] + tiny).sum()),
            "T7 lower": int((gaps.task < table["T7 lower"] - tiny).sum()),
            "T8 lower": int((gaps.task < table["T8 lower"] - tiny).sum()),
        }
        curves.append(
            {
                "overlap": overlap,
                "safety_gap": columns(gaps.safety),
                "capability_gap": columns(gaps.task),
                "start": float(np.mean(problem.capability_gap_at_aligned)),
                "bounds": {key: rows.mean(axis=0).tolist() for key, rows in table.items()},
                "broken": broken,
                "penalised": float((penalised.safety + penalised.task).mean()),
            }
        )
    return {"radii": _RADII.tolist(), "instances": _INSTANCES, "curves": curves}


def shows(data: dict[str, Any]) -> str:
    return (
        f"Fine-tuned tables within a radius of the aligned model, means over {data['instances']} "
        "random instances (95 % t intervals), with and without contexts shared by safety and task "
        "data. (a) The safety gap (0 up to rounding at zero overlap) under its bound (dashed: T6, "
        "the best form). (b) The capability gap between T7's bounds (dashed above, dotted below), "
        "and T8's price of a radius (dash-dotted), which does not ask for overlap."
    )


def claims(data: dict[str, Any]) -> list[Claim]:
    runs = len(data["radii"]) * data["instances"] * len(data["curves"])
    apart, shared = data["curves"]
    found = []
    for key in ("T6 upper", "T7 upper", "T7 lower", "T8 lower"):
        broken = sum(curve["broken"][key] for curve in data["curves"])
        found.append(
            Claim(f"{key} bound", broken == 0, f"{broken} of {runs} fine-tunes violate it")
        )
    price = np.array(apart["bounds"]["T8 lower"])
    paid = np.array(apart["capability_gap"]["mean"])
    sure = np.flatnonzero(price > 0.05 * apart["start"])
    found.append(
        Claim(
            "T8, that Case II pays without overlap where Case I does not,",
            bool((paid[sure] >= price[sure] - 1e-9).all()) and apart["penalised"] < 1e-6,
            f"at zero overlap a radius of {data['radii'][sure[-1]]:.2g} leaves "
            f"{apart['capability_gap']['mean'][sure[-1]]:.2f} of {apart['start']:.2f} nats (at "
            f"least {price[sure[-1]]:.2f} by T8), and Case I at lambda = 1 leaves "
            f"{apart['penalised']:.1e} in both gaps together",
        )
    )
    worst = max(apart["safety_gap"]["mean"])
    found.append(
        Claim(
            "That a radius costs a table no safety at zero overlap",
            worst < 1e-6,
            f"the largest mean safety gap is {worst:.1e} nats there, and "
            f"{max(shared['safety_gap']['mean']):.2f} at overlap {shared['overlap']:g}",
        )
    )
    return found


def draw(data: dict[str, Any]) -> Figure:
    figure = style.new_figure(height=3.3)
    safety, capability = figure.subplots(1, 2)
    radii = np.array(data["radii"])
    for curve, colour in zip(data["curves"], _COLOURS, strict=True):
        dots(safety, radii, curve["safety_gap"], ms=3.6, color=colour)
        dots(capability, radii, curve["capability_gap"], ms=3.6, color=colour)
        limits = curve["bounds"]
        safety.plot(radii, limits["T6 upper"], "--", lw=1.1, color=colour)
        capability.plot(radii, limits["T7 upper"], "--", lw=1.1, color=colour)
        capability.plot(radii, limits["T7 lower"], ":", lw=1.3, color=colour)
        capability.plot(radii, limits["T8 lower"], "-.", lw=0.9, color=colour)
    for axes in (safety, capability):
        axes.set_xscale("log")
        axes.set_xticks([0.1, 1.0, 10.0])
        axes.minorticks_off()
        axes.set_xlabel(r"radius $\epsilon$ (norm of the logits' table)")
        axes.set_xlim(radii[0] / 1.15, radii[-1] * 1.15)
    top = max(max(curve["capability_gap"]["high"]) for curve in data["curves"])
    capability.set_ylim(0.0, 1.15 * top)
    capability.set_ylabel("capability gap $G_f$ (nats)")
    safety.set_yscale("log")
    safety.set_yticks([1e-4, 1e-3, 1e-2, 0.1, 1.0])
    safety.minorticks_off()
    safety.set_ylim(2e-5, 5.0)
    apart = data["curves"][0]
    safety.text(
        0.97,
        0.06,
        f"overlap {apart['overlap']:g}: at most {max(apart['safety_gap']['mean']):.0e} nats",
        transform=safety.transAxes,
        ha="right",
        fontsize=8,
        color=_COLOURS[0],
    )
    safety.set_ylabel("safety gap $G_s$ (nats)")
    style.panel_letter(safety, "a", "what a radius keeps")
    style.panel_letter(capability, "b", "what a radius costs")
    _legend(figure, data)
    return figure


def _legend(figure: Figure, data: dict[str, Any]) -> None:
    marks = [
        style.mark(f"overlap {curve['overlap']:g}", "o", ms=4, color=colour)
        for curve, colour in zip(data["curves"], _COLOURS, strict=True)
    ]
    kinds = [
        style.key(label, color=style.INK, ls=ls, lw=1.1)
        for ls, label in (
            ("--", "T6, T7 upper bound"),
            (":", "T7 lower bound"),
            ("-.", "T8 lower bound"),
        )
    ]
    figure.legend(handles=[*marks, *kinds], loc="outside upper center", ncols=5)
