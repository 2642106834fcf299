"""A model with a saved adapter on it, as it was trained, to be asked and measured."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from finebound.errors import InputError
from finebound.records import file_sha256
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
    that the adapter's run records, and for virtual tokens that are no embeddings.
    """
    folder = folder.expanduser().resolve()
    digest = hashlib.sha256(f"{loaded.sha256} {adapter_sha256(folder)}".encode())
    run = folder.parent / _RUN
    if run.is_file():
        _require_base(loaded, run, folder)
    how = read_note(folder)
    model = loaded.model if how is None else _rounded(loaded, how, folder)
    wrapped = load_adapter(model, folder)
    _require_embeddings(wrapped, folder)
    # Every run calls its adapter's folder the same.
    name = folder.parent.name if run.is_file() else folder.name
    return replace(
        loaded, model=wrapped.eval(), name=f"{loaded.name} + {name}", sha256=digest.hexdigest()
    )


def adapter_sha256(folder: Path) -> str:
    """SHA-256 of an adapter's configuration, weights and note of its base, as 64 hex digits.

    It identifies the content, not the place. Raises InputError where there is no adapter.
    """
    config, weights = require_adapter(folder.expanduser())
    settings = read_json_object(config, again="the adapter")
    for key in ("base_model_name_or_path", "peft_version", "tokenizer_name_or_path"):
        settings.pop(key, None)
    how = read_note(folder)
    about = json.dumps([settings, None if how is None else str(how)], sort_keys=True)
    return hashlib.sha256(f"{about}\n{file_sha256(weights)}\n".encode()).hexdigest()


def _require_base(loaded: LoadedModel, run: Path, folder: Path) -> None:
    """Another model of the same sizes takes the adapter too, and is not what was trained."""
    identity = read_json_object(run, again="the run").get("identity")
    trained_on = identity.get("model") if isinstance(identity, dict) else None
    if trained_on not in (None, loaded.sha256):
        config = read_json_object(folder / "adapter_config.json", again="the adapter")
        raise InputError(
            f"the adapter's run began at another model than {loaded.name}: its {_RUN} has the hash "
            f"{trained_on[:12]}, and this is {loaded.sha256[:12]}.",
            remedy="Give --model the aligned model that the run began at, which was "
            f"{config.get('base_model_name_or_path')}.",
            file=folder,
        )


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
            f"the adapter is of peft's type {config.peft_type.value}, whose virtual tokens are no "
            "embeddings; finebound does not generate with those.",
            remedy="Evaluate its answers with --responses where the evaluation has it.",
            file=folder,
        )
