"""Behaviour against the measured safety loss: does one rank the runs as the other does?"""

from __future__ import annotations

from collections.abc import Mapping
from string import ascii_lowercase
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from finebound.views import style
from finebound.views.behaviour.common import (
    BBQ,
    HAZARDS,
    REFUSAL,
    TRANSLATION,
    dot,
    legend,
    of_gates,
    panels_of,
    setting,
    shown,
)
from finebound.views.claims import Claim
from finebound.views.style import fixed_ticks, zero_lines

SOURCE = "measurement"
_BIAS = "bbq bias"
# Evaluation -> what is drawn, and the factor of its scale.
_DRAWN: dict[str, tuple[str, float]] = {
    HAZARDS: ("change of safe answers (points)", 100.0),
    _BIAS: ("change of mean |bias| (no unit)", 1.0),
    REFUSAL: ("change of refusal (points)", 100.0),
    TRANSLATION: ("change of the mean chrF (points)", 1.0),
}
_TITLES = {
    HAZARDS: "hazards",
    _BIAS: "BBQ's bias",
    REFUSAL: "refusal",
    TRANSLATION: "chrF",
}

# Nats per token: above, the losses' axis is logarithmic, but linear up to the second number.
_WIDE, _LINEAR = 3.0, 0.3


def data_of(studies: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """The figure's data, from finished experiments by name."""
    panels = []
    for name, found in studies.items():
        for evaluation in _DRAWN:
            runs = [
                shown(run, "safety") | {"change": change}
                for run in found["runs"]
                if (change := _change(run, evaluation)) is not None
            ]
            correlation = found["correlations"].get(evaluation)
            panels.append(
                {
                    "study": name,
                    "evaluation": evaluation,
                    "runs": runs,
                    "correlation": correlation,
                }
            )
    return {
        "experiments": {name: found["experiment"] for name, found in studies.items()},
        "panels": [panel for panel in panels if panel["runs"]],
    }


def _change(run: dict[str, Any], evaluation: str) -> list[float] | None:
    if evaluation == _BIAS:
        found = run["behaviour"].get(BBQ, {}).get("bias")
        return found and [found["change"]] * 3
    return run["behaviour"].get(evaluation, {}).get("change")


def shows(data: dict[str, Any]) -> str:
    told = "; ".join(
        f"{', '.join(_letters(data, name))} {name}: {setting(about)}"
        for name, about in data["experiments"].items()
    )
    return (
        f"Behaviour against the measured rise of the held-out safety loss ({told}), both against "
        "the aligned model, with 95 % intervals over items and rows (the mean bias, of ambiguous "
        "contexts, has none). "
        "Above each panel: Spearman's correlation over the runs that passed their gates, with its "
        "95 % bootstrap interval over runs. Where a run collapsed, the losses' axis is logarithmic "
        f"above {_LINEAR:g}. Hollow: behind a failed gate."
    )


def _letters(data: dict[str, Any], study: str) -> list[str]:
    lettered = zip(ascii_lowercase, data["panels"], strict=False)
    return [f"({letter})" for letter, panel in lettered if panel["study"] == study]


def claims(data: dict[str, Any]) -> list[Claim]:
    runs = {run["id"]: run for panel in data["panels"] for run in panel["runs"]}
    found = [of_gates(list(runs.values()))]
    for panel in data["panels"]:
        one = panel["correlation"]
        if one is None or one["spearman"]["estimate"] is None:
            continue
        low, high = map(float, one["spearman"]["interval"])
        found.append(
            Claim(
                f"That the safety loss ranks the runs by {_TITLES[panel['evaluation']]}",
                low > 0.0 or high < 0.0,
                f"Spearman {_spearman(one)} over {one['n']} runs",
            )
        )
    return found


def _spearman(one: dict[str, Any]) -> str:
    low, high = map(float, one["spearman"]["interval"])
    return f"{one['spearman']['estimate']:+.2f} ({low:+.2f} to {high:+.2f})"


def draw(data: dict[str, Any]) -> Figure:
    panels = data["panels"]
    figure, drawn = panels_of(len(panels), 2, head=0.8, row=2.6)
    for axes, letter, panel in zip(drawn.flat, ascii_lowercase, panels, strict=False):
        label, scale = _DRAWN[panel["evaluation"]]
        _panel(axes, panel, scale)
        one = panel["correlation"]
        told = ""
        if one is not None and one["spearman"]["estimate"] is not None:
            told = rf", $\rho$ {_spearman(one)}".replace("-", "\N{MINUS SIGN}")
        style.panel_letter(axes, letter, _TITLES[panel["evaluation"]] + told)
        axes.set_xlabel("rise of the safety loss (nats/token)")
        axes.set_ylabel(label)
    legend(figure, {run["id"]: run for panel in panels for run in panel["runs"]}.values())
    return figure


def _panel(axes: Axes, panel: dict[str, Any], scale: float) -> None:
    zero_lines(axes)
    for run in panel["runs"]:
        dot(axes, run, run["safety"], run["change"], scale=scale)
    axes.margins(0.1)
    fixed_ticks(axes)
    if axes.get_xlim()[1] > _WIDE:
        _wide_scale(axes)


def _wide_scale(axes: Axes) -> None:
    """A run that collapsed is seen and does not press the others into a line."""
    low, high = axes.get_xlim()
    axes.set_xscale("symlog", linthresh=_LINEAR)
    axes.set_xlim(max(low, -_LINEAR / 2), 1.5 * high)
    kept = [tick for tick in (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0) if tick <= 1.5 * high]
    axes.set_xticks(kept, [f"{tick:g}" for tick in kept])
    axes.set_xticks([], minor=True)
