"""Adapters: attach LoRA and IA3, read any adapter back with no key missing."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from finebound.base.errors import InputError
from finebound.base.integrity import require_of_its_run
from llm_validation.models.adapter_folder import adapter_files
from llm_validation.models.quantisation import check_note

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel
    from transformers import PreTrainedModel

ALL_LINEAR = "all-linear"
_NAME = "default"
_KEYS = ("lora_", "ia3_l", "modules_to_save")
_TOKENS = "trainable_tokens_"
# What peft saves twice when a model has got more tokens.
_COPIES = (".modules_to_save.", ".original_module.")
_PROMPT_KEY = "prompt_embeddings"


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

    ``targets`` are names of linear modules, or ``("all-linear",)``. Constants are measured in these
    coordinates: ``measure.coordinates.adapter`` attaches this adapter. Raises InputError for a
    target that the model does not have or an adapter already in place.
    """
    from peft import LoraConfig

    require_no_adapter(model)
    _require_modules(model, [t for t in targets if t != ALL_LINEAR], "LoRA", f"or {ALL_LINEAR}")
    config = LoraConfig(
        r=rank,
        lora_alpha=cast(int, alpha),  # any number: peft divides it by the rank
        lora_dropout=0.0,
        target_modules=ALL_LINEAR if ALL_LINEAR in targets else list(targets),
        task_type="CAUSAL_LM",
    )
    return _wrap(model, config, "LoRA", seed)


def attach_ia3(
    model: PreTrainedModel, *, targets: tuple[str, ...], feedforward: tuple[str, ...]
) -> PeftModel:
    """Wrap ``model`` in place with IA3's factors, all 1; only they are trainable.

    One for each output of the modules called ``targets``, for each input of those of them in
    ``feedforward``. Raises InputError as ``attach_lora``.
    """
    from peft import IA3Config

    require_no_adapter(model)
    _require_modules(model, targets, "IA3", "that the model has")
    config = IA3Config(
        target_modules=list(targets),
        feedforward_modules=list(feedforward),
        task_type="CAUSAL_LM",
    )
    return _wrap(model, config, "IA3", seed=0)


def _require_modules(
    model: PreTrainedModel, targets: Sequence[str], method: str, also: str
) -> None:
    present = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    if absent := [target for target in targets if target not in present]:
        raise InputError(
            f"the model has no module called {', '.join(absent)}.",
            remedy=f"Choose the {method}'s targets among {_linear_modules(model)}, {also}.",
        )


def _linear_modules(model: PreTrainedModel) -> str:
    names = {
        name.rpartition(".")[2]
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
    }
    return ", ".join(sorted(names))


def _wrap(model: PreTrainedModel, config: PeftConfig, method: str, seed: int) -> PeftModel:
    from peft import get_peft_model

    # PEFT draws A from the global generator: seed it inside, give its state back after.
    try:
        with torch.random.fork_rng(devices=[]), quiet():
            torch.default_generator.manual_seed(seed)
            return get_peft_model(model, config)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"the {method} does not fit the model: {' '.join(str(error).split())[:200]}",
            remedy=f"Choose its targets among {_linear_modules(model)}.",
        ) from error


def require_no_adapter(model: nn.Module) -> None:
    """Raises InputError when the model carries an adapter already."""
    from peft import PeftModel
    from peft.tuners.tuners_utils import BaseTunerLayer

    if isinstance(model, PeftModel) or any(isinstance(m, BaseTunerLayer) for m in model.modules()):
        raise InputError(
            "the model carries an adapter already.",
            remedy="Merge it (merge_and_unload) or unload it before another fine-tune.",
        )


def is_prompt_learning(model: nn.Module) -> bool:
    """Whether the model puts virtual tokens before its rows now: peft may have them turned off."""
    config = getattr(model, "active_peft_config", None)
    return bool(config is not None and config.is_prompt_learning and not model._adapters_disabled)


def lora_factors(model: nn.Module) -> list[LoraFactors]:
    """The factors of every adapted module, in the model's order; empty without a LoRA."""
    from peft.tuners.lora import LoraLayer

    return [
        LoraFactors(
            name,
            cast(nn.Parameter, module.lora_A[_NAME].weight),
            cast(nn.Parameter, module.lora_B[_NAME].weight),
            module.scaling[_NAME],
        )
        for name, module in model.named_modules()
        if isinstance(module, LoraLayer) and _NAME in module.lora_A
    ]


def load_adapter(
    model: PreTrainedModel, folder: str | Path, *, trainable: bool = False
) -> PeftModel:
    """Attach a saved adapter to its base, wrapping ``model`` in place.

    Raises InputError when the folder holds no adapter or a damaged one, when it does not fit the
    model, when keys are missing or left over (PEFT only warns, and the adapter would silently not
    be applied), when the base is not quantised as that which the adapter was trained on, and for a
    ``trainable`` P-Tuning: its prompt encoder is not in the file.
    """
    from peft import PeftModel, PeftType, set_peft_model_state_dict

    folder = Path(folder)
    require_no_adapter(model)
    require_adapter(folder)
    require_of_its_run(folder)
    check_note(folder, model)
    config, weights = _read(folder)
    if trainable and config.peft_type == PeftType.P_TUNING:
        raise InputError(
            "a P-Tuning adapter holds the virtual tokens and not the encoder that made them, so "
            "its training cannot go on.",
            remedy="Resume the run in its folder before it is finished, or train anew.",
            file=folder,
        )
    if config.is_prompt_learning:
        _require_keys(folder, {_PROMPT_KEY} - weights.keys(), weights.keys() - {_PROMPT_KEY})
        _require_same_sizes(folder, config, weights[_PROMPT_KEY], model)
    try:
        with quiet():
            wrapped = PeftModel.from_pretrained(model, folder, is_trainable=trainable)
            found = set_peft_model_state_dict(wrapped, weights)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever peft says of a configuration
        raise _does_not_fit(folder, _in_a_line(error)) from error
    if not config.is_prompt_learning:
        missing = {key for key in found.missing_keys if any(mark in key for mark in _KEYS)}
        if getattr(config, "trainable_token_indices", None) and not any(
            _TOKENS in k for k in weights
        ):
            missing |= {key for key in found.missing_keys if _TOKENS in key}
        left_over = set(found.unexpected_keys) - _saved_twice(weights)
        _require_keys(folder, missing, left_over)
    return wrapped


def _saved_twice(weights: dict[str, Tensor]) -> set[str]:
    """Keys of which the file holds another with the same content: those of tied embeddings."""
    copies = {
        key
        for key in weights
        for mark in _COPIES
        if mark in key and key.replace(mark, ".") in weights
    }
    deltas = [key for key in weights if _TOKENS in key]
    copies.update(
        key
        for key in deltas
        if any(key != other and weights[key].equal(weights[other]) for other in deltas)
    )
    return copies


def require_adapter(folder: Path) -> tuple[Path, Path]:
    """The configuration and the weights of a saved adapter. Raises InputError without them."""
    return adapter_files(folder)


def _read(folder: Path) -> tuple[PeftConfig, dict[str, Tensor]]:
    from peft import PeftConfig, load_peft_weights

    try:
        config = PeftConfig.from_pretrained(str(folder))
        return config, load_peft_weights(str(folder), device="cpu")
    except Exception as error:  # whatever peft says of a file
        raise InputError(
            f"the adapter cannot be read: {type(error).__name__}: {_in_a_line(error)}.",
            remedy="Copy it again; adapters are read as peft's save_pretrained writes them.",
            file=folder,
        ) from error


def _require_same_sizes(
    folder: Path, config: PeftConfig, prompt: Tensor, model: PreTrainedModel
) -> None:
    """Virtual tokens name no module of their base: what they do say of it must be so."""
    from peft import PeftType

    if config.peft_type in (PeftType.PROMPT_TUNING, PeftType.P_TUNING):
        width = cast(nn.Embedding, model.get_input_embeddings()).weight.shape[1]
        if prompt.dim() != 2 or prompt.shape[1] != width:
            raise _does_not_fit(
                folder, f"virtual tokens {list(prompt.shape)}, token embeddings of {width} numbers"
            )
    layers = getattr(model.config.get_text_config(), "num_hidden_layers", None)
    trained = getattr(config, "num_layers", None)
    if None not in (layers, trained) and layers != trained:
        raise _does_not_fit(
            folder, f"it was trained on {trained} layers, and the model has {layers}"
        )


def _does_not_fit(folder: Path, why: str) -> InputError:
    return InputError(
        f"the adapter does not fit the model: {why}.",
        remedy="Name the base model that it was trained on.",
        file=folder,
    )


def _in_a_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    # Of what torch says of every weight, the first one.
    start = max(0, text.find("size mismatch"))
    end = text.find("size mismatch", start + 1)
    return text[start : end if end > 0 else None][:250].strip(" .")


def _require_keys(folder: Path, missing: set[str], left_over: set[str]) -> None:
    if missing or left_over:
        kind, keys = ("missing", missing) if missing else ("left over", left_over)
        raise InputError(
            f"{len(keys)} of the adapter's keys are {kind}, the first is {min(keys)}.",
            remedy="The adapter belongs to another base model or its file is damaged: copy it "
            "again, or name the base that it was trained on.",
            file=folder,
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Without PEFT's warnings: missing keys are errors here, the others are about nothing."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "fan_in_fan_out is set to False", UserWarning)
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        warnings.filterwarnings("ignore", "Found missing adapter keys", UserWarning)
        yield
