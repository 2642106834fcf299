"""A model with a saved adapter on it, as it was trained, to be asked and measured."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finebound.base.errors import InputError
from finebound.base.integrity import require_of_its_run
from finebound.base.records import file_sha256
from llm_validation.models.adapter_base import base_note
from llm_validation.models.adapter_tokenizer import grow_for, with_its_tokenizer
from llm_validation.models.adapters import load_adapter, require_adapter
from llm_validation.models.loading import LoadedModel, read_json_object
from llm_validation.models.quantisation import NOTE, FourBit, quantise, read_note

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

_RUN = "run.json"  # beside the adapter of a run of finebound's


def with_adapter(loaded: LoadedModel, folder: Path) -> LoadedModel:
    """``loaded``, wrapped in place, with the adapter of ``folder``; its name and hash say so.

    The base is quantised first where the adapter's was (``models.quantisation``). Raises InputError
    as ``load_adapter``, for a base that cannot be quantised so, for a base that is not the one
    that the adapter's run or the note beside it records, for a tokenizer of another family, and for
    virtual tokens that are no embeddings. The adapter's own tokenizer and chat template are used
    where its folder has them; ``notes`` say so, and where the base goes by another name.
    """
    folder = folder.expanduser().resolve()
    adapter = adapter_sha256(folder)
    settings, shapes = adapter_settings(folder), adapter_shapes(folder)
    if note := base_note(loaded, folder, settings):
        loaded = replace(loaded, notes=(*loaded.notes, note))
    loaded = with_its_tokenizer(loaded, folder)
    grow_for(loaded.model, loaded.tokenizer, folder, settings, shapes)
    digest = hashlib.sha256(f"{loaded.sha256} {adapter}".encode())
    how = read_note(folder)
    model = loaded.model if how is None else _rounded(loaded, how, folder)
    wrapped = load_adapter(model, folder)
    _require_embeddings(wrapped, folder)
    # Every run calls its adapter's folder the same.
    name = folder.parent.name if (folder.parent / _RUN).is_file() else folder.name
    return replace(
        loaded, model=wrapped.eval(), name=f"{loaded.name} + {name}", sha256=digest.hexdigest()
    )


def adapter_sha256(folder: Path) -> str:
    """SHA-256 of an adapter's configuration, weights and note of its base, as 64 hex digits.

    It identifies the content, not the place. Raises InputError where there is no adapter, and where
    a file of it is not the one that its run wrote.
    """
    _, weights = require_adapter(folder.expanduser())
    require_of_its_run(folder.expanduser())
    settings = adapter_settings(folder.expanduser())
    for key in ("base_model_name_or_path", "peft_version", "tokenizer_name_or_path"):
        settings.pop(key, None)
    how = read_note(folder)
    about = json.dumps([settings, None if how is None else str(how)], sort_keys=True)
    return hashlib.sha256(f"{about}\n{file_sha256(weights)}\n".encode()).hexdigest()


def adapter_settings(folder: Path) -> dict[str, Any]:
    """The configuration of a saved adapter. Raises InputError for one that is no JSON object."""
    return read_json_object(require_adapter(folder)[0], again="the adapter")


def adapter_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of a saved adapter. Raises InputError for a damaged file."""
    from safetensors import SafetensorError, safe_open

    weights = require_adapter(folder)[1]
    try:
        with safe_open(weights, framework="pt") as tensors:
            keys = list(tensors.keys())
            return {key: tuple(tensors.get_slice(key).get_shape()) for key in keys}
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"the adapter cannot be read: {type(error).__name__}: {error}.",
            remedy="Its file is cut or damaged: copy it again.",
            file=weights,
        ) from error


def _rounded(loaded: LoadedModel, how: FourBit, folder: Path) -> PreTrainedModel:
    try:
        return quantise(loaded.model, how)
    except InputError as error:
        raise InputError(
            f"the adapter was trained on a base in 4 bits ({NOTE}), and {loaded.name} cannot be "
            f"rounded so: {error.what}",
            remedy="It is another model on the exact base: evaluate it where bitsandbytes is "
            "installed (pip install bitsandbytes), on the model that it was trained on.",
            file=folder,
        ) from error


def _require_embeddings(wrapped: PeftModel, folder: Path) -> None:
    from peft import PeftType

    config = wrapped.active_peft_config
    if config.is_prompt_learning and config.peft_type not in (
        PeftType.PROMPT_TUNING,
        PeftType.P_TUNING,
    ):
        raise InputError(
            f"the adapter is of peft's type {PeftType(config.peft_type).value}, whose virtual "
            "tokens are no embeddings; finebound does not generate with those.",
            remedy="Give its answers as `responses` where the evaluation takes them.",
            file=folder,
        )
