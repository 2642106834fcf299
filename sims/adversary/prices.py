"""T11: policies that hedge as well as they can against safety data they never saw."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sims.adversary.ascent import Parameters, World
from sims.adversary.form import Attempt, Form
from sims.families.tabular import gap
from theory.bound import Direction, Quantity
from theory.divergence import Array
from theory.problem import Constants, Distribution
from theory.strategy import LossConstraint

RESPONSES = 4


def _price(form: str, worst: str, least) -> Form:
    return Form(
        "T11",
        Quantity.SAFETY_GAP,
        Direction.LOWER,
        form,
        lambda q: (least(q), getattr(q, worst)),
        strategy=worst,
        family="price",
    )


class Prices(World):
    """One policy on one context with ``RESPONSES`` answers, one distance ``eta`` of the data.

    "context": the safety data moves eta to a context that the proxy misses; the truth is the gap
    for the answer there that the policy thinks least likely. "teacher": eta moves from the
    proxy's only answer to another one, or not at all.
    """

    name = "prices"
    told = ("policy", "eta")

    def __init__(self) -> None:
        self.forms = (
            _price("context", "unseen", lambda q: q.eta * jnp.log(float(RESPONSES))),
            _price("teacher", "wrong", lambda q: q.spread),
            _price("teacher_exact", "wrong", lambda q: q.exact),
        )
        self.limits = {"policy": (-40.0, 40.0), "odds": (-6.0, 4.0)}

    def draw(self, rng: np.random.Generator, form: Form, n: int) -> Parameters:
        return {"policy": rng.normal(size=(n, RESPONSES)), "odds": rng.normal(size=n)}

    def quantities(self, parameters: Mapping[str, jax.Array]) -> Any:
        p = jax.nn.log_softmax(parameters["policy"])
        eta = jax.nn.sigmoid(parameters["odds"])
        rest = (1.0 - eta) * (jnp.log1p(-eta) - p[0])
        moved = eta * (jnp.log(eta) - p[1:].min()) + rest
        power = jnp.exp(jnp.log1p(-eta) / eta)
        others = RESPONSES - 1.0
        hedged = jnp.log1p(others * eta * power / (1.0 - eta))
        spread = eta * jnp.log(others)
        return SimpleNamespace(
            policy=jnp.exp(p),
            eta=eta,
            unseen=-eta * p.min(),
            wrong=jnp.maximum(-p[0], moved),
            spread=spread,
            exact=jnp.where(others * power <= 1.0, hedged, spread),
        )

    def attempt(self, form: Form, x: Mapping[str, Array]) -> Attempt:
        eta = x["eta"]
        answers = np.eye(RESPONSES)
        certain = answers[0]
        worst = np.zeros(len(eta))
        for answer in answers:
            if form.strategy == "unseen":
                target, mass = np.broadcast_to(answer, x["policy"].shape), eta
            else:
                target, mass = (1.0 - eta[:, None]) * certain + eta[:, None] * answer, 1.0
            data = Distribution(np.ones((len(eta), 1)), target[:, None, :])
            worst = np.maximum(worst, mass * gap(data, x["policy"][:, None, :]))
        return Attempt(
            problem=[
                Constants({"tv": value, "tv_teacher": value, "vocabulary": RESPONSES})
                for value in eta
            ],
            strategy=LossConstraint(lam=1.0),
            truth=worst,
            start=np.zeros_like(eta),
            error=np.full_like(eta, 1e-15),
            checked=np.ones(len(eta), dtype=bool),
            attained={"policy": x["policy"]},
        )
