"""The strategies of a fine-tune: constrain the alignment loss, the parameters, or both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


def _positive(name: str, values: ArrayLike, *, zero_allowed: bool = False) -> np.ndarray | float:
    array = np.asarray(values, dtype=np.float64)
    good = np.isfinite(array) & ((array >= 0) if zero_allowed else (array > 0))
    if not good.all():
        bad = array[~good].flat[0]
        floor = "at least 0" if zero_allowed else "greater than 0"
        raise ValueError(f"{name} is {bad:g}: it must be a finite number {floor}.")
    return float(array) if array.ndim == 0 else array


@dataclass(frozen=True, eq=False)
class LossConstraint:
    """Case I: ``min f_f + lam f_hat_s``, or ``min f_f`` subject to ``G_hat_s <= epsilon`` (nats).

    Exactly one of ``lam > 0`` and ``epsilon >= 0`` is given, a number or an array over the
    problem's batch. Raises ValueError otherwise.
    """

    lam: float | np.ndarray | None = None
    epsilon: float | np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.lam is not None and self.epsilon is None:
            object.__setattr__(self, "lam", _positive("lam", self.lam))
        elif self.epsilon is not None and self.lam is None:
            object.__setattr__(
                self, "epsilon", _positive("epsilon", self.epsilon, zero_allowed=True)
            )
        else:
            raise ValueError("a loss constraint takes exactly one of lam and epsilon.")

    @property
    def strength(self) -> float | np.ndarray:
        """``lam`` or ``epsilon``, whichever is given."""
        given = self.epsilon if self.lam is None else self.lam
        assert given is not None
        return given


@dataclass(frozen=True, eq=False)
class ParameterConstraint:
    """Case II: ``min f_f`` subject to ``|theta - theta_s| <= radius``.

    The norm is Euclidean: of the quadratic's coordinates, of the logits table ``[X, V]`` for a
    tabular problem, of the trained weights for a real model. Raises ValueError if radius <= 0.
    """

    radius: float | np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "radius", _positive("radius", self.radius))


@dataclass(frozen=True, eq=False)
class Hybrid:
    """Both: ``min f_f + lam f_hat_s`` subject to ``|theta - theta_s| <= radius``."""

    lam: float | np.ndarray
    radius: float | np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "lam", _positive("lam", self.lam))
        object.__setattr__(self, "radius", _positive("radius", self.radius))

    @property
    def strength(self) -> float | np.ndarray:
        """``lam``."""
        return self.lam


Strategy = LossConstraint | ParameterConstraint | Hybrid
