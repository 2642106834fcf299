"""A tiny random Llama with a byte-level tokenizer and a chat template, built in the process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from processor_times import function_of, slow_functions

if TYPE_CHECKING:
    from llm_validation.models.loading import LoadedModel

# The shape of SmolLM2's template: no {% generation %} marker, and a newline after the end of turn.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
MERGES = ["t h", "th e", "i n", "a n", "Ġ a", "Ġ the", "r e", "o u", "Ġ s", "e r"]


def build_tiny_model_folder(folder: Path, *, seed: int = 0) -> Path:
    """Save a seeded 2-layer Llama (hidden 32, 268 tokens, context 512) and its tokenizer."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = ["<|im_start|>", "<|im_end|>", *letters]
    tokens += [merge.replace(" ", "") for merge in MERGES]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    backend = Tokenizer(
        models.BPE(vocab=vocabulary, merges=[tuple(merge.split()) for merge in MERGES])
    )
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    # As in SmolLM2, the padding token is the end-of-turn token.
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.15,  # far enough from uniform for losses to differ between rows
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The saved tiny model; shared by the session, so copy it before changing it."""
    return build_tiny_model_folder(tmp_path_factory.mktemp("tiny") / "tiny-llama")


@pytest.fixture
def tiny_model(tiny_model_folder: Path) -> LoadedModel:
    """The tiny model, freshly loaded: a test may train it or wrap it."""
    from llm_validation.models.loading import load_model

    return load_model(str(tiny_model_folder))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what ``slow.txt`` names."""
    slow = slow_functions()
    for item in items:
        if function_of(item.nodeid) in slow:
            item.add_marker(pytest.mark.slow)
