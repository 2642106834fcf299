"""How the tokens of an answer are chosen: the most likely one, or drawn by each answer's seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finebound.base.records import spawn_seed

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen: the most likely one at temperature 0, else drawn by ``seed``.

    The draws of an answer depend on the seed and its own prompt, not on its batch or on what was
    resumed. Only the ``top_p`` of the probability can be drawn.
    """

    max_new_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens must be at least 1, not {self.max_new_tokens}")
        if not 0.0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature must be finite and not negative: {self.temperature}")
        if not 0.0 < self.top_p <= 1.0:
            raise ValueError(f"top_p must be in (0, 1], not {self.top_p}")


def token_choice(sampling: Sampling, keys: Sequence[str]) -> Any:
    """A logits processor after which the largest logit is the token to take.

    At a positive temperature it adds Gumbel noise of each row's own generator, which makes the
    argmax a draw. ``broken`` marks the rows that had a logit which is not a number, where the
    argmax would be some token without a sign that anything went wrong.
    """
    import torch
    from transformers import LogitsProcessor

    generators = [
        torch.Generator().manual_seed(spawn_seed(sampling.seed, key) & 0xFFFF_FFFF) for key in keys
    ]

    class Choice(LogitsProcessor):
        broken = torch.zeros(len(keys), dtype=torch.bool)

        def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            bad = scores.isnan().any(dim=-1) | (scores == float("inf")).any(dim=-1)
            self.broken = self.broken | bad.cpu()
            if sampling.temperature == 0.0:
                return scores
            scores = _nucleus(scores.float() / sampling.temperature, sampling.top_p)
            uniform = torch.stack(
                [torch.rand(scores.shape[-1], generator=g, dtype=torch.float64) for g in generators]
            )
            gumbel = -(-uniform.clamp_min(1e-300).log()).log()
            return scores + gumbel.to(scores)

    return Choice()


def _nucleus(scores: torch.Tensor, top_p: float) -> torch.Tensor:
    """Minus infinity outside the most likely tokens that together have ``top_p``."""
    if top_p == 1.0:
        return scores
    ordered, order = scores.sort(dim=-1, descending=True)
    probabilities = ordered.softmax(dim=-1)
    outside = probabilities.cumsum(dim=-1) - probabilities >= top_p
    return scores.masked_fill(outside.scatter(-1, order, outside), float("-inf"))
