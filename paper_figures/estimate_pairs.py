"""The estimate of three built-in pairs on the packaged model (T6, T7, T10)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from paper_figures import style
from paper_figures.claims import Claim

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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
    from llm_validation.estimation.pipeline import Request, estimate

    pairs = {}
    for task in TASKS:
        request = Request(
            safety="builtin:safety",
            task=f"builtin:{task}",
            model="packaged",
            radii=_RADII,
            lams=(1.0,),
            model_rows=_MODEL_ROWS,
            seed=seed,
        )
        pairs[task] = _measured(estimate(request))
    return {"model_rows": _MODEL_ROWS, "radii": list(_RADII), "pairs": pairs}


def _measured(made) -> dict[str, Any]:
    from llm_validation.estimation.model_side import straight_step
    from llm_validation.estimation.summary import rows
    from theory.strategy import ParameterConstraint

    constrained = [row for row in rows(made) if isinstance(row.strategy, ParameterConstraint)]
    steps = [straight_step(made.model, radius) for radius in made.request.radii]
    return {
        "model": made.model.name,
        "conflicting_prompts": made.shared.conflicting,
        "front": {
            "safety_gap": made.front.safety_gap.tolist(),
            "capability_gap": made.front.capability_gap.tolist(),
        },
        "task_loss": made.model.losses["task"].per_token,
        "safety_loss": made.model.losses["safety"].per_token,
        "rise_at_most": [row.safety.value for row in constrained],
        "task_loss_at_least": [row.task_at_least.value for row in constrained],
        "step_safety_change": [step.safety_change for step in steps],
        "step_task_change": [step.task_change for step in steps],
    }


def draw(data: dict[str, Any]) -> Figure:
    """Left: what the rows force. Middle and right: safety and task loss over the radius."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(style.FULL_WIDTH, 2.9), layout="constrained")
    forced, safety, task = figure.subplots(1, 3)
    _fronts(forced, data)
    radii = np.array(data["radii"])
    for name, pair in data["pairs"].items():
        look = {"color": _COLOURS[name], "marker": _MARKERS[name], "markersize": 3.5}
        safety.plot(radii, pair["step_safety_change"], linestyle="--", linewidth=1.2, **look)
        after = pair["task_loss"] + np.array(pair["step_task_change"])
        task.plot(radii, pair["task_loss_at_least"], linewidth=1.4, **look)
        task.plot(radii, after, linestyle="--", linewidth=1.2, **look)
    highest = [max(values) for values in zip(*_each(data, "rise_at_most"), strict=True)]
    safety.plot(radii, highest, color=style.INK, label="at most (T6)")
    safety.plot([], [], color=style.MUTED, linestyle="--", label="straight step (estimate)")
    safety.set(
        title="Safety loss",
        xscale="log",
        xlabel="radius in the adapter's coordinates",
        ylabel="rise of the safety loss (nats/token)",
    )
    safety.set_yscale("symlog", linthresh=1e-2)
    safety.legend(loc="upper left")
    task.plot([], [], color=style.MUTED, label="at least (T7)")
    task.plot([], [], color=style.MUTED, linestyle="--", label="straight step (estimate)")
    task.set(
        title="Task loss",
        xscale="log",
        xlabel="radius in the adapter's coordinates",
        ylabel="task loss afterwards (nats/token)",
        ylim=(0.0, None),
    )
    task.legend(loc="lower left")
    return figure


def _fronts(axes: Axes, data: dict[str, Any]) -> None:
    for name, pair in data["pairs"].items():
        look = {"color": _COLOURS[name], "label": _LABELS[name]}
        if pair["conflicting_prompts"]:
            front = pair["front"]
            axes.plot(front["safety_gap"], front["capability_gap"], **look)
        else:
            # The front is the one point where nothing is paid.
            axes.plot(0.0, 0.0, marker=_MARKERS[name], linestyle="", clip_on=False, **look)
    axes.set(
        title="Forced by the rows",
        xlabel="safety gap (nats/response)",
        ylabel="capability gap (nats/response)",
        xlim=(0.0, 0.3),
        ylim=(0.0, 0.3),
    )
    axes.legend(loc="upper right")


def _each(data: dict[str, Any], key: str) -> list[list[float]]:
    return [pair[key] for pair in data["pairs"].values()]


def shows(data: dict[str, Any]) -> str:
    models = " and ".join(sorted({pair["model"] for pair in data["pairs"].values()}))
    return (
        "What finebound estimate says before a fine-tune, for built-in safety data and three "
        f"tasks on {models} ({data['model_rows']} rows of each on the model). Left: the exact "
        "trade-off that prompts with conflicting answers force on every policy. Middle and right: "
        "bounds on the safety loss and on the task loss within a radius of the aligned weights "
        "(solid, ESTIMATED), and a straight step down the task's gradient (dashed, a forecast)."
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
    above = [
        rise / step
        for pair in pairs.values()
        for rise, step in zip(pair["rise_at_most"], pair["step_safety_change"], strict=True)
        if step > 0
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
            min(above, default=np.inf) >= 1.0,
            f"at all {len(above)} radii where the straight step raises the safety loss the bound "
            f"is above it, by a factor of at least {min(above, default=np.inf):.3g}",
        ),
        Claim(
            "T7",
            min(below) >= 0.0,
            "the straight step never gets below the bound on the task loss (least margin "
            f"{min(below):.2g} nats/token)",
        ),
    ]
