"""Toy fine-tunes that can cost refusals: rows of a grammar, an aligned transformer, its measures.

An aligned model refuses on harmful prompts and answers harmless ones in any way that is no refusal.
The task then teaches one way of answering, and on shared prompts to answer what was refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sims.models.transformer import Grammar, Transformer
from sims.pair import Sizes

Values = jax.Array | np.ndarray
"""Numbers inside a compiled program, and outside of it."""
REFUSES = 0.97
"""Probability of a refusal in the safety data."""


class Rows(NamedTuple):
    """Every row of a world, a prompt and two answer tokens; ``[n, ...]`` for a batch of worlds.

    ``prompts [P, words + 1]``; ``tokens [R, words + 2]``: prompt and first answer token;
    ``targets [R, 2]``: both answer tokens. ``task``, ``safety`` and ``aligning`` ``[R]`` are the
    rows' probabilities in the three data sets.
    """

    prompts: np.ndarray
    tokens: np.ndarray
    targets: np.ndarray
    task: np.ndarray
    safety: np.ndarray
    aligning: np.ndarray


class Measured(NamedTuple):
    """Losses in nats per token, and the probability that a harmful prompt is refused."""

    safety: Values
    refusal: Values
    task: Values


@dataclass(frozen=True)
class World:
    """What all toy fine-tunes share: the grammar's sizes and the model class."""

    model: Transformer = field(
        default_factory=lambda: Transformer(
            Grammar(Sizes(contexts=4, responses=6), words=3, lexicon=4), width=16, heads=2, layers=1
        )
    )

    @property
    def _answers(self) -> int:
        return self.model.grammar.prompts.responses

    @property
    def _refuses(self) -> np.ndarray:
        """Which first tokens refuse ``[V]``: the first third."""
        return np.arange(self._answers) * 3 // self._answers == 0

    def rows(self, rng: np.random.Generator, *, overlap: float, feature_overlap: float) -> Rows:
        """Half the prompts are harmful; ``overlap`` of the task's rows help with those.

        Words of harmful prompts come from half of the lexicon; a harmless prompt takes each of
        its words from there with probability ``feature_overlap``.
        """
        grammar, answers = self.model.grammar, self._answers
        many = grammar.prompts.total
        harmful = np.arange(many) < many // 2
        borrowed = harmful[:, None] | (rng.random((many, grammar.words)) < feature_overlap)
        common = rng.integers(grammar.lexicon, size=borrowed.shape)
        common = answers + common + np.where(borrowed, 0, grammar.lexicon)
        names = answers + 2 * grammar.lexicon + np.arange(many)
        prompts = np.concatenate([common, names[:, None]], axis=1)

        def targets(*shape: int) -> np.ndarray:
            return rng.dirichlet(np.full(answers, 0.5), size=shape)

        refuses = self._refuses
        helps = targets(many) * ~refuses
        helps /= helps.sum(axis=1, keepdims=True)
        refused = targets(many) * np.where(refuses, 1.0, 0.0)
        refused = REFUSES * refused / refused.sum(axis=1, keepdims=True)
        refused += (1.0 - REFUSES) * ~refuses / (~refuses).sum()
        anyhow = np.broadcast_to(~refuses / (~refuses).sum(), (many, answers))
        even = np.full((many, answers, answers), 1.0 / answers)

        def joint(mass: np.ndarray, first: np.ndarray, then: np.ndarray) -> np.ndarray:
            return (mass[:, None, None] / mass.sum() * first[:, :, None] * then).ravel()

        safety = joint(harmful, refused, targets(many, answers))
        index = np.arange(many * answers**2)
        prompt, first, second = index // answers**2, index // answers % answers, index % answers
        return Rows(
            prompts=prompts,
            tokens=np.concatenate([prompts[prompt], first[:, None]], axis=1),
            targets=np.stack([first, second], axis=1),
            task=joint(np.where(harmful, overlap, 1 - overlap), helps, targets(many, answers)),
            safety=safety,
            aligning=0.5 * (safety + joint(~harmful, anyhow, even)),
        )

    def start(self, key: jax.Array) -> np.ndarray:
        """Weights ``[d]`` before alignment, float32."""
        return np.asarray(self.model.initial(key))

    def losses(self, theta: jax.Array, tokens: jax.Array, targets: jax.Array) -> jax.Array:
        """Losses of rows ``[n]`` in nats per answer token."""
        z = self.model.token_logits(theta, tokens)[:, -2:]
        chosen = jnp.take_along_axis(jax.nn.log_softmax(z), targets[:, :, None], axis=2)
        return -chosen.mean(axis=(1, 2))

    def measured(self, theta: jax.Array, rows: Rows) -> Measured:
        """Exact: over all rows, weighted by their probabilities."""
        many, answers = len(rows.prompts), self._answers
        log_policy = jax.nn.log_softmax(self.model.logits(theta, rows.prompts))
        first = log_policy[:many]
        nats = -0.5 * (first[:, :, None] + log_policy[many:].reshape(many, answers, answers))
        by_prompt = rows.safety.reshape(many, -1).sum(axis=1)
        refused = jnp.where(self._refuses, jnp.exp(first), 0.0).sum(axis=1)
        return Measured(
            safety=rows.safety @ nats.ravel(),
            refusal=by_prompt @ refused,
            task=rows.task @ nats.ravel(),
        )
