"""Published predictors that read gradients of single examples at theta_s.

They all score the direction of the fine-tune's first step, ``u = g_f + lambda g_proxy``, on the
same rows as T16's forecast: published for an unconstrained fine-tune (u = g_f), the proxy's pull
is their natural extension. A radius does not change a direction, so it does not change them.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor

from llm_validation.forecast.baselines import Score
from llm_validation.forecast.gradient_rows import GradientRows, gradient_rows, products
from llm_validation.forecast.world import Role, World, lam_of
from llm_validation.measure.coordinates import cosine, norm
from llm_validation.training.plan import TrainingPlan

ROWS = 12
"""Rows of each dataset, as many as ``Linearised`` takes, so that they are measured once."""
TOP_RANK, EXPLAINED = 32, 0.9
QUANTILE = 0.1


def gradient_baselines(*, rows: int = ROWS) -> list[Score]:
    """Every predictor of this module, on ``rows`` rows of each dataset."""
    return [
        Score(
            name,
            source,
            partial(score, rows=rows),
            partial(_cost, rows=rows),
            partial(_cost_by_role, rows=rows),
        )
        for name, source, score in (
            ("gradient cosine", "common practice", gradient_cosine),
            ("Fisher overlap", "2602.15799", fisher_overlap),
            ("quartic stability", "alignment-risk 1.14.1", quartic_stability),
            ("projected updates", "2605.04572", projected_updates),
        )
    ]


def gradient_cosine(world: World, plan: TrainingPlan, *, rows: int = ROWS) -> float:
    """Minus the cosine of the safety loss's gradient and u: a step along -u raises f_s by it."""
    return -cosine(
        gradient_rows(world, plan, "safety", rows).mean, objective_gradient(world, plan, rows=rows)
    )


def fisher_overlap(world: World, plan: TrainingPlan, *, rows: int = ROWS) -> float:
    """``|P u| / |u|``, P onto the top eigenvectors of the safety Fisher matrix (2602.15799).

    The empirical Fisher matrix of the safety rows; eigenvectors up to 90 % of its trace and 32
    of them, as the package alignment-risk chooses. The paper evaluates the *update* of a
    finished fine-tune as well; beforehand there is only the first one. It also reports that the
    score says less of LoRA fine-tunes.
    """
    update = objective_gradient(world, plan, rows=rows)
    safety = gradient_rows(world, plan, "safety", rows)
    _, coefficients = _safety_subspace(safety, update)
    return float(np.linalg.norm(coefficients) / norm(update))


def quartic_stability(world: World, plan: TrainingPlan, *, rows: int = ROWS) -> float:
    """The stability forecast of alignment-risk 1.14.1 at the last step, in its own unit.

    ``lambda_min / 2 (gamma t^2 / 2 - epsilon t)_+^2`` with ``epsilon = eta |F^(1/2) P u|``,
    ``gamma = eta^2 |F^(1/2) P H u|``, t the number of steps, lambda_min the 0.1-quantile of the
    kept eigenvalues (after 2602.15799, theorem 6.2 and corollary 6.3, as that package says). Its
    formula is followed, its code is not used: H is here the Gauss-Newton matrix of drawn labels
    where the package takes one batch's Hessian. It is a *lower* bound's form, in which a first
    step into the sensitive directions counts as safe; it was made for SGD.
    """
    update = objective_gradient(world, plan, rows=rows)
    turned = _curvature_times(gradient_rows(world, plan, "task", rows), update)
    if lam := lam_of(plan):
        turned = turned + lam * _curvature_times(gradient_rows(world, plan, "proxy", rows), update)
    safety = gradient_rows(world, plan, "safety", rows)
    values, along = _safety_subspace(safety, update)
    _, across = _safety_subspace(safety, turned)
    rate = float(plan.learning_rates().mean())
    epsilon = rate * float(np.sqrt((values * along**2).sum()))
    gamma = rate**2 * float(np.sqrt((values * across**2).sum()))
    drift = max(0.5 * gamma * plan.steps**2 - epsilon * plan.steps, 0.0)
    smallest = float(np.quantile(values, QUANTILE, method="lower"))
    return 0.5 * smallest * drift**2


def projected_updates(world: World, plan: TrainingPlan, *, rows: int = ROWS) -> float:
    """Mean over the task rows of a row's update along danger minus along safety (2605.04572).

    SQSD's score, summed over the data as u is. An update is one step ``-gradient``; the safety
    direction is the step of the safety rows. The danger direction is that of the world's
    ``danger`` rows, and without them the reverse of the safety direction. Approximated: the paper
    takes both directions from whole fine-tunes and updates under its own initialisation.
    """
    safety = -gradient_rows(world, plan, "safety", rows).mean
    danger = -safety if world.danger is None else -gradient_rows(world, plan, "danger", rows).mean
    direction = danger / danger.norm() - safety / safety.norm()
    score = -_mean_along(gradient_rows(world, plan, "task", rows), direction)
    if lam := lam_of(plan):
        score -= lam * _mean_along(gradient_rows(world, plan, "proxy", rows), direction)
    return score


def _mean_along(rows: GradientRows, direction: Tensor) -> float:
    """The mean of the rows' contributions along a direction."""
    return float((rows.given @ direction).sum() / rows.token_count.sum())


def objective_gradient(world: World, plan: TrainingPlan, *, rows: int = ROWS) -> Tensor:
    """``u = g_f + lambda g_proxy [d]`` on the rows at hand."""
    total = gradient_rows(world, plan, "task", rows).mean
    if lam := lam_of(plan):
        total = total + lam * gradient_rows(world, plan, "proxy", rows).mean
    return total


def _safety_subspace(safety: GradientRows, vector: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Kept eigenvalues ``[k]`` of the safety Fisher matrix and the vector's coefficients ``[k]``.

    From the rows' Gram matrix: with ``S S' = U L U'`` the eigenvectors are ``S'U / sqrt(L)``.
    """
    rows = safety.given
    values, vectors = torch.linalg.eigh(products(rows, rows))
    values, vectors = values.flip(0), vectors.flip(1)
    share = values.cumsum(0) / values.sum()
    kept = min(int((share < EXPLAINED).sum()) + 1, TOP_RANK, int((values > 0).sum()))
    along = products(rows, vector[None])[:, 0]
    coefficients = vectors[:, :kept].T @ along / values[:kept].sqrt()
    return (values[:kept] / len(rows)).cpu().numpy(), coefficients.cpu().numpy()


def _curvature_times(rows: GradientRows, vector: Tensor) -> Tensor:
    drawn = rows.drawn
    return drawn.T @ (drawn @ vector) / float(rows.token_count.sum())


def _cost(world: World, plan: TrainingPlan, *, rows: int = ROWS) -> float:
    return sum(_cost_by_role(world, plan, rows=rows).values())


def _cost_by_role(world: World, plan: TrainingPlan, *, rows: int = ROWS) -> dict[Role, float]:
    roles: list[Role] = ["safety", "task", *(["proxy"] if lam_of(plan) else [])]
    return {role: gradient_rows(world, plan, role, rows).cost_tokens for role in roles}
