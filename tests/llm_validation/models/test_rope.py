"""Rows on both sides of a switch of rotary factors have the losses that each has alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from llm_validation.data.encoding import Encoded, collate, token_budget_batches
from llm_validation.measure.coordinates import adapter
from llm_validation.measure.gradients import loss_and_gradient
from llm_validation.measure.losses import measure_losses
from llm_validation.measure.shared_prefix import reads_after_a_prefix
from llm_validation.models.rope import rope_switch
from llm_validation.training.evaluation import measure_token_losses

SIZES = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.2,
}
LONG = {
    "rope_type": "longrope",
    "rope_theta": 10_000.0,
    "short_factor": [1.0, 1.0, 1.0, 1.0],
    "long_factor": [1.0, 3.0, 9.0, 27.0],
    "original_max_position_embeddings": 40,
    "factor": 8.0,
}


def model_with(rope: dict | None) -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**SIZES, rope_parameters=rope)).eval()


@pytest.fixture
def rows() -> list[Encoded]:
    """Twelve rows of 22 to 60 tokens with one beginning; two of 41, whose last tokens count not."""
    rng = np.random.default_rng(3)
    start = rng.integers(2, 64, 16)
    found = []
    for length in (22, 24, 38, 39, 40, 41, 41, 42, 43, 50, 58, 60):
        ids = np.concatenate([start, rng.integers(2, 64, length - 16)]).astype(np.int32)
        supervised = (np.arange(length) >= 17) & (np.arange(length) < length - 3)
        found.append(Encoded(ids, supervised))
    return found


def alone(model, row: Encoded) -> float:
    with torch.no_grad():
        return float(model(**collate([row], 0)).loss) * int(row.supervised.sum())


@pytest.mark.parametrize(
    ("rope", "switch"),
    [
        (None, None),
        ({"rope_type": "default", "rope_theta": 1e4}, None),
        ({"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}, None),
        ({"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0}, None),
        ({"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}, 512),
        (LONG, 40),
    ],
)
def test_which_types_switch(rope, switch) -> None:
    model = model_with(rope)
    assert rope_switch(model) == switch
    assert reads_after_a_prefix(model) == (switch is None)


def test_sets_for_kinds_of_layers() -> None:
    config = LlamaConfig(**SIZES)
    config.rope_parameters = {"sliding": {"rope_type": "default"}, "full": LONG}
    model = torch.nn.Linear(1, 1)
    model.config = config
    assert rope_switch(model) == 40
    assert rope_switch(torch.nn.Linear(1, 1)) is None


@pytest.mark.parametrize("per_batch", [1, 200, 10_000])
def test_losses_are_those_of_each_row_alone(rows: list[Encoded], per_batch: int) -> None:
    model = model_with(LONG)
    expected = np.array([alone(model, row) for row in rows])
    for order in (range(12), reversed(range(12)), np.random.default_rng(1).permutation(12)):
        order = [*order]
        found = measure_losses(
            model, [rows[i] for i in order], pad_id=0, tokens_per_batch=per_batch
        )
        np.testing.assert_allclose(found.token_sum, expected[order], rtol=2e-6)


def test_the_switch_matters(rows: list[Encoded]) -> None:
    """Otherwise the tests above would hold for any batches."""
    model = model_with(LONG)
    short, long = rows[0], rows[-1]
    with torch.no_grad():
        together = model(**collate([short, long], 0)).logits[0, : len(short)]
        by_itself = model(**collate([short], 0)).logits[0]
    assert (together - by_itself).abs().max() > 1e-3


def test_gradients_and_token_losses_too(rows: list[Encoded]) -> None:
    model = model_with(LONG)
    expected = np.array([alone(model, row) for row in rows])
    by_token = measure_token_losses(model, rows, pad_id=0, tokens_per_batch=10_000)
    np.testing.assert_allclose([part.sum() for part in by_token], expected, rtol=1e-5)
    wrapped, coordinates = adapter(model, seed=0)
    found = loss_and_gradient(wrapped, coordinates, rows, pad_id=0, tokens_per_batch=10_000)
    np.testing.assert_allclose(found.losses.token_sum, expected, rtol=1e-5)


def test_batches_keep_apart_what_they_are_told() -> None:
    lengths = [b"x" * n for n in (3, 9, 5, 4, 8, 5, 6)]
    batches = token_budget_batches(lengths, tokens=1000, apart_at=5)
    assert batches == [[1, 4, 6], [2, 5, 3, 0]]
    assert token_budget_batches(lengths, tokens=1000) == [[1, 4, 6, 2, 5, 3, 0]]
