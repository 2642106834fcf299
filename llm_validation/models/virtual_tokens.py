"""Prompt methods: virtual tokens in front of every row, embeddings that are trained themselves.

A row's own positions come after them, so hidden states and logits are longer than the row: what
reads them counts from the end.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from finebound.base.errors import InputError
from llm_validation.models.adapters import quiet, require_no_adapter

if TYPE_CHECKING:
    from peft import PeftModel
    from peft.config import PromptLearningConfig
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def attach_prompt(
    model: PreTrainedModel,
    *,
    tokens: int,
    text: str | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    seed: int,
) -> PeftModel:
    """Wrap ``model`` with a seeded soft prompt; only its embeddings ``[tokens, d]`` train.

    They start as standard normal numbers, or at the embeddings of ``text``, repeated or cut to
    ``tokens``. Raises InputError for a model without input embeddings and for an empty text.
    """
    from peft import PromptTuningConfig
    from peft.tuners.prompt_tuning import PromptTuningInit

    start = None
    if text is not None:
        start = _embeddings_of(model, text, tokens, tokenizer)
    config = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=tokens)
    wrapped = _attach(model, config, seed)
    if start is not None and tokenizer is not None:
        with torch.no_grad():
            prompt_encoder(wrapped).embedding.weight.copy_(start)
        # The saved adapter says how it began; peft itself would have asked for a tokenizer's path.
        config.prompt_tuning_init = PromptTuningInit.TEXT
        config.prompt_tuning_init_text = text
        config.tokenizer_name_or_path = tokenizer.name_or_path
    return wrapped


def attach_encoder(
    model: PreTrainedModel, *, tokens: int, hidden: int | None = None, seed: int
) -> PeftModel:
    """Wrap ``model`` with P-Tuning's seeded prompt encoder; only the encoder trains.

    An embedding and a perceptron of two hidden layers of ``hidden`` (the width of the model's
    embeddings unless given) make the virtual tokens. Raises InputError as ``attach_prompt``.
    """
    from peft import PromptEncoderConfig

    width = _embeddings(model).shape[1]
    config = PromptEncoderConfig(
        task_type="CAUSAL_LM", num_virtual_tokens=tokens, encoder_hidden_size=hidden or width
    )
    return _attach(model, config, seed)


def prompt_encoder(model: nn.Module) -> Any:
    """What makes the virtual tokens; None for a model without any."""
    encoders = getattr(model, "prompt_encoder", None)
    return None if encoders is None else encoders["default"]


def virtual_tokens(model: nn.Module) -> int:
    """How many positions the model puts in front of every row."""
    encoder = prompt_encoder(model)
    return 0 if encoder is None else encoder.embedding.num_embeddings


def _attach(model: PreTrainedModel, config: PromptLearningConfig, seed: int) -> PeftModel:
    from peft import get_peft_model

    require_no_adapter(model)
    _embeddings(model)
    # peft draws from the global generator: seed it inside, give its state back after.
    with torch.random.fork_rng(devices=[]), quiet():
        torch.default_generator.manual_seed(seed)
        return get_peft_model(model, config)


def _embeddings(model: PreTrainedModel) -> Tensor:
    """Token embeddings ``[V, d]``."""
    try:
        found = model.get_input_embeddings()
    except (NotImplementedError, AttributeError):
        found = None
    weight = getattr(found, "weight", None)
    if weight is None or weight.dim() != 2:
        raise InputError(
            "virtual tokens need a model with input embeddings; this one's parts are "
            f"{', '.join(name for name, _ in model.named_children()) or 'none'}.",
            remedy="Use a LoRA, or a causal language model with an embedding layer.",
        )
    return weight


def _embeddings_of(
    model: PreTrainedModel, text: str, tokens: int, tokenizer: PreTrainedTokenizerBase | None
) -> Tensor:
    if tokenizer is None:
        raise ValueError("a prompt that starts at a text needs the tokenizer")
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    if not ids:
        raise InputError(
            f"the prompt's text {text!r} has no token.", remedy="Give a text, or start at random."
        )
    ids = (ids * math.ceil(tokens / len(ids)))[:tokens]
    return _embeddings(model).detach()[ids].float()
