"""Ask the model that is being trained, as the aligned one was asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from finebound.base.errors import InputError
from llm_validation.evaluation.hazards.layouts import Probe
from llm_validation.forecast.stored_answers import ask, refuses
from llm_validation.models.loading import LoadedModel


def in_training(model: PreTrainedModel, tokenizer: Any) -> LoadedModel:
    """The model of a Trainer, to be asked. Raises InputError where prompts cannot be padded."""
    if tokenizer.pad_token_id is None:
        raise InputError(
            "the tokenizer has no token to pad with, and probes are asked in batches.",
            remedy="Set one before the Trainer is made: tokenizer.pad_token = tokenizer.eos_token.",
        )
    return LoadedModel(
        model=model,
        tokenizer=tokenizer,
        name="the model in training",
        sha256="",
        context_length=model.config.get_text_config().max_position_embeddings,
    )


def asked_at_temperature_one(
    model: PreTrainedModel, tokenizer: Any, probes: Sequence[Probe], *, seed: int
) -> np.ndarray:
    """Which probes the model refuses now, bool ``[n]``; the same seed draws the same noise.

    Where seed and probes are those of the stored answers, unchanged weights answer the same: pairs
    then differ by what the training changed, and each answer is still a draw of its own model.
    """
    loaded = in_training(model, tokenizer)
    answers = ask(loaded, probes, temperature=1.0, seed=seed)
    pairs = zip(probes, answers, strict=True)
    return np.array([refuses(probe, text) for probe, text in pairs])
