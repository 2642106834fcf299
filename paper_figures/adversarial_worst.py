"""Adversarial worst cases: how close gradient ascent comes to breaking every form of a bound."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from finebound.views import style
from finebound.views.claims import Claim

SOURCE = "measurement"

_CLOSE = 0.01
_ROUNDING = 1e-9
_LEAST = 1e-10
_TICKS = (1e-10, 1e-8, 1e-6, 1e-4, 1e-2)
_KEPT = ("statement", "quantity", "direction", "form", "part", "ratio", "error", "sharpest", "why")


def record(seed: int) -> dict[str, Any]:
    """The highest ratio found for each form, the ascent's history, and the winning instance."""
    from sims.adversary import worst_cases

    found = worst_cases(seed=seed)
    forms = []
    for case in found.values():
        whole = case.as_json()
        kept = {name: whole[name] for name in _KEPT}
        forms.append(
            {
                **kept,
                "history": [float(f"{value:.12g}") for value in case.history],
                "problem": whole["problem"],
                "strategy": whole["strategy"],
            }
        )
    first = next(iter(found.values()))
    return {"restarts": first.restarts, "steps": first.steps, "forms": forms}


def shows(data: dict[str, Any]) -> str:
    forms = data["forms"]
    loose = sum(form["sharpest"] < 1.0 for form in forms)
    return (
        f"Gradient ascent on truth / bound over the instance's own parameters, {data['restarts']} "
        f"starts of {data['steps']} steps for each of {len(forms)} forms of the statements; every "
        "final ratio is recomputed from the bound that the toolkit gives and an independent truth. "
        "(a) What is left to the supremum, a mark a form; it is 1 where a form is claimed tight "
        f"(dots), and {loose} forms are proved to stay below a smaller one (rings). At the left "
        "edge: 1e-10 or less. Dashed: 1 %. (b) The same during the ascent, by its own formulas."
    )


def claims(data: dict[str, Any]) -> list[Claim]:
    found = []
    for name in _statements(data["forms"]):
        forms = [form for form in data["forms"] if form["statement"] == name]
        shares = [form["ratio"] / form["sharpest"] for form in forms]
        valid = all(form["ratio"] <= 1.0 + _ROUNDING for form in forms)
        found.append(
            Claim(
                f"{name}, valid and tight,",
                valid and min(shares) >= 1.0 - _CLOSE,
                f"the highest ratios of {len(forms)} forms lie between {min(shares):.5f} and "
                f"{max(shares):.10f} of their suprema",
            )
        )
    return found


def draw(data: dict[str, Any]) -> Figure:
    figure = style.new_figure(height=3.9)
    left, right = figure.subplots(1, 2)
    _ends(left, data["forms"])
    _ascents(right, data["forms"])
    figure.legend(*right.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    style.panel_letter(left, "a", "what is left at the end")
    style.panel_letter(right, "b", "the ascent")
    return figure


def _ends(axes: Axes, forms: list[dict[str, Any]]) -> None:
    statements = _statements(forms)
    for form in forms:
        claimed = form["sharpest"] == 1.0
        axes.plot(
            [max(1.0 - form["ratio"] / form["sharpest"], _LEAST)],
            [statements.index(form["statement"])],
            "o",
            color=_colour(form),
            markersize=4.5,
            markeredgewidth=0.8,
            markerfacecolor="none" if not claimed else _colour(form),
            alpha=0.7,
        )
    axes.axvline(_CLOSE, color=style.MUTED, linewidth=0.8, linestyle="--")
    axes.set_xscale("log")
    axes.set_xlim(_LEAST * 0.4, 0.1)
    axes.set_yticks(range(len(statements)), statements)
    axes.set_ylim(len(statements) - 0.5, -0.5)
    axes.set_xticks(_TICKS)
    axes.minorticks_off()
    axes.set_xlabel("1 - ratio / supremum (no unit)")
    axes.set_ylabel("statement (number)")


def _ascents(axes: Axes, forms: list[dict[str, Any]]) -> None:
    for form in forms:
        curve = np.maximum.accumulate(np.array(form["history"])) / form["sharpest"]
        share = np.linspace(0.0, 100.0, len(curve))
        left = np.maximum(1.0 - curve, _LEAST)
        axes.plot(share, left, color=_colour(form), linewidth=0.7, alpha=0.6)
    axes.plot([], [], color=style.BLUE, label="claimed tight")
    axes.plot([], [], color=style.ORANGE, label="proved looser")
    axes.axhline(_CLOSE, color=style.MUTED, linewidth=0.8, linestyle="--")
    axes.set_yscale("log")
    axes.set_ylim(_LEAST * 0.4, 1.0)
    axes.set_yticks([*_TICKS, 1.0])
    axes.minorticks_off()
    axes.set_xlim(0.0, 100.0)
    axes.set_xticks([0, 25, 50, 75, 100])
    axes.set_xlabel("steps of the ascent (%)")
    axes.set_ylabel("1 - best ratio / supremum (no unit)")


def _statements(forms: list[dict[str, Any]]) -> list[str]:
    return sorted({form["statement"] for form in forms}, key=lambda name: int(name[1:]))


def _colour(form: dict[str, Any]) -> str:
    return style.BLUE if form["sharpest"] == 1.0 else style.ORANGE
