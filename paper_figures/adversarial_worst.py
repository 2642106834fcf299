"""Adversarial worst cases: how close gradient ascent comes to breaking every form of a bound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from paper_figures import style
from paper_figures.claims import Claim

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SOURCE = "theory"

_ARROWS = {"upper": "≤", "lower": "≥", "equality": "="}
_CLOSE = 0.01
_ROUNDING = 1e-9
_LEAST = 1e-10
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
                "history": [float(f"{value:.6g}") for value in case.history],
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
        "ratio is recomputed from the bound that the toolkit gives and an independent truth. (a) "
        "What is left to the supremum, which is 1 where a form is claimed tight (dots); "
        f"{loose} forms are proved to stay below a smaller one (rings). Dashed: 1 %. (b) The best "
        "ratio during the ascent, as a share of that supremum."
    )


def claims(data: dict[str, Any]) -> list[Claim]:
    statements = dict.fromkeys(form["statement"] for form in data["forms"])
    found = []
    for name in statements:
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
    forms = sorted(data["forms"], key=lambda form: int(form["statement"][1:]))
    height = 0.135 * len(forms) + 1.0
    figure = style.new_figure(height=height)
    left, right = figure.subplots(1, 2, width_ratios=(1.0, 1.0))
    _ends(left, forms)
    _ascents(right, forms)
    style.panel_letter(left, "a", "left to the supremum")
    style.panel_letter(right, "b", "the ascent")
    return figure


def _ends(axes: Axes, forms: list[dict[str, Any]]) -> None:
    labels = []
    for y, form in enumerate(forms):
        left = max(1.0 - form["ratio"] / form["sharpest"], _LEAST)
        claimed = form["sharpest"] == 1.0
        axes.plot(
            [left],
            [y],
            "o",
            color=style.BLUE,
            markersize=3.5,
            markerfacecolor=style.BLUE if claimed else "white",
        )
        words = f"{form['statement']} {form['quantity'].replace('_', ' ')} "
        labels.append(words + _ARROWS[form["direction"]] + " " + _short(form))
    axes.axvline(_CLOSE, color=style.MUTED, linewidth=0.8, linestyle="--")
    axes.set_xscale("log")
    axes.set_xlim(_LEAST * 0.4, 1.0)
    axes.set_yticks(range(len(forms)), labels, fontsize=6)
    axes.set_ylim(len(forms) - 0.4, -0.6)
    axes.set_xlabel("1 - ratio / supremum (no unit)")


def _short(form: dict[str, Any]) -> str:
    words = ", ".join(word for word in (form["form"], form["part"]) if word)
    return words if len(words) <= 44 else words[:42] + "…"


def _ascents(axes: Axes, forms: list[dict[str, Any]]) -> None:
    for form in forms:
        curve = np.maximum.accumulate(np.array(form["history"])) / form["sharpest"]
        colour = style.BLUE if form["sharpest"] == 1.0 else style.ORANGE
        share = np.linspace(0.0, 100.0, len(curve))
        axes.plot(share, curve, color=colour, linewidth=0.7, alpha=0.6)
    axes.plot([], [], color=style.BLUE, label="claimed tight")
    axes.plot([], [], color=style.ORANGE, label="proved looser")
    axes.axhline(1.0, color=style.INK, linewidth=0.8)
    axes.set_ylim(0.0, 1.05)
    axes.set_xlabel("steps of the ascent (%)")
    axes.set_ylabel("best ratio / supremum (no unit)")
    axes.legend(loc="lower right")
