"""Where a model's weights lie, in which numbers, and what of a pass is kept for gradients."""

from __future__ import annotations

import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from finebound.base.errors import InputError

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

_OF_A_GPU = 0.9
"""Share of a GPU's free memory that weights may take; the rest is for activations."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """How a model is loaded that is too large to be loaded plainly."""

    device_map: Literal["auto"] | None = None
    """Spread the model's layers over GPUs, then memory, then disk (default: on one device)."""
    load_in: Literal["fp32", "4bit"] = "fp32"
    """Numbers of the weights: 4bit rounds linear modules to NF4 while they are read, as QLoRA's
    base is; their exact form is never in memory as a whole."""
    activation_checkpointing: bool = False
    """Compute what a layer keeps for a gradient a second time instead of keeping it."""


PLAIN = Placement()


def loading_options(placement: Placement) -> dict[str, Any]:
    """What ``from_pretrained`` is given for a placement.

    Raises InputError where bitsandbytes is needed and missing.
    """
    options: dict[str, Any] = {}
    if placement.device_map is not None:
        options |= {
            "device_map": placement.device_map,
            "max_memory": _most_memory(),
            "offload_folder": tempfile.mkdtemp(prefix="finebound-offload-"),
        }
    if placement.load_in == "4bit":
        from llm_validation.models.quantisation import FourBit, loading_config

        options["quantization_config"] = loading_config(FourBit())
    return options


def _most_memory() -> dict[int | str, int]:
    """Bytes by device: of each GPU and of this machine's memory, as far as they are allowed."""
    import torch

    from llm_validation.models.memory import allowed_bytes

    most: dict[int | str, int] = {
        number: int(_OF_A_GPU * allowed_bytes(torch.device("cuda", number)))
        for number in range(torch.cuda.device_count())
    }
    return most | {"cpu": max(0, int(allowed_bytes()))}


def placed(model: PreTrainedModel, placement: Placement, options: dict[str, Any]) -> None:
    """Finish a model that was loaded with ``options``, in place."""
    if folder := options.get("offload_folder"):
        weakref.finalize(model, _remove, folder)
    if placement.load_in == "4bit":
        from llm_validation.models.quantisation import FourBit, mark_loaded

        mark_loaded(model, FourBit())
    if placement.activation_checkpointing:
        checkpoint_activations(model)


def _remove(folder: str) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


def require_at_hand(model: nn.Module, *, whole: bool, file: Path) -> None:
    """Raises InputError for a model whose weights were offloaded too far for what is asked.

    Gradients and adapters need the ``whole`` model at hand; reading needs the embeddings.
    """
    parameters = list(model.parameters())
    away = [p for p in parameters if p.device.type == "meta"]
    if not away or not (whole or parameters[0] is away[0]):
        return
    share = sum(p.numel() for p in away) / sum(p.numel() for p in parameters)
    why = "gradients and adapters need them there" if whole else "its embeddings are among them"
    raise InputError(
        f"{100 * share:.0f} % of the model's weights do not fit on the device that computes, and "
        f"{why}.",
        remedy="Allow more `memory`, load it in 4bit (`load_in`), or use a smaller model.",
        file=file,
    )


def checkpoint_activations(model: nn.Module) -> None:
    """Let every decoder layer keep its input alone for gradients, whatever the model's mode.

    transformers' own switch works in training mode only, and measures are taken in evaluation
    mode. Names of modules and parameters stay. Raises InputError for a model without such layers.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    layers = [m for m in model.modules() if isinstance(m, GradientCheckpointingLayer)]
    if not layers:
        raise InputError(
            "the model has no layers whose activations can be computed a second time.",
            remedy="Leave `activation_checkpointing` out.",
        )
    for layer in layers:
        layer.__class__ = _checkpointed(type(layer))


def _checkpointed(kind: type) -> type:
    import torch
    from torch.utils.checkpoint import checkpoint

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        plain = not torch.is_grad_enabled() or kwargs.get("past_key_values") is not None
        if plain:  # a cache would be lengthened twice
            return kind.forward(self, *args, **kwargs)
        return checkpoint(kind.forward, self, *args, use_reentrant=False, **kwargs)

    return type(kind.__name__, (kind,), {"forward": forward})
