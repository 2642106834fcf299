"""The estimate of three built-in pairs on the packaged model (T6, T7, T10)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from finebound.views import style
from finebound.views.claims import Claim

if TYPE_CHECKING:
    from finebound.results.estimate import EstimateResult

SOURCE = "measurement"

TASKS = ("task-general", "task-general-agreeing", "task-code")
_LABELS = {
    "task-general": "general instructions",
    "task-general-agreeing": "the same, answers agree",
    "task-code": "code",
}
_COLOURS = dict(zip(TASKS, (style.RED, style.BLUE, style.GREEN), strict=True))
_MARKERS = dict(zip(TASKS, ("o", "s", "^"), strict=True))
_RADII = tuple(float(f"{r:.4g}") for r in np.geomspace(1e-2, 1.0, 13))
_MODEL_ROWS = 96


def record(seed: int) -> dict[str, Any]:
    """Fronts of the rows, and the model's bounds and straight steps over the radius; minutes."""
    # The one figure whose data come from a model: imported only when it is recorded.
    from llm_validation.estimation.request import Request
    from llm_validation.estimation.result import estimate

    pairs = {}
    for task in TASKS:
        request = Request(
            safety="builtin:safety",
            task=f"builtin:{task}",
            model="packaged",
            radius=_RADII,
            lam=(1.0,),
            model_rows=_MODEL_ROWS,
            seed=seed,
        )
        pairs[task] = _measured(estimate(request))
    return {"model_rows": _MODEL_ROWS, "radii": list(_RADII), "pairs": pairs}


def _measured(made: EstimateResult) -> dict[str, Any]:
    assert made.model is not None
    constrained = made.costs("parameter")
    return {
        "model": made.model.name,
        "conflicting_prompts": made.shared_prompts.conflicting,
        "front": {
            "safety_gap": made.frontier.safety_gap,
            "capability_gap": made.frontier.capability_gap,
        },
        "task_loss": made.model.losses["task"].per_token,
        "safety_loss": made.model.losses["safety"].per_token,
        "rise_at_most": [c.safety.value for c in constrained if c.safety],
        "task_loss_at_least": [c.task_at_least.value for c in constrained if c.task_at_least],
        "step_safety_change": [step.safety_change for step in made.straight_steps],
        "step_task_change": [step.task_change for step in made.straight_steps],
    }


def draw(data: dict[str, Any]) -> Figure:
    """What the rows force; then the safety and the task loss over the radius."""
    figure = style.new_figure(height=2.9)
    forced, safety, task = figure.subplots(1, 3)
    _fronts(forced, data)
    radii = np.array(data["radii"])
    for name, pair in data["pairs"].items():
        look = {
            "color": _COLOURS[name],
            "marker": _MARKERS[name],
            "markersize": 3,
            "linewidth": 1.2,
        }
        after = pair["task_loss"] + np.array(pair["step_task_change"])
        safety.plot(radii, pair["step_safety_change"], linestyle="--", **look)
        task.plot(radii, pair["task_loss_at_least"], **look)
        task.plot(radii, after, linestyle="--", **look)
    highest = [max(values) for values in zip(*_each(data, "rise_at_most"), strict=True)]
    safety.plot(radii, highest, color=style.INK)
    safety.axhline(0.0, color=style.MUTED, linewidth=0.6)
    for axes in (safety, task):
        axes.set(xscale="log", xlabel="radius (norm of the adapter)")
        axes.set(xticks=(0.01, 0.1, 1.0), xticklabels=("0.01", "0.1", "1"))
    style.panel_letter(safety, "b", "change of the safety loss")
    safety.set_ylabel("change (nats/token)")
    safety.set_yscale("symlog", linthresh=1e-2)
    style.panel_letter(task, "c", "task loss afterwards")
    task.set(ylabel="loss (nats/token)", ylim=(0.0, None))
    _legend(figure, data)
    return figure


def _fronts(axes: Axes, data: dict[str, Any]) -> None:
    free = []
    for name, pair in data["pairs"].items():
        front = pair["front"]
        if pair["conflicting_prompts"]:
            axes.plot(front["safety_gap"], front["capability_gap"], color=_COLOURS[name])
        else:
            # The front is the one point where nothing is paid; markers side by side.
            look: dict[str, Any] = {
                "color": _COLOURS[name],
                "marker": _MARKERS[name],
                "clip_on": False,
            }
            axes.plot(0.004 + 0.016 * len(free), 0.005, linestyle="", markersize=4, **look)
            free.append(name)
    if free:
        axes.annotate(
            "nothing forced",
            xy=(0.03, 0.008),
            xytext=(0.08, 0.1),
            arrowprops={"arrowstyle": "-", "color": style.MUTED, "linewidth": 0.7},
        )
    style.panel_letter(axes, "a", "forced by shared prompts")
    axes.set(
        xlabel="safety gap (nats/response)",
        ylabel="capability gap (nats/response)",
        xlim=(0.0, 0.3),
        ylim=(0.0, 0.3),
    )


def _legend(figure: Figure, data: dict[str, Any]) -> None:
    handles = [
        style.key(_LABELS[name], color=_COLOURS[name], marker=_MARKERS[name], markersize=4)
        for name in data["pairs"]
    ]
    handles += [
        style.key("bound (T6, T7)", color=style.INK),
        style.key("straight step", color=style.INK, linestyle="--", linewidth=1.2),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))


def _each(data: dict[str, Any], key: str) -> list[list[float]]:
    return [pair[key] for pair in data["pairs"].values()]


def shows(data: dict[str, Any]) -> str:
    models = " and ".join(sorted({pair["model"] for pair in data["pairs"].values()}))
    return (
        "What finebound estimate says before a fine-tune, for built-in safety data and three "
        f"tasks on {models} ({data['model_rows']} rows of each on the model). (a) The exact "
        "trade-off that prompts with conflicting answers force on every policy. (b, c) Bounds on "
        "the rise of the safety loss and, from below, on the task loss within a radius of the "
        "starting weights (solid, ESTIMATED), and a straight step down the task's gradient "
        "(dashed, a forecast). The packaged model has not been aligned on these safety data, so "
        "a task step lowers their loss at first."
    )


def claims(data: dict[str, Any]) -> list[Claim]:
    pairs = data["pairs"]
    agreeing = max(
        max(pairs[name]["front"][gap])
        for name in ("task-general-agreeing", "task-code")
        for gap in ("safety_gap", "capability_gap")
    )
    conflict = pairs["task-general"]
    corner = float(np.hypot(*(np.array(conflict["front"][g]) for g in conflict["front"])).min())
    margins = [
        rise - step
        for pair in pairs.values()
        for rise, step in zip(pair["rise_at_most"], pair["step_safety_change"], strict=True)
    ]
    below = [
        pair["task_loss"] + change - least
        for pair in pairs.values()
        for change, least in zip(pair["step_task_change"], pair["task_loss_at_least"], strict=True)
    ]
    return [
        Claim(
            "T10",
            agreeing == 0.0 and corner > 0.0,
            f"{conflict['conflicting_prompts']} conflicting prompts keep every policy at least "
            f"{corner:.3g} nats from a free fine-tune, agreeing answers and code cost {agreeing:g}",
        ),
        Claim(
            "T6",
            min(margins) >= 0.0,
            f"at all {len(margins)} points the straight step changes the safety loss by less than "
            f"the bound (least margin {min(margins):.2g} nats/token)",
        ),
        Claim(
            "T7",
            min(below) >= 0.0,
            "the straight step never gets below the bound on the task loss (least margin "
            f"{min(below):.2g} nats/token)",
        ),
    ]
