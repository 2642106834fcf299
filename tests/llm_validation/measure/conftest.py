"""Models small enough for their dense second derivatives, and rows of random tokens for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from llm_validation.data.encoding import Encoded
    from llm_validation.measure.coordinates import Coordinates

Rows = list["Encoded"]


def random_rows(lengths: list[int], *, vocabulary: int, seed: int) -> Rows:
    """Rows of random tokens; of each, a random later part is supervised."""
    from llm_validation.data.encoding import Encoded

    rng = np.random.default_rng(seed)
    rows = []
    for length in lengths:
        supervised = np.arange(length) >= rng.integers(1, length)
        rows.append(Encoded(rng.integers(0, vocabulary, length, dtype=np.int32), supervised))
    return rows


@pytest.fixture
def dense_gpt2() -> PreTrainedModel:
    """A float64 GPT-2 with 344 parameters: tied weights, biases, dropout, left in train mode."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=11,
        n_positions=12,
        n_embd=4,
        n_layer=1,
        n_head=2,
        initializer_range=0.4,
        bos_token_id=0,
        eos_token_id=0,
    )
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = GPT2LMHeadModel(config)
    return model.double().train()


@pytest.fixture
def dense_llama() -> PreTrainedModel:
    """A float64 Llama with 176 parameters and tied weights, for whole matrices over all of them."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=11,
        hidden_size=4,
        intermediate_size=6,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=12,
        initializer_range=0.6,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
    )
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = LlamaForCausalLM(config)
    return model.double()


@pytest.fixture
def dense_rows() -> Rows:
    """Six rows of unequal lengths for ``dense_gpt2`` and ``dense_llama``."""
    return random_rows([9, 4, 7, 12, 5, 6], vocabulary=11, seed=5)


@pytest.fixture
def llama_rows() -> Rows:
    """Five rows for the tiny Llama."""
    return random_rows([14, 9, 11, 5, 8], vocabulary=268, seed=6)


@pytest.fixture
def mean_loss() -> Callable[[PreTrainedModel, Rows], torch.Tensor]:
    """An oracle: every row alone, all logits, sum over supervised tokens over their number."""
    import torch

    def loss(model: PreTrainedModel, rows: Rows) -> torch.Tensor:
        total, count = 0.0, 0
        for row in rows:
            ids = torch.from_numpy(row.input_ids.astype(np.int64))[None]
            logs = model(input_ids=ids).logits[0].log_softmax(-1)
            for place in np.flatnonzero(row.supervised):
                if place > 0:
                    total = total - logs[place - 1, ids[0, place]]
                    count += 1
        return total / count

    return loss


@pytest.fixture
def as_function() -> Callable:
    """``flat vector -> value(model with those coordinates)``, for dense derivatives."""
    import torch

    def convert(
        model: PreTrainedModel,
        coordinates: Coordinates,
        value: Callable[[Callable], torch.Tensor],
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        model.eval()
        model.set_attn_implementation("eager")

        def function(flat: torch.Tensor) -> torch.Tensor:
            pieces = dict(zip(coordinates.names, coordinates.split(flat), strict=True))

            def call(**inputs: torch.Tensor):
                return torch.func.functional_call(model, pieces, kwargs=inputs)

            return value(call)

        return function

    return convert


@pytest.fixture
def flat_values() -> Callable[[Coordinates], torch.Tensor]:
    """The parameters as one flat vector, copied."""
    import torch

    return lambda coordinates: torch.cat([p.detach().reshape(-1) for p in coordinates.parameters])


@pytest.fixture
def fingerprint() -> Callable[[PreTrainedModel], dict]:
    """Every parameter's and buffer's bytes, gradient, requires_grad, and every module's mode."""

    def of(model: PreTrainedModel) -> dict:
        tensors = {name: tensor.detach() for name, tensor in model.state_dict().items()}
        return {
            "bytes": {name: tensor.numpy().tobytes() for name, tensor in tensors.items()},
            "flags": {name: p.requires_grad for name, p in model.named_parameters()},
            "gradients": {name: p.grad for name, p in model.named_parameters()},
            "modes": {name: module.training for name, module in model.named_modules()},
            "types": {name: type(module) for name, module in model.named_modules()},
        }

    return of
