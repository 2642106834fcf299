"""A small causal transformer over a synthetic grammar of prompts, refusals and answers (flax)."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.flatten_util import ravel_pytree

from sims.models.base import OnTables, TableProblem
from sims.pair import Knobs, Pair, Sizes, draw_pair


@dataclass(frozen=True)
class Grammar:
    """Prompts of ``words`` common words and a name of their own; answers of two tokens.

    Half of the ``2 * lexicon`` common words belong to the safety prompts. A task-only prompt takes
    each of its words from them with probability ``feature_overlap``, so that prompts share words
    without ever being equal. A context is a prompt, or a prompt and a first answer token: answers
    of safety and task data share contexts as far as they share first tokens.
    """

    prompts: Sizes = field(default_factory=lambda: Sizes(contexts=2, responses=6))
    words: int = 4
    lexicon: int = 6

    @property
    def vocabulary(self) -> int:
        """Answer tokens, then common words, then names."""
        return self.prompts.responses + 2 * self.lexicon + self.prompts.total

    def draw(self, key: jax.Array, knobs: Knobs) -> TableProblem:
        """Contexts: every prompt, then every (prompt, first token); loss a token, masses sum to 1.

        ``inputs [prompts, words + 1]`` are the prompts; the answer's tokens are added by the
        model. The knobs hold for prompts and first tokens.
        """
        first_key, second_key, words_key, shared_key = jax.random.split(key, 4)
        many, answers = self.prompts.total, self.prompts.responses
        first = draw_pair(first_key, knobs, self.prompts)
        after = Sizes(contexts=self.prompts.contexts * answers, responses=answers)
        second = draw_pair(second_key, knobs, after)

        def joined(rho: jax.Array, mu: jax.Array, then: jax.Array) -> tuple[jax.Array, jax.Array]:
            prefixes = (rho[:, None] * mu).ravel()
            return 0.5 * jnp.concatenate([rho, prefixes]), jnp.concatenate([mu, then])

        pair = Pair(
            *joined(first.rho_s, first.mu_s, second.mu_s),
            *joined(first.rho_hat, first.mu_hat, second.mu_hat),
            *joined(first.rho_f, first.mu_f, second.mu_f),
        )
        chosen = jax.random.randint(words_key, (many, self.words), 0, self.lexicon)
        is_task = jnp.arange(many) // self.prompts.contexts == 2
        borrowed = jax.random.bernoulli(
            shared_key, jnp.asarray(knobs.feature_overlap), (many, self.words)
        )
        of_task = is_task[:, None] & ~borrowed
        common = answers + chosen + jnp.where(of_task, self.lexicon, 0)
        names = answers + 2 * self.lexicon + jnp.arange(many)
        return TableProblem(pair, jnp.concatenate([common, names[:, None]], axis=1))


class Decoder(nnx.Module):
    """Embeddings, ``layers`` pre-norm blocks of causal attention and an MLP, answer logits."""

    def __init__(
        self, grammar: Grammar, width: int, heads: int, layers: int, rngs: nnx.Rngs
    ) -> None:
        length = grammar.words + 2
        self.tokens = nnx.Embed(grammar.vocabulary, width, rngs=rngs)
        self.positions = nnx.Embed(length, width, rngs=rngs)
        self.blocks = nnx.List([Block(width, heads, rngs) for _ in range(layers)])
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.head = nnx.Linear(width, grammar.prompts.responses, rngs=rngs)

    def __call__(self, tokens: jax.Array) -> jax.Array:
        length = tokens.shape[-1]
        x = self.tokens(tokens) + self.positions(jnp.arange(length))
        mask = nnx.make_causal_mask(tokens)
        for block in self.blocks:
            x = block(x, mask)
        return self.head(self.norm(x))


class Block(nnx.Module):
    """One layer of the decoder."""

    def __init__(self, width: int, heads: int, rngs: nnx.Rngs) -> None:
        self.before_attention = nnx.LayerNorm(width, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(heads, width, decode=False, rngs=rngs)
        self.before_mlp = nnx.LayerNorm(width, rngs=rngs)
        self.up = nnx.Linear(width, 2 * width, rngs=rngs)
        self.down = nnx.Linear(2 * width, width, rngs=rngs)

    def __call__(self, x: jax.Array, mask: jax.Array) -> jax.Array:
        x = x + self.attention(self.before_attention(x), mask=mask)
        return x + self.down(jax.nn.gelu(self.up(self.before_mlp(x))))


@dataclass(frozen=True)
class Transformer(OnTables):
    """``theta`` holds all weights, float32; contexts are the prompts and prefixes of a grammar."""

    grammar: Grammar = field(default_factory=Grammar)
    width: int = 16
    heads: int = 2
    layers: int = 1
    name: str = "transformer"

    def problem(self, key: jax.Array, knobs: Knobs) -> TableProblem:
        """A pair over prompts and prefixes, and the prompts' tokens."""
        return self.grammar.draw(key, knobs)

    def _decoder(self, rngs: nnx.Rngs) -> Decoder:
        return Decoder(self.grammar, self.width, self.heads, self.layers, rngs)

    @cached_property
    def _parts(self):
        graph, weights, rest = nnx.split(self._decoder(nnx.Rngs(0)), nnx.Param, ...)
        return graph, ravel_pytree(weights)[1], rest

    def start(self, key: jax.Array, problem: TableProblem) -> jax.Array:
        """Flax's own initialisation."""
        return self.initial(key)

    def initial(self, key: jax.Array) -> jax.Array:
        """Flax's own initialisation, which no problem changes."""
        return ravel_pytree(nnx.state(self._decoder(nnx.Rngs(key)), nnx.Param))[0]

    def token_logits(self, theta: jax.Array, tokens: jax.Array) -> jax.Array:
        """``[n, length, V]``: of what follows each token of rows ``[n, length]``."""
        graph, unravel, rest = self._parts
        return nnx.merge(graph, unravel(theta), rest)(tokens)

    def logits(self, theta: jax.Array, inputs: jax.Array | np.ndarray) -> jax.Array:
        """``[X, V]`` for prompts ``[P, words + 1]``: after each prompt, then after each prefix."""
        answers = self.grammar.prompts.responses
        prompts = len(inputs)
        prefixes = jnp.concatenate(
            [
                jnp.repeat(inputs, answers, axis=0),
                jnp.tile(jnp.arange(answers), prompts)[:, None],
            ],
            axis=1,
        )
        z = self.token_logits(theta, prefixes)
        # Causal: what follows the prompt is the same whatever answer token comes next.
        return jnp.concatenate([z[::answers, -2], z[:, -1]])
