"""The tokenizer and chat template that an adapter was trained with, where its folder has them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from finebound.base.errors import InputError
from llm_validation.models.loading import TOKENIZER_FILES, LoadedModel, load_tokenizer

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_TEMPLATE = "chat_template.jinja"
_OTHER_TOKENS = 0.01  # share of the base's tokens that another vocabulary of the family may rename


def with_its_tokenizer(loaded: LoadedModel, folder: Path) -> LoadedModel:
    """``loaded`` with the tokenizer and the chat template of the adapter's folder; notes say so.

    Trainers save them there. Without any, or with the same ones, it is ``loaded`` itself. Raises
    InputError for a tokenizer that cannot be read or is that of another family of models.
    """
    base = loaded.tokenizer
    if any((folder / name).is_file() for name in TOKENIZER_FILES):
        own = load_tokenizer(folder, template=cast("str | None", base.chat_template))
    elif (folder / _TEMPLATE).is_file():
        own = load_tokenizer(
            Path(loaded.model.name_or_path or ""), template=_read(folder / _TEMPLATE)
        )
        own.chat_template = _read(folder / _TEMPLATE)
    else:
        return loaded
    notes = []
    if own.get_chat_template() != base.get_chat_template():
        notes.append("The adapter's own chat template is used, and not the base model's.")
    known, new = base.get_vocab(), own.get_vocab()
    renamed = sum(new.get(token) != place for token, place in known.items())
    if renamed > _OTHER_TOKENS * len(known):
        raise InputError(
            f"the adapter's tokenizer has other tokens than the model's: {renamed} of "
            f"{len(known)} are another number or none.",
            remedy="Name the base model that the adapter was trained on.",
            file=folder,
        )
    if known != new:
        notes.append(
            f"The adapter's own tokenizer is used: {len(new)} tokens, the base's has {len(known)}."
        )
    if not notes:
        return loaded
    digest = hashlib.sha256(f"{loaded.sha256} {own.get_chat_template()}".encode())
    digest.update(repr(sorted(new.items())).encode("utf-8", "surrogatepass"))
    return replace(loaded, tokenizer=own, sha256=digest.hexdigest(), notes=(*loaded.notes, *notes))


def grow_for(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    settings: dict[str, Any],
    shapes: dict[str, tuple[int, ...]],
) -> None:
    """Give the base rows for the tokens that its adapter added, in place; the adapter fills them.

    ``settings`` and ``shapes`` are the adapter's configuration and the shapes of its weights.
    Raises InputError for tokens without trained embeddings.
    """
    rows = cast("nn.Embedding", model.get_input_embeddings()).weight.shape[0]
    saved = _saved_rows(model, shapes)
    if saved is None and len(tokenizer) <= rows:
        return
    if saved is None:
        indices = settings.get("trainable_token_indices") or []
        trained = set(indices) if isinstance(indices, list) else set().union(*indices.values())
        if not set(range(rows, len(tokenizer))) <= trained:
            raise InputError(
                f"the adapter's tokenizer has {len(tokenizer)} tokens, the model embeddings of "
                f"{rows}, and the adapter brings none for the others.",
                remedy="Save it again with its embeddings: peft's save_pretrained(FOLDER, "
                "save_embedding_layers=True).",
                file=folder,
            )
        saved = len(tokenizer)
    if saved > rows:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            model.resize_token_embeddings(saved, mean_resizing=False)


def _saved_rows(model: PreTrainedModel, shapes: dict[str, tuple[int, ...]]) -> int | None:
    """How many tokens the adapter has embeddings or outputs for; None if it has none of them."""
    ends = {model.get_input_embeddings(), model.get_output_embeddings()} - {None}
    for name, module in model.named_modules():
        if module not in ends:
            continue
        for key, shape in shapes.items():
            _, found, inside = key.partition(f"{name}.")
            if found and inside.endswith("lora_embedding_A"):
                return shape[-1]
            whole = inside.endswith("weight") and "lora_" not in inside
            if found and (whole or inside.endswith("lora_B.weight")):
                return shape[0]
    return None


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"the adapter's chat template cannot be read: {error}.",
            remedy="Copy it again, or remove it to use the base model's.",
            file=file,
        ) from error
