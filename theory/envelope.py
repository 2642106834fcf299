"""What finished runs prove about every other fine-tune of the same model class (T17)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from theory.divergence import Array

_CONTRADICTION = 1e-12
_ROUNDING = 2.0**-49


@dataclass(frozen=True)
class Run:
    """One finished run: its losses ``f_hat_s``, ``f_f`` (nats), ``lam >= 0`` and its ``slack``.

    The run's objective ``task_loss + lam * proxy_loss`` is within ``slack`` of the minimum over
    the model class. Raises ValueError for a value that is not finite, or negative lam or slack.
    """

    proxy_loss: float
    task_loss: float
    lam: float
    slack: float = 0.0

    def __post_init__(self) -> None:
        for name in ("proxy_loss", "task_loss", "lam", "slack"):
            value = float(getattr(self, name))
            if not np.isfinite(value):
                raise ValueError(f"a run's {name} is {value}: it must be a finite number.")
            object.__setattr__(self, name, value)
        for name in ("lam", "slack"):
            if getattr(self, name) < 0:
                raise ValueError(f"a run's {name} is {getattr(self, name):g}: it is at least 0.")


@dataclass(frozen=True, eq=False)
class Envelope:
    """``f_f(theta) >= max_i intercept_i - lam_i f_hat_s(theta)`` for every theta (T17 a)."""

    lam: Array
    intercept: Array

    def __call__(self, proxy_loss: ArrayLike) -> Array:
        """The least task loss any fine-tune with this proxy loss can have, ``[...]``, nats."""
        proxy_loss = np.asarray(proxy_loss, dtype=np.float64)
        return (self.intercept - self.lam * proxy_loss[..., None]).max(axis=-1)


@dataclass(frozen=True, eq=False)
class Bracket:
    """Where both losses of a minimiser at ``lam`` must lie, ``[...]`` nats; +-inf if unknown."""

    lam: Array
    proxy_loss_lower: Array
    proxy_loss_upper: Array
    task_loss_lower: Array
    task_loss_upper: Array


def undertrained(runs: Sequence[Run]) -> Array:
    """The least slack that the runs prove of one another, ``[k]`` nats (T17 c).

    Run i is at least ``max_j (c_i + lam_i s_i - c_j - lam_i s_j)_+`` above the minimum of its own
    objective, because run j reached less. Raises ValueError for no run.
    """
    lam, proxy, task, _ = _columns(runs)
    reached = task + np.multiply.outer(lam, proxy)  # [i, j]: run j on the objective of run i
    return np.diagonal(reached) - reached.min(axis=1)


def undertrained_by_radius(radii: ArrayLike, task_losses: ArrayLike) -> Array:
    """The same for parameter constraints: a run with a larger ball must do no worse, ``[k]``.

    Raises ValueError when the lengths differ or a value is not finite. Source: T17 c.
    """
    radii = np.asarray(radii, dtype=np.float64)
    losses = np.asarray(task_losses, dtype=np.float64)
    if radii.ndim != 1 or radii.shape != losses.shape or radii.size == 0:
        raise ValueError("radii and task_losses need one entry for each run.")
    if not (np.isfinite(radii).all() and np.isfinite(losses).all()):
        raise ValueError("radii and task_losses must be finite.")
    within = radii[None, :] <= radii[:, None]
    return losses - np.where(within, losses, np.inf).min(axis=1)


def envelope(runs: Sequence[Run]) -> Envelope:
    """T17(a): the convex lower envelope of ``f_f`` over ``f_hat_s`` that the runs prove.

    No fine-tune of this model class lies below it. Raises ValueError for no run, or when the
    claimed slacks contradict the other runs (see ``undertrained``).
    """
    lam, proxy, task, slack = _consistent(runs)
    return Envelope(lam=lam, intercept=task + lam * proxy - slack)


def bracket(runs: Sequence[Run], lam: ArrayLike, slack: ArrayLike = 0.0) -> Bracket:
    """T17(b): both losses of a ``slack``-minimiser at a ``lam`` that was not run, nats.

    Its point lies above the envelope and its objective is at most ``min_j c_j + lam s_j + slack``;
    the four numbers are the sharp limits of that polygon. Never wider than T17's pairwise form,
    which uses one run for both inequalities. ``lam`` and ``slack`` broadcast. At ``lam`` equal to
    a run's the slopes agree and only the other runs limit the losses. Raises ValueError as
    ``envelope`` does, and for ``lam <= 0`` or a negative slack.
    """
    run_lam, proxy, task, run_slack = _consistent(runs)
    at, room = np.broadcast_arrays(
        np.asarray(lam, dtype=np.float64), np.asarray(slack, dtype=np.float64)
    )
    if not (np.isfinite(at) & (at > 0)).all():
        raise ValueError("lam must be finite numbers greater than 0.")
    if not (np.isfinite(room) & (room >= 0)).all():
        raise ValueError("slack must be finite numbers of at least 0.")
    # s <= (U - h_i) / (lam - lam_i) with U - h_i = min_j (c_j + lam s_j) + slack - h_i, written as
    # s_i + (...) / (lam - lam_i) so that near-equal objectives are not subtracted.
    objective = task + at[..., None] * proxy  # [..., j]
    reached = objective.min(axis=-1, keepdims=True)
    rounding = _ROUNDING * (np.abs(task) + at[..., None] * np.abs(proxy)).max(axis=-1)
    room = room + rounding
    excess = (reached - objective) + room[..., None] + run_slack  # [..., i]
    distance = at[..., None] - run_lam
    with np.errstate(divide="ignore", invalid="ignore"):
        limit = proxy + excess / distance
    upper = np.where(distance > 0, limit, np.inf).min(axis=-1)
    lower = np.where(distance < 0, limit, -np.inf).max(axis=-1)
    highest = reached[..., 0] + room
    return Bracket(
        lam=at,
        proxy_loss_lower=lower,
        proxy_loss_upper=upper,
        task_loss_lower=highest - at * upper,
        task_loss_upper=highest - at * lower,
    )


def _columns(runs: Sequence[Run]) -> tuple[Array, Array, Array, Array]:
    if not runs:
        raise ValueError("an envelope needs at least one run.")
    table = np.array([[run.lam, run.proxy_loss, run.task_loss, run.slack] for run in runs])
    lam, proxy, task, slack = table.T
    return lam, proxy, task, slack


def _consistent(runs: Sequence[Run]) -> tuple[Array, Array, Array, Array]:
    lam, proxy, task, slack = _columns(runs)
    missing = undertrained(runs) - slack
    scale = np.abs(task) + lam * np.abs(proxy)
    wrong = missing > _CONTRADICTION * (1.0 + scale.max())
    if wrong.any():
        i = int(np.argmax(missing))
        raise ValueError(
            f"run {i + 1} (lam {lam[i]:g}) claims a slack of {slack[i]:.6g}, but another run is "
            f"{missing[i] + slack[i]:.6g} lower on its objective: give it at least that slack."
        )
    # Exact minimisers miss one another's objective by rounding: count it as slack.
    return lam, proxy, task, np.maximum(slack, missing + slack) + _ROUNDING * scale
