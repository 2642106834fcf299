"""The packaged aligned model: the packaged model with an adapter that this package ships.

``llm_validation.experiments.packaged_aligned`` trains and measures the adapter. Here its update is
added to the packaged model's weights, once, in the user's cache.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from functools import cache
from pathlib import Path

from finebound.base.errors import InputError
from finebound.base.progress import Progress, silent
from llm_validation.models.packaged import (
    GGUF_SHA256,
    NAME,
    atomic_folder,
    cache_folder,
    is_complete,
    packaged_model_folder,
)

ALIGNED_NAME = f"{NAME} aligned"
SHIPPED = Path(__file__).with_name("aligned_adapter")
"""Adapter, its configuration and ``manifest.json`` (recipe and held-out measurement)."""
_WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."


def packaged_aligned_folder(*, progress: Progress = silent) -> Path:
    """The aligned model as a local safetensors folder, written on the first call.

    Raises InputError as ``packaged_model_folder``, and where the adapter is not installed.
    """
    folder = cache_folder() / "models" / aligned_sha256()
    if not is_complete(folder):
        base = packaged_model_folder(progress=progress)
        for adapter in progress([SHIPPED], "adding the adapter to the packaged model, once"):
            with atomic_folder(folder) as temporary:
                add_adapter(base, adapter, temporary)
    return folder


@cache
def aligned_sha256() -> str:
    """SHA-256 of what the model is made of, as 64 hex digits: the GGUF and the adapter.

    The sums of weights may differ in a last bit from machine to machine; this does not.
    """
    digest = hashlib.sha256(GGUF_SHA256.encode())
    for name in ("adapter_config.json", _WEIGHTS):
        if not (SHIPPED / name).is_file():
            raise InputError(
                f"The packaged aligned model has no {name}.",
                remedy="Install finebound anew: its wheel holds the adapter.",
                file=SHIPPED,
            )
        digest.update((SHIPPED / name).read_bytes())
    return digest.hexdigest()


def add_adapter(base: Path, adapter: Path, out: Path) -> None:
    """Write to ``out`` the model of the folder ``base`` with a LoRA added to its weights."""
    from safetensors.torch import load_file, save_file

    out.mkdir(parents=True, exist_ok=True)
    settings = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    scaling = settings["lora_alpha"] / settings["r"]
    factors = load_file(adapter / _WEIGHTS)
    weights = load_file(base / "model.safetensors")
    for name in factors:
        module, part, _ = name.removeprefix(_PREFIX).partition(".lora_A.")
        if part:
            a, b = factors[name].double(), factors[name.replace(".lora_A.", ".lora_B.")].double()
            weight = weights[f"{module}.weight"]
            weights[f"{module}.weight"] = (weight.double() + scaling * b @ a).to(weight.dtype)
    for file in base.iterdir():
        if file.name != "model.safetensors":
            shutil.copy(file, out)
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
