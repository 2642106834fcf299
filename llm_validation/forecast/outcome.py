"""What a model under some weights does: refusals, over-refusals, safety and task loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from transformers import PreTrainedModel

from finebound.base.progress import Progress, silent
from llm_validation.data.encoding import Encoded
from llm_validation.forecast.stored_answers import StoredAnswers, refusals
from llm_validation.forecast.world import FORWARD_ONLY
from llm_validation.measure.losses import Losses, measure_losses
from llm_validation.measure.shared_prefix import reads_after_a_prefix, tokens_to_read
from llm_validation.models.loading import LoadedModel

CLIP = 4.0
"""Of the weights of T22, fixed beforehand."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """Changed weights beside the aligned model's.

    ``fall`` float64 ``[n]`` and ``token_count`` ``[n]``: by how many nats each stored answer became
    less likely (NaN where that was not measured), and its tokens. ``task`` are the losses of the
    measured task rows. ``refused`` maps a temperature to bool ``[draws, n]``, the answers that were
    drawn anew, each draw by its own random numbers; none where nobody was asked.
    """

    stored: StoredAnswers
    fall: np.ndarray
    token_count: np.ndarray
    task: Losses
    refused: dict[float, np.ndarray]

    def refusal(self, *, harmful: bool = True) -> float:
        """Share of refusals: of answers at temperature 1 where there are any, else by T22."""
        mine = self.stored.harmful == harmful
        if 1.0 in self.refused:
            return float(self.refused[1.0][:, mine].mean())
        return self.refusal_by_likelihood(harmful=harmful)

    def refusal_by_likelihood(self, *, harmful: bool = True) -> float:
        """T22's estimate from stored answers alone: ``mean min(w, c) a`` over refusals ``a``."""
        mine = self.stored.harmful == harmful
        weights = np.minimum(np.exp(-self.fall[mine]), CLIP)
        return float(min(1.0, (weights * self.stored.refused[mine]).mean()))

    @property
    def effective_answers(self) -> float:
        """Effective sample size of T22's weights over the harmful probes."""
        weights = np.exp(-self.fall[self.stored.harmful])
        return float(weights.sum() ** 2 / (weights**2).sum())

    @property
    def safety_loss_change(self) -> float:
        """Nats per token on the stored answers to harmful probes (Delta_k of T21 per token)."""
        mine = self.stored.harmful
        return float(self.fall[mine].sum() / self.token_count[mine].sum())

    @property
    def delta(self) -> float:
        """T21's Delta_k: nats per answer of its first tokens, over the harmful probes."""
        return float(self.fall[self.stored.harmful].mean())


def outcome(
    loaded: LoadedModel,
    model: PreTrainedModel,
    stored: StoredAnswers,
    task_rows: Sequence[Encoded],
    *,
    temperatures: Sequence[float] = (),
    draws: int = 1,
    lookalikes: bool = True,
    seed: int = 0,
    progress: Progress = silent,
) -> Outcome:
    """Measure ``model``, the weights of ``loaded`` as they are now; no weight changes.

    ``draws`` are at temperature 1. Without ``lookalikes`` only the answers to harmful probes are
    weighed.
    """
    found = stored.likelihoods(model, pad_id=loaded.pad_id, lookalikes=lookalikes)
    changed = replace(loaded, model=model)
    asked = {
        temperature: refusals(
            changed,
            stored.probes,
            temperature=temperature,
            draws=draws if temperature else 1,
            seed=seed,
            progress=progress,
        )
        for temperature in temperatures
    }
    return Outcome(
        stored,
        stored.log_likelihood - found,
        np.array([int(row.supervised.sum()) for row in stored.rows]),
        measure_losses(model, task_rows, pad_id=loaded.pad_id, tokens_per_batch=2048),
        asked,
    )


def unchanged(
    loaded: LoadedModel,
    stored: StoredAnswers,
    task_rows: Sequence[Encoded],
    refused: dict[float, np.ndarray] | None = None,
) -> Outcome:
    """The aligned model itself: its answers are as likely as they were stored.

    ``refused`` as in ``Outcome``, by default of the stored answers.
    """
    return Outcome(
        stored,
        np.zeros(len(stored.rows)),
        np.array([int(row.supervised.sum()) for row in stored.rows]),
        measure_losses(loaded.model, task_rows, pad_id=loaded.pad_id, tokens_per_batch=2048),
        {1.0: stored.refused[None]} if refused is None else refused,
    )


def gain(before: Outcome, after: Outcome) -> float:
    """The fall of the loss on the measured task rows, nats per token."""
    fall = before.task.token_sum - after.task.token_sum
    return float(fall.sum() / after.task.token_count.sum())


def cost_of(
    model: PreTrainedModel,
    stored: StoredAnswers,
    task_rows: Sequence[Encoded],
    draws: Sequence[int] = (),
    *,
    lookalikes: bool = True,
) -> float:
    """Tokens of one measurement of ``model`` that asks each probe so often at each temperature.

    A token that is only read or drawn counts as a third, what rows share once.
    """
    shared = reads_after_a_prefix(model)
    weighed = [
        row for row, its in zip(stored.rows, stored.harmful, strict=True) if its or lookalikes
    ]
    read = tokens_to_read(weighed, shared=shared) + tokens_to_read(task_rows, shared=shared)
    return FORWARD_ONLY * (read + sum(stored.tokens_to_ask(n, shared=shared) for n in draws))
