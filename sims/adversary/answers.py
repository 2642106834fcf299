"""T21 and T22: fine-tunes that lose as many safe answers as their loss and weights allow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sims.adversary.ascent import Parameters, World
from sims.adversary.form import FROM_START, Attempt, Form
from sims.families.tabular import gap
from theory.bound import Direction, Quantity
from theory.divergence import Array
from theory.problem import Constants, Distribution
from theory.strategy import LossConstraint

PROMPTS, ANSWERS, SAFE = 2, 3, 2


def _form(
    statement: str,
    form: str,
    ratio: Callable[[Any], tuple[jax.Array, jax.Array]],
    *,
    part: str = "",
    direction: Direction = Direction.LOWER,
) -> Form:
    return Form(
        statement,
        Quantity.SAFE_ANSWERS,
        direction,
        form,
        ratio,
        part=part,
        strategy="any",
        family="answers",
    )


def _log_ratio(p: jax.Array, q: jax.Array) -> jax.Array:
    return p * (jnp.log(p) - jnp.log(q))


class Answers(World):
    """An aligned and a fine-tuned model on two prompts with two safe answers and another one.

    T21 from the loss is measured by what is lost of the aligned model's share, the others by the
    whole share.
    """

    name = "answers"
    told = ("mass", "before", "after", "teacher", "clip")

    def __init__(self) -> None:
        self.forms = (
            _form("T21", "divergence", lambda q: (q.divergence, q.rise), part=FROM_START),
            _form(
                "T21",
                "Pinsker",
                lambda q: (q.share - q.kept, jnp.sqrt(0.5 * q.rise)),
                part=FROM_START,
            ),
            _form("T21", "teacher", lambda q: (jnp.exp(-q.loss), q.kept)),
            _form("T22", "clipped weights", lambda q: (q.clipped, q.kept)),
            _form(
                "T22",
                "clipped weights",
                lambda q: (q.kept, 1.0 - q.clipped_others),
                direction=Direction.UPPER,
            ),
        )
        self.limits = {
            "mass": (-5.0, 5.0),
            "before": (-8.0, 8.0),
            "after": (-8.0, 8.0),
            "teacher": (-8.0, 8.0),
            "clip": (-2.0, 3.0),
        }

    def draw(self, rng: np.random.Generator, form: Form, n: int) -> Parameters:
        shapes = {
            "mass": (PROMPTS,),
            "before": (PROMPTS, ANSWERS),
            "after": (PROMPTS, ANSWERS),
            "teacher": (PROMPTS, SAFE),
            "clip": (),
        }
        return {name: rng.normal(size=(n, *shape)) for name, shape in shapes.items()}

    def quantities(self, parameters: Mapping[str, jax.Array]) -> Any:
        mass, before, after, taught = (
            jax.nn.softmax(parameters[name]) for name in ("mass", "before", "after", "teacher")
        )
        clip = jnp.exp(parameters["clip"])
        clipped = jnp.minimum(after, clip * before)
        share, kept = ((mass * p[:, :SAFE].sum(axis=-1)).sum() for p in (before, after))
        return SimpleNamespace(
            mass=mass,
            before=before,
            after=after,
            teacher=jnp.pad(taught, ((0, 0), (0, ANSWERS - SAFE))),
            clip=clip,
            share=share,
            kept=kept,
            divergence=_log_ratio(share, kept) + _log_ratio(1.0 - share, 1.0 - kept),
            rise=(mass * _log_ratio(before, after).sum(axis=-1)).sum(),
            loss=-(mass * (taught * jnp.log(after[:, :SAFE])).sum(axis=-1)).sum(),
            clipped=(mass * clipped[:, :SAFE].sum(axis=-1)).sum(),
            clipped_others=(mass * clipped[:, SAFE:].sum(axis=-1)).sum(),
        )

    def attempt(self, form: Form, x: Mapping[str, Array]) -> Attempt:
        mass, before, after = x["mass"], x["before"], x["after"]
        clipped = np.minimum(after, x["clip"][:, None, None] * before)

        def share(policy: Array, answers: slice) -> Array:
            return np.minimum((mass * policy[..., answers].sum(axis=-1)).sum(axis=-1), 1.0)

        safe, others = slice(0, SAFE), slice(SAFE, None)
        start, truth = share(before, safe), share(after, safe)
        taught = x["teacher"][..., safe] * np.log(after[..., safe])
        known = {
            "safe_answers_at_aligned": start,
            "own_answer_loss_rise": gap(Distribution(mass, before), after),
            "teacher_answer_loss": -(mass * taught.sum(axis=-1)).sum(axis=-1),
            "clipped_safe_answers": share(clipped, safe),
            "clipped_unsafe_answers": share(clipped, others),
        }
        columns = [dict(zip(known, row, strict=True)) for row in zip(*known.values(), strict=True)]
        # The bound moves by the rounding of the divergence over its slope, which is what is lost.
        lost = np.maximum(np.abs(start - truth), 1e-300)
        return Attempt(
            problem=[Constants(row) for row in columns],
            strategy=LossConstraint(lam=1.0),
            truth=truth,
            start=start,
            error=1e-15 * (1.0 + (1.0 / lost if form.part == FROM_START else np.zeros_like(lost))),
            checked=np.ones(len(truth), dtype=bool),
            attained={"before": before, "after": after},
        )
