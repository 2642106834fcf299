"""LoRA adapters: attach, read back with no key missing, merge."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from finebound.errors import InputError

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

ALL_LINEAR = "all-linear"
_NAME = "default"


@dataclass(frozen=True, eq=False)
class LoraFactors:
    """One adapted module: its weight is the base's plus ``scaling * B A``.

    ``a`` is ``[r, d_in]``, ``b`` is ``[d_out, r]`` and zero at the start.
    """

    name: str
    a: nn.Parameter
    b: nn.Parameter
    scaling: float


def attach_lora(
    model: PreTrainedModel,
    *,
    rank: int,
    alpha: float,
    targets: tuple[str, ...],
    seed: int,
) -> PeftModel:
    """Wrap ``model`` in place with a seeded LoRA without dropout; only the adapter is trainable.

    ``targets`` are names of linear modules, or ``("all-linear",)``. The seed gives the same A as
    ``measure.coordinates.adapter``, so that constants measured there are of these coordinates.
    Raises InputError for a target that the model does not have or an adapter already in place.
    """
    from peft import LoraConfig, get_peft_model

    require_no_adapter(model)
    present = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    absent = [target for target in targets if target not in present and target != ALL_LINEAR]
    if absent:
        linear = {
            name.rpartition(".")[2]
            for name, module in model.named_modules()
            if isinstance(module, nn.Linear)
        }
        raise InputError(
            f"the model has no module called {', '.join(absent)}.",
            remedy=f"Choose the LoRA's targets among {', '.join(sorted(linear))}, or {ALL_LINEAR}.",
        )
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=0.0,
        target_modules=ALL_LINEAR if ALL_LINEAR in targets else list(targets),
        task_type="CAUSAL_LM",
    )
    # PEFT draws A from the global generator: seed it inside, give its state back after.
    with torch.random.fork_rng(devices=[]), _quiet():
        torch.default_generator.manual_seed(seed)
        return get_peft_model(model, config)


def require_no_adapter(model: nn.Module) -> None:
    """Raises InputError when the model carries an adapter already."""
    from peft import PeftModel
    from peft.tuners.tuners_utils import BaseTunerLayer

    if isinstance(model, PeftModel) or any(isinstance(m, BaseTunerLayer) for m in model.modules()):
        raise InputError(
            "the model carries an adapter already.",
            remedy="Merge it (merge_and_unload) or unload it before another fine-tune.",
        )


def lora_factors(model: nn.Module) -> list[LoraFactors]:
    """The factors of every adapted module, in the model's order; empty without a LoRA."""
    from peft.tuners.lora import LoraLayer

    return [
        LoraFactors(
            name, module.lora_A[_NAME].weight, module.lora_B[_NAME].weight, module.scaling[_NAME]
        )
        for name, module in model.named_modules()
        if isinstance(module, LoraLayer) and _NAME in module.lora_A
    ]


def load_adapter(
    model: PreTrainedModel, folder: str | Path, *, trainable: bool = False
) -> PeftModel:
    """Attach a saved adapter to its base, wrapping ``model`` in place.

    Raises InputError when the folder holds no adapter, or when keys are missing or left over:
    PEFT only warns, and the adapter would silently not be applied.
    """
    from peft import PeftModel, load_peft_weights, set_peft_model_state_dict

    folder = Path(folder)
    require_no_adapter(model)
    files = ("adapter_config.json", "adapter_model.safetensors")
    if absent := [name for name in files if not (folder / name).is_file()]:
        raise InputError(
            f"there is no adapter here: {' and '.join(absent)} missing.",
            remedy="Give the folder that a fine-tune wrote its adapter to.",
            file=folder,
        )
    with _quiet():
        wrapped = PeftModel.from_pretrained(model, folder, is_trainable=trainable)
        weights = load_peft_weights(str(folder), device="cpu")
        found = set_peft_model_state_dict(wrapped, weights)
    missing = sorted(key for key in found.missing_keys if "lora_" in key)
    if missing or found.unexpected_keys:
        kind, keys = ("missing", missing) if missing else ("left over", found.unexpected_keys)
        raise InputError(
            f"{len(keys)} of the adapter's keys are {kind}, the first is {keys[0]}.",
            remedy="The adapter belongs to another base model or its file is damaged: copy it "
            "again, or name the base that it was trained on.",
            file=folder,
        )
    return wrapped


@contextmanager
def _quiet() -> Iterator[None]:
    """Without PEFT's warnings: missing keys are errors here, the others are about nothing."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "fan_in_fan_out is set to False", UserWarning)
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        warnings.filterwarnings("ignore", "Found missing adapter keys", UserWarning)
        yield
