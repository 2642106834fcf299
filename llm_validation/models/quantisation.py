"""A model's linear modules rounded to 4-bit NormalFloat, in memory, and the note of how.

An adapter trained on a rounded base is another model on the exact one, so its folder carries a
note of its base, and ``models.adapters.load_adapter`` refuses any other.
"""

from __future__ import annotations

import json
import os
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from torch import nn

from finebound.base.errors import InputError
from finebound.base.records import to_json, write_atomically

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NOTE = "base_quantisation.json"


@dataclass(frozen=True)
class FourBit:
    """4-bit NormalFloat (NF4) in blocks of 64; ``double_quant`` rounds their scales too.

    ``compute`` is the number format of the products, in training and in every measurement.
    """

    double_quant: bool = True
    compute: Literal["fp32", "bf16"] = "fp32"
    kind: str = "nf4"


def quantise(model: PreTrainedModel, how: FourBit) -> PreTrainedModel:
    """Round every linear module of ``model`` but the output layer, in place; nothing trains.

    What else the model has (embeddings, norms, biases) stays in float32. Raises InputError where
    bitsandbytes is missing or cannot run, and for a model that is rounded already, in another way.
    """
    found = quantisation_of(model)
    if found is not None and found != how:
        raise InputError(
            f"the model is quantised already, as {found}.",
            remedy="Load it in full precision, or use a LoRA on it as it is.",
        )
    bnb = _bitsandbytes()
    if found is None:
        head = model.get_output_embeddings()
        if torch.cuda.is_available():
            # Rounded where it will train: the Trainer does not move a quantised model.
            cast(nn.Module, model).to(torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))))
        linear = [
            (name, module)
            for name, module in model.named_modules()
            if type(module) is nn.Linear and module is not head
        ]
        if not linear:
            raise InputError(
                "the model has no linear module to quantise.", remedy="Use a LoRA on it instead."
            )
        for name, module in linear:
            model.set_submodule(name, _rounded(bnb, module, how))
        _mark(model, how)
    from peft import prepare_model_for_kbit_training

    return prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)


def quantisation_of(model: nn.Module) -> FourBit | None:
    """How the model's base is rounded; None when it is not."""
    return getattr(model, "finebound_quantisation", None)


def write_note(folder: Path, how: FourBit) -> None:
    """Write beside an adapter how its base is rounded."""
    write_atomically(folder / NOTE, to_json(asdict(how)) + "\n")


def read_note(folder: Path) -> FourBit | None:
    """How the base of the adapter in ``folder`` is rounded; None without a note.

    Raises InputError for a note that cannot be read, or of a rounding that is not known here.
    """
    file = Path(folder) / NOTE
    if not file.is_file():
        return None
    try:
        how = FourBit(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            "the note of the adapter's base cannot be read.", remedy="Copy it again.", file=file
        ) from error
    known = how.kind == "nf4" and how.compute in ("fp32", "bf16")
    if not (known and isinstance(how.double_quant, bool)):
        raise InputError(
            f"the note says that the adapter's base is rounded as {asdict(how)}, which finebound "
            "cannot do.",
            remedy="It rounds to nf4, with products in fp32 or bf16, with double_quant or without.",
            file=file,
        )
    return how


def check_note(folder: Path, model: nn.Module) -> None:
    """Raises InputError unless the model's base is rounded as the adapter's note says, if any."""
    trained_on = read_note(folder)
    if trained_on is None:
        return
    found = quantisation_of(model)
    if found != trained_on:
        raise InputError(
            f"the adapter was trained on a base in {_told(trained_on)}, and this one is "
            f"{'not quantised' if found is None else 'in ' + _told(found)}.",
            remedy="Quantise the base first: llm_validation.models.quantisation.quantise"
            f"(model, {trained_on}).",
            file=folder,
        )


def _told(how: FourBit) -> str:
    double = " with double quantisation" if how.double_quant else ""
    return f"4-bit {how.kind.upper()}{double}, computed in {how.compute}"


def _rounded(bnb, module: nn.Linear, how: FourBit) -> nn.Module:
    with torch.device("meta"):
        made = bnb.nn.Linear4bit(
            module.in_features,
            module.out_features,
            bias=module.bias is not None,
            compute_dtype=torch.bfloat16 if how.compute == "bf16" else torch.float32,
            compress_statistics=how.double_quant,
            quant_type=how.kind,
        )
    made.weight = bnb.nn.Params4bit(
        module.weight.detach(),
        requires_grad=False,
        compress_statistics=how.double_quant,
        quant_type=how.kind,
        module=made,
    ).to(module.weight.device)
    made.bias = module.bias
    # Its fast path for evaluation computes in other numbers than training does.
    made.support_avx512bf16_for_cpu = False
    return made.train(module.training)


def loading_config(how: FourBit) -> Any:
    """What transformers is given to round a model so while it reads it.

    Raises InputError where bitsandbytes is missing or cannot run.
    """
    from transformers import BitsAndBytesConfig

    _bitsandbytes()
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=how.kind,
        bnb_4bit_use_double_quant=how.double_quant,
        bnb_4bit_compute_dtype="bfloat16" if how.compute == "bf16" else "float32",
    )


def mark_loaded(model: PreTrainedModel, how: FourBit) -> None:
    """Make a model that was read with ``loading_config`` what ``quantise`` makes; nothing trains.

    What transformers leaves to a fast path of a processor computes as in training.
    """
    modules: Any = model.modules()
    for module in modules:
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    _mark(model, how)
    model.requires_grad_(False)


def _mark(model: PreTrainedModel, how: FourBit) -> None:
    """What transformers, peft and accelerate look at, and what ``quantisation_of`` reads."""
    from transformers.quantizers import AutoHfQuantizer

    config = loading_config(how)
    marked: Any = model
    marked.hf_quantizer = AutoHfQuantizer.from_config(config)
    marked.quantization_method = config.quant_method
    marked.is_quantized = marked.is_loaded_in_4bit = True
    marked.config.quantization_config = config
    marked.finebound_quantisation = how


def _bitsandbytes():
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import bitsandbytes
            from transformers.utils import is_bitsandbytes_available

        if not is_bitsandbytes_available():
            raise ImportError("transformers finds no usable bitsandbytes")
        return bitsandbytes
    except (ImportError, OSError, RuntimeError) as error:
        raise InputError(
            f"4-bit quantisation needs bitsandbytes, which this machine lacks ({error}).",
            remedy="Install it (pip install bitsandbytes), or use the method lora: the same "
            "adapter on the base in full precision.",
        ) from error
