"""Findings on overlap beyond contexts: prompts, features and weights that two tasks share."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

import jax
import numpy as np

from sims.findings.ensemble import Lab
from sims.findings.finding import SimulatedFinding, of_mean
from sims.findings.limits import NETWORK
from sims.findings.loss_constraint import TABLE
from sims.finetune import Plan
from sims.models.log_linear import LogLinear
from sims.models.transformer import Grammar, Transformer
from sims.pair import Sizes
from theory.divergence import Array

Family = Literal["tabular", "log-linear", "mlp", "transformer"]

_GRAMMAR = Grammar(Sizes(contexts=1, responses=4), words=3, lexicon=4)
LABS: dict[Family, Lab[Any]] = {
    "tabular": TABLE,
    "log-linear": Lab(LogLinear(dimension=10), Plan(steps=300, rate=0.3), chunk=128),
    "mlp": NETWORK,
    "transformer": Lab(Transformer(_GRAMMAR, width=8, heads=1), Plan(150, 0.02), chunk=32),
}


@lru_cache(maxsize=64)
def damage(
    seed: int,
    family: Family,
    n: int,
    *,
    overlap: float,
    feature_overlap: float,
    disagreement: float,
) -> Array:
    """``[n]``: safety gaps after an unconstrained fine-tune, nats; the same draws at all knobs."""
    keys = jax.random.split(jax.random.key(seed), n)
    made = LABS[family].ensemble_of(
        keys, overlap=overlap, feature_overlap=feature_overlap, disagreement=disagreement
    )
    return np.asarray(made.finetuned(lam=[0.0]).gaps.safety)[:, 0]


def feature_effect(seed: int, family: Family, n: int, disagreement: float) -> Array:
    """``[n]``: what features shared wholly instead of not at all add, no prompt being shared."""
    at = {"overlap": 0.0, "disagreement": disagreement}
    return damage(seed, family, n, feature_overlap=1.0, **at) - damage(
        seed, family, n, feature_overlap=0.0, **at
    )


def prompt_effect(seed: int, family: Family, n: int, disagreement: float) -> Array:
    """``[n]``: what half of the prompts being shared adds, at half of the features shared."""
    at = {"feature_overlap": 0.5, "disagreement": disagreement}
    return damage(seed, family, n, overlap=0.5, **at) - damage(seed, family, n, overlap=0.0, **at)


def shared_weights(seed: int, *, family: Family = "mlp", n: int = 32) -> SimulatedFinding:
    """Without a shared prompt a table keeps all its safety; classes that share weights do not."""
    lost = damage(seed, family, n, overlap=0.0, feature_overlap=0.5, disagreement=0.5)
    return of_mean(
        "shared_weights",
        f"without a shared prompt an unconstrained {family} still loses safety (0.05 nats or more)",
        lost,
        (0.05, np.inf),
    )


def feature_overlap(seed: int, *, family: Family = "mlp", n: int = 128) -> SimulatedFinding:
    """Shared features alone do damage: no prompt is shared, features go from none to all."""
    return of_mean(
        "feature_overlap",
        f"without a shared prompt, shared features cost an unconstrained {family} safety",
        feature_effect(seed, family, n, 0.0),
        (1e-6, np.inf),
    )


def features_not_prompts(
    seed: int, *, family: Family = "mlp", disagreement: float = 0.0, n: int = 128
) -> SimulatedFinding:
    """Is the damage of shared features larger than that of shared prompts? The difference, nats.

    Where shared prompts are answered alike (disagreement 0) they do no damage, they protect.
    """
    return of_mean(
        "features_not_prompts",
        f"at disagreement {disagreement:g}, shared features cost a {family} more than shared "
        "prompts",
        feature_effect(seed, family, n, disagreement)
        - prompt_effect(seed, family, n, disagreement),
        (1e-6, np.inf),
    )
