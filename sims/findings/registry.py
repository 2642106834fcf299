"""All findings by name, each with a setting in which it must not be confirmed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sims.findings import features, limits, loss_constraint, onset, parameter_constraint
from sims.findings.finding import SimulatedFinding


@dataclass(frozen=True)
class Entry:
    """How to measure a finding from a seed, in the claimed setting and in a negative control."""

    measure: Callable[..., SimulatedFinding]
    control: Mapping[str, Any]
    setting: Mapping[str, Any] = field(default_factory=dict)

    def claimed(self, seed: int) -> SimulatedFinding:
        return self.measure(seed, **self.setting)

    def negative(self, seed: int) -> SimulatedFinding:
        return self.measure(seed, **{**self.setting, **self.control})


FINDINGS: dict[str, Entry] = {
    "same teacher: lambda^-2": Entry(
        loss_constraint.same_teacher_decay, control={"teacher_mismatch": 0.5}
    ),
    "other teacher: lambda^-1": Entry(
        loss_constraint.other_teacher_decay, control={"teacher_mismatch": 0.0}
    ),
    "over-penalising hurts by T5's criterion": Entry(
        loss_constraint.over_penalising, control={"under": "safety"}
    ),
    "Case II pays without overlap": Entry(
        parameter_constraint.price_without_overlap, control={"radius_share": 20.0}
    ),
    "Case I is free without overlap": Entry(
        parameter_constraint.loss_constraint_is_free_without_overlap, control={"overlap": 0.5}
    ),
    "crossover radius": Entry(parameter_constraint.crossover, control={"radius_share": 10.0}),
    "minimax floor: linear": Entry(limits.minimax_floor, control={"worst_case": False}),
    "minimax floor: at least eta log V": Entry(limits.minimax_price, control={"worst_case": False}),
    "parallel sum predicts the quadratic front": Entry(
        limits.parallel_sum, control={"curvature": "isotropic"}
    ),
    "onset: quadratic (bowls)": Entry(onset.quadratic_onset, control={"avoids": True}),
    "onset: quartic (bowls)": Entry(onset.quartic_onset, control={"avoids": False}),
    "onset: quadratic (log-linear)": Entry(
        onset.quadratic_onset, control={"avoids": True}, setting={"family": "log-linear"}
    ),
    "onset: quartic (log-linear)": Entry(
        onset.quartic_onset, control={"avoids": False}, setting={"family": "log-linear"}
    ),
    "shared weights cost safety (MLP)": Entry(
        features.shared_weights, control={"family": "tabular"}
    ),
    "shared features cost safety (MLP)": Entry(
        features.feature_overlap, control={"family": "tabular"}
    ),
    # Where shared prompts get other answers they do more damage than shared features.
    "features, not prompts (MLP)": Entry(
        features.features_not_prompts, control={"disagreement": 0.7}
    ),
}
