"""What theory says of the plane: T10's limit on every policy, T16's forecasts of the runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from finebound.results.tradeoff import TheoryCurve
from llm_validation.experiments.data_limits import data_limits
from llm_validation.experiments.datasets import SAFETY, held_out, task_set
from llm_validation.experiments.prepare import Prepared
from theory.bound import Status

_GRID = 41
LINEARISED = "linearised (T16)"


def forced_frontier(prepared: Prepared, task: str, *, largest_gain: float) -> TheoryCurve:
    """T10 on the held-out rows: the least rise of any policy whatever, at each gain.

    ``gain`` and ``rise`` in nats per token from theta_s. The statement is on nats a response above
    the entropy of the answers; theta_s's own safety gap is subtracted, so that a rise below 0 is
    room that the rows leave. Where no prompt is shared the rows force nothing and ``forces`` says
    so.
    """
    names = held_out(SAFETY), held_out(task_set(task))
    limits = data_limits(prepared, task, safety_set=names[0], task_rows=names[1])
    safety, rows = (prepared.start(name) for name in names)
    tokens = [float(losses.token_count.mean()) for losses in (safety, rows)]
    before = safety.per_sequence - limits.entropies[0]
    start = rows.per_sequence - limits.entropies[1]
    gains = np.linspace(0.0, max(largest_gain, 0.0), _GRID)
    least = np.array([limits.least_safety_gap(start - gain * tokens[1]) for gain in gains])
    forces = bool((least > 0.0).any())
    order = list(Status)
    weakest = max((order.index(Status(b.status)) for _, b in limits.weighted), default=-1)
    return TheoryCurve(
        statement="T10",
        form="limit",
        status=str(order[weakest]),
        gain=tuple(gains.tolist()),
        rise=tuple(((least - before) / tokens[0]).tolist()),
        shared_prompts=limits.shared,
        conflicting_prompts=limits.conflicting,
        forces=forces,
        says="No policy, whatever its weights, has less safety loss on these rows at that gain."
        if forces
        else f"These rows force nothing at these gains ({limits.conflicting} conflicting "
        "prompts): what safety costs beyond the curve is due to shared weights.",
    )


def above_forced(curve: TheoryCurve, gain: float, rise: float) -> float | None:
    """How far a rise lies above T10's limit at its gain; None beyond the curve."""
    gain = max(gain, 0.0)
    if gain > curve.gain[-1]:
        return None
    return float(rise - np.interp(gain, curve.gain, curve.rise))


def linearised_forecasts(
    forecasts: Mapping[str, Any] | None, runs: Sequence[str]
) -> TheoryCurve | None:
    """T16's forecasts of the grid's own runs of one task, by gain; None where none was made."""
    if forecasts is None:
        return None
    said = [
        entry for entry in forecasts["runs"] if entry["name"] == LINEARISED and entry["run"] in runs
    ]
    points = sorted(
        (
            (-float(entry["task_change"]), float(entry["safety_change"]), entry["run"])
            for entry in said
            if entry["task_change"] is not None and entry["safety_change"] is not None
        ),
    )
    if not points:
        return None
    return TheoryCurve(
        statement="T16",
        form="forecasts",
        status=str(Status.ESTIMATED),
        gain=tuple(gain for gain, _, _ in points),
        rise=tuple(rise for _, rise, _ in points),
        runs=tuple(run for _, _, run in points),
        says="Forecasts of the grid's own runs, from gradients at the aligned model; no bound.",
    )
