"""A tiny Llama that refuses, its stored answers, and the trainers of three packages around it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from other_trainers import REFUSAL, make_probes, trainer_of, words

if TYPE_CHECKING:
    from transformers import Trainer

    from llm_validation.forecast.stored_answers import StoredAnswers


@pytest.fixture(scope="session")
def refusing(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model after 120 steps on refusals."""
    import torch

    from llm_validation.data.dataset import Dataset
    from llm_validation.data.encoding import encode
    from llm_validation.measure.supervised import SupervisedBatch
    from llm_validation.models.loading import load_model

    loaded = load_model(tiny_model_folder)
    data = Dataset.of([(p, REFUSAL) for p in words(48, 1)], name="refusals")
    rows = encode(data, loaded.tokenizer, max_length=512)
    optimiser = torch.optim.AdamW(loaded.model.parameters(), lr=4e-3)
    for step in range(120):
        some = [rows[i % 48] for i in range(12 * step, 12 * step + 12)]
        batch = SupervisedBatch.of(some, torch.device("cpu"), loaded.pad_id)
        batch.token_losses(batch.logits(loaded.model)).mean().backward()
        optimiser.step()
        optimiser.zero_grad()
    folder = tmp_path_factory.mktemp("refusing")
    loaded.model.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def answers(refusing: Path) -> StoredAnswers:
    """Answers of the refusing model to 16 harmful and 16 harmless probes."""
    from llm_validation.forecast.stored_answers import store_answers
    from llm_validation.models.loading import load_model

    return store_answers(load_model(refusing), make_probes(16), seed=0)


@pytest.fixture
def make_trainer(refusing: Path, tmp_path: Path) -> Callable[..., Trainer]:
    """``make_trainer(kind, callbacks)``: a Trainer, SFTTrainer or DPOTrainer on 32 short rows."""
    return lambda kind, callbacks, **settings: trainer_of(
        kind, callbacks, refusing, tmp_path / "out", **settings
    )
