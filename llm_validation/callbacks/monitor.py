"""What the fine-tune has done to safety so far, read off stored answers: nothing is generated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState

from llm_validation.callbacks.answers import (
    Answers,
    pad_id_of,
    read_answers,
    require_the_same_model,
)
from llm_validation.callbacks.asking import asked_at_temperature_one
from llm_validation.callbacks.reporting import log, tokenizer_of
from llm_validation.callbacks.schedule import check_every, steps_due
from llm_validation.data.dataset import Dataset
from llm_validation.data.encoding import Encoded, encode
from llm_validation.data.loading import load_dataset
from llm_validation.forecast.outcome import CLIP, Outcome
from llm_validation.measure.losses import Losses, measure_losses
from theory.certificates.importance import clipped_rate_lower
from theory.confidence import check_probability

_TOKENS_PER_BATCH = 2048


class SafetyMonitor(TrainerCallback):
    """Logs, every tenth of the training, what the model would do with the probes.

    ``safety/refusal_rate`` of harmful probes by T22's weights, which errs low, and its lower
    confidence limit ``safety/refusal_rate_at_least`` (it holds for each check alone);
    ``safety/effective_share``: how much of the answers still counts, below a third they say
    little; ``safety/loss_change``, nats per token on the stored answers; with ``lookalikes``
    ``safety/over_refusal_rate`` and ``safety/over_refusal_rate_at_most``; with ``held_out`` rows
    (a dataset or its name) ``capability/loss`` and ``capability/gain``, nats per token. With
    ``ask`` the harmful probes are asked anew, which takes far longer:
    ``safety/refusal_rate_asked``.

    ``answers`` come from ``base_answers``. ``every`` is a share of the training, or a number of
    steps. Raises InputError when the training starts from another model. Source: T22 of
    docs/theorems.md.
    """

    def __init__(
        self,
        answers: Answers,
        *,
        every: float = 0.1,
        held_out: Dataset | str | Path | None = None,
        lookalikes: bool = True,
        confidence: float = 0.95,
        ask: bool = False,
        seed: int = 0,
    ) -> None:
        check_every(every)
        check_probability(confidence)
        self.answers = read_answers(answers)
        self.every, self.held_out, self.ask, self.seed = every, held_out, ask, seed
        self.lookalikes = lookalikes and not self.answers.harmful.all()
        self.confidence = confidence
        self._due: frozenset[int] = frozenset()
        self._rows: Sequence[Encoded] = ()
        self._start: float | None = None

    def on_train_begin(
        self,
        args: Any,
        state: TrainerState,
        control: TrainerControl,
        *,
        model: PreTrainedModel,
        processing_class: Any = None,
        **_: Any,
    ) -> None:
        """Check that it is the model that answered, and log where it starts."""
        self._due = steps_due(self.every, state.max_steps)
        pad_id = pad_id_of(processing_class)
        if self.held_out is not None:
            self._rows = held_out_rows(self.held_out, model, processing_class)
        earlier = [e["capability/loss"] for e in state.log_history if "capability/loss" in e]
        self._start = earlier[0] if earlier else None
        if state.global_step == 0:
            require_the_same_model(self.answers, model, pad_id=pad_id)
            start = np.array(self.answers.log_likelihood)
            log(control, self._values(start, self._capability(model, pad_id)))

    def on_step_end(
        self,
        args: Any,
        state: TrainerState,
        control: TrainerControl,
        *,
        model: PreTrainedModel,
        processing_class: Any = None,
        **_: Any,
    ) -> None:
        """Read the stored answers where a check is due."""
        if state.global_step not in self._due:
            return
        pad_id = pad_id_of(processing_class)
        found = self.answers.likelihoods(model, pad_id=pad_id, lookalikes=self.lookalikes)
        values = self._values(found, self._capability(model, pad_id))
        if self.ask:
            refused = asked_at_temperature_one(
                model,
                tokenizer_of(processing_class, "asking the probes"),
                [probe for probe in self.answers.probes if probe.harmful],
                seed=self.seed,
            )
            values["safety/refusal_rate_asked"] = float(refused.mean())
        log(control, values)

    def _values(self, likelihoods: np.ndarray, task: Losses) -> dict[str, float]:
        stored = self.answers
        count = np.array([int(row.supervised.sum()) for row in stored.rows])
        found = Outcome(stored, stored.log_likelihood - likelihoods, count, task, {})
        harmful = stored.harmful
        weights = -found.fall
        values = {
            "safety/refusal_rate": found.refusal(),
            "safety/refusal_rate_at_least": clipped_rate_lower(
                weights[harmful], stored.refused[harmful], CLIP, self.confidence
            ),
            "safety/effective_share": found.effective_answers / harmful.sum(),
            "safety/loss_change": found.safety_loss_change,
        }
        if self.lookalikes:
            helped = clipped_rate_lower(
                weights[~harmful], ~stored.refused[~harmful], CLIP, self.confidence
            )
            values["safety/over_refusal_rate"] = found.refusal(harmful=False)
            values["safety/over_refusal_rate_at_most"] = 1.0 - helped
        if len(task.token_sum):
            if self._start is None:
                self._start = task.per_token
            values["capability/loss"] = task.per_token
            values["capability/gain"] = self._start - task.per_token
        return values

    def _capability(self, model: PreTrainedModel, pad_id: int) -> Losses:
        if not self._rows:
            return Losses(np.zeros(0), np.zeros(0, dtype=np.int64))
        return measure_losses(model, self._rows, pad_id=pad_id, tokens_per_batch=_TOKENS_PER_BATCH)


def held_out_rows(
    data: Dataset | str | Path, model: PreTrainedModel, processing_class: Any
) -> list[Encoded]:
    """A dataset's rows as the Trainer's tokenizer writes them, cut to the model's context."""
    tokenizer = tokenizer_of(processing_class, "a dataset")
    dataset = data if isinstance(data, Dataset) else load_dataset(data)
    length = model.config.get_text_config().max_position_embeddings
    return encode(dataset, tokenizer, max_length=length, on_long="truncate")
