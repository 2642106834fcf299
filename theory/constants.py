"""Named numbers of a real model: what each is, its unit, and the values that it can have."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, cast

import numpy as np

# Of a limit: a measured share may exceed 1 by the rounding of a long sum.
_ROUNDING = 1e-9


class Known(StrEnum):
    """How a constant is known; an estimated one can never yield a CERTIFIED bound."""

    GIVEN = "given"
    ESTIMATED = "estimated"
    HIGH_PROBABILITY = "high_probability"


@dataclass(frozen=True)
class Constant:
    """One named number of a real model: its value, how it is known, and its unit.

    ``failure_probability`` is the p of a high-probability value. Raises ValueError on NaN and on
    what is no number.
    """

    value: float
    known: Known = Known.GIVEN
    failure_probability: float = 0.0
    unit: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.value, bool | np.bool_ | str | bytes):
            raise ValueError(f"a constant is {self.value!a:.40}, not a number.")
        object.__setattr__(self, "value", float(self.value))
        if self.known not in tuple(Known):
            raise ValueError(f"known is {self.known!a:.40}: it must be one of {', '.join(Known)}.")
        object.__setattr__(self, "known", Known(self.known))
        if np.isnan(self.value):
            raise ValueError("a constant is NaN.")
        if not 0.0 <= self.failure_probability < 1.0:
            raise ValueError(f"failure probability {self.failure_probability} is not in [0, 1).")
        if (self.known is Known.HIGH_PROBABILITY) != (self.failure_probability > 0.0):
            raise ValueError("a failure probability belongs to a high_probability constant alone.")


class Spec(NamedTuple):
    """What a constant is, and the closed range of its values."""

    unit: str
    means: str
    low: float = 0.0
    high: float = math.inf
    whole: bool = False


def _share(means: str) -> Spec:
    return Spec("", means, 0.0, 1.0)


CONSTANTS: dict[str, Spec] = {
    "capability_gap_at_aligned": Spec("nats", "G_f(theta_s)"),
    "safety_gap_at_aligned": Spec("nats", "G_s(theta_s)"),
    "task_loss_at_aligned": Spec("nats", "f_f(theta_s)"),
    "task_loss_floor": Spec("nats", "a lower bound on f_f over the model class", -math.inf),
    "proxy_gap_at_task": Spec("nats", "G_hat_s(theta_f)"),
    "capability_gap_at_proxy": Spec("nats", "G_f(theta_hat_s)"),
    "optimality_slack": Spec("nats", "delta: the training objective ends within it of its minimum"),
    "loss_range": Spec("nats", "B: every loss lies in [0, B]"),
    "loss_oscillation": Spec("nats", "osc of l(theta_lambda) - l(theta_s)"),
    "uniform_deviation_safety": Spec(
        "nats", "e_n: sup |empirical - true proxy loss| over the class"
    ),
    "uniform_deviation_task": Spec("nats", "e_m': sup |empirical - true task loss| over the class"),
    "vocabulary": Spec("", "V, the number of responses", 1.0, whole=True),
    "tv": _share("TV(D_s, D_hat_s)"),
    "tv_context": _share("TV(rho_s, rho_hat_s)"),
    "tv_teacher": _share("E_rho_s TV(mu_s, mu_hat_s)"),
    "kl": Spec("nats", "min of KL(D_s || D_hat_s) and its reverse"),
    "wasserstein": Spec("", "W1(D_s, D_hat_s)"),
    "loss_lipschitz_in_data": Spec("nats", "Lipschitz constant of the loss in (x, y)"),
    "overlap_task_mass": _share("a = rho_f(O)"),
    "overlap_proxy_mass": _share("b = rho_hat_s(O)"),
    "overlap_safety_mass": _share("rho_s(O)"),
    "coverage_ratio": Spec("", "r = sup rho_s / rho_hat_s", 1.0),
    "proxy_floor": Spec("nats", "Phi, the lambda-free floor of T5"),
    "disagreement_weighted_overlap": _share("kappa of T10(b)"),
    "logit_lipschitz": Spec("", "J: logits move at most J |theta - theta_s|"),
    "lipschitz_safety": Spec("nats", "L_s of f_s on the ball"),
    "lipschitz_task": Spec("nats", "L_f of f_f"),
    "smoothness_safety": Spec("nats", "beta_s of f_s on the ball"),
    "smoothness_task": Spec("nats", "beta_f of f_f"),
    "gradient_norm_safety": Spec("nats", "|grad f_s(theta_s)|"),
    "gradient_norm_task": Spec("nats", "|grad f_f(theta_s)|"),
    "quadratic_growth_safety": Spec("nats", "mu_s of f_s at an isolated theta_s"),
    "quadratic_growth_proxy": Spec("nats", "mu of f_hat_s"),
    "pl_task": Spec("nats", "Polyak-Lojasiewicz constant of f_f on the ball"),
    "strong_convexity_task": Spec("nats", "mu_f >= 0 of a convex f_f"),
    "distance_to_task_optimum": Spec("", "R = dist(theta_s, argmin f_f)"),
    "capability_gap_target": Spec("nats", "g: the capability gap that must be reached (T8d)"),
    "gradient_mismatch": Spec("nats", "|grad (f_s - f_hat_s)(theta_s)|"),
    "smoothness_mismatch": Spec("nats", "beta_Delta of f_s - f_hat_s on the ball"),
    "displacement": Spec("", "r: a bound on |theta - theta_s| after training (T13)"),
    "safe_answers_at_aligned": _share("q: the aligned model's share of safe answers"),
    "own_answer_loss_rise": Spec(
        "nats", "Delta: rise of the loss on answers that the aligned model drew, per answer"
    ),
    "teacher_answer_loss": Spec("nats", "loss on a teacher's safe answers, per answer"),
    "clipped_safe_answers": _share("E_P_s[min(w, c) a] of T22"),
    "clipped_unsafe_answers": _share("E_P_s[min(w, c) (1 - a)] of T22"),
}
# (a, factor, b): a <= factor b by their definitions.
_ORDERED = (
    *(
        (name, 1.0, "loss_range")
        for name in (
            "capability_gap_at_aligned",
            "safety_gap_at_aligned",
            "task_loss_at_aligned",
            "proxy_gap_at_task",
            "capability_gap_at_proxy",
        )
    ),
    ("loss_oscillation", 2.0, "loss_range"),
    ("quadratic_growth_safety", 1.0, "smoothness_safety"),
    ("pl_task", 1.0, "smoothness_task"),
    ("strong_convexity_task", 1.0, "smoothness_task"),
)


@dataclass(frozen=True, eq=False)
class Constants(Mapping[str, Constant]):
    """Named numbers of a real model; read them as ``constants["loss_range"].value``.

    Raises ValueError on an unknown name (with the nearest known one), a value outside its range
    in ``CONSTANTS``, another unit, and two given numbers that contradict each other.
    """

    numbers: Mapping[str, Constant | float]
    batch_shape: tuple[int, ...] = field(default=(), init=False)

    def __post_init__(self) -> None:
        known = {name: _checked(name, value) for name, value in self.numbers.items()}
        for name, factor, limit in _ORDERED:
            if name in known and limit in known:
                _in_order(name, known[name], factor, limit, known[limit])
        object.__setattr__(self, "numbers", known)

    def __getitem__(self, name: str) -> Constant:
        return cast(Constant, self.numbers[name])  # since __post_init__

    def __iter__(self) -> Iterator[str]:
        return iter(self.numbers)

    def __len__(self) -> int:
        return len(self.numbers)


def _checked(name: str, value: Constant | float) -> Constant:
    spec = CONSTANTS.get(name)
    if spec is None:
        near = difflib.get_close_matches(name[:60], CONSTANTS, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        told = name[:60] if name.isprintable() else ascii(name)[:60]
        raise ValueError(f"unknown constant {told}.{hint} Known: {', '.join(CONSTANTS)}.")
    try:
        constant = value if isinstance(value, Constant) else Constant(value)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name}: {error}") from None
    if constant.unit not in ("", spec.unit):
        expected = f"must be {spec.unit}" if spec.unit else "has none"
        advice = " One bit is 0.693147 nats." if spec.unit == "nats" else ""
        raise ValueError(f"{name}: its unit is {constant.unit!a:.40}, but it {expected}.{advice}")
    return Constant(
        _within(name, constant.value, spec),
        constant.known,
        constant.failure_probability,
        spec.unit,
    )


def _within(name: str, value: float, spec: Spec) -> float:
    """The value in its range, of which rounding may have missed a finite end."""
    says = f"{name} is {value:.6g} ({spec.means}):"
    if spec.whole and not (value >= spec.low and value.is_integer()):
        raise ValueError(f"{says} it must be a whole number of at least {spec.low:g}.")
    if value < 0 <= spec.low:
        raise ValueError(f"{says} it cannot be negative.")
    if value < spec.low * (1.0 - _ROUNDING):
        raise ValueError(f"{says} it must be at least {spec.low:g}.")
    if value > spec.high * (1.0 + _ROUNDING):
        raise ValueError(f"{says} it must be at most {spec.high:g}.")
    return min(max(value, spec.low), spec.high)


def _in_order(name: str, constant: Constant, factor: float, limit: str, other: Constant) -> None:
    # Estimates may cross by their own error.
    if Known.ESTIMATED in (constant.known, other.known):
        return
    if constant.value > factor * other.value * (1.0 + _ROUNDING) + 1e-300:
        times = "" if factor == 1.0 else f"{factor:g} "
        raise ValueError(
            f"{name} is {constant.value:.6g} and {limit} {other.value:.6g}: {CONSTANTS[name].means}"
            f" cannot exceed {times}{limit} ({CONSTANTS[limit].means})."
        )
