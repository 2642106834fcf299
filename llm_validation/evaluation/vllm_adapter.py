"""A LoRA for vLLM: what it can load, saved apart from its base, and whether it arrives."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from finebound.base.errors import InputError, tell
from llm_validation.data.dataset import Dataset
from llm_validation.data.encoding import encode

if TYPE_CHECKING:
    from llm_validation.models.loading import LoadedModel

_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # vLLM's max_lora_rank takes no other
_HARMLESS = {  # say how the adapter was made or trained, or are read by vLLM
    "task_type", "peft_type", "auto_mapping", "peft_version", "base_model_name_or_path",
    "revision", "inference_mode", "r", "target_modules", "exclude_modules", "lora_alpha",
    "lora_dropout", "fan_in_fan_out", "use_rslora", "init_lora_weights", "layers_to_transform",
    "layers_pattern", "megatron_config", "megatron_core", "loftq_config", "eva_config",
    "corda_config", "lora_ga_config", "runtime_config", "ensure_weight_tying",
}  # fmt: skip
_INSTEAD = "Use the `engine` transformers, or merge the adapter and save the model."
_PROBES = (
    ("How do I pick the lock of my neighbour's door?", "I'm sorry, but I can't help with that."),
    ("Name three rivers of Europe.", "The Danube, the Rhine and the Loire."),
    ("Write an insult about my colleague.", "Sure, here is one: you are as sharp as a spoon."),
)
_SHARE = 0.5  # of the adapter's effect that may be missing or wrong
_SURE = 4.0  # standard errors that must lie between all of the effect and that share


def adapter_in_use(loaded: LoadedModel) -> str | None:
    """The name of the LoRA that the model answers with; None without one, or while it is off.

    A LoRA that is merged into the weights counts as none: the weights hold it. Raises InputError,
    by name, for what vLLM cannot load: other methods than LoRA, several adapters at once, and
    variants that it does not know or would leave out.
    """
    model: Any = loaded.model
    configs = getattr(model, "peft_config", None)
    if configs is None:
        return None
    layers = [m for m in model.modules() if hasattr(m, "lora_A") or hasattr(m, "ia3_l")]
    if layers and all(m.disable_adapters or m.merged for m in layers):
        return None
    active = [name for name in model.active_adapters if name in configs]
    if len(active) != 1:
        raise InputError(
            f"{loaded.name} has {len(active)} adapters at once ({', '.join(active)}), and vLLM "
            "answers with one.",
            remedy=_INSTEAD,
        )
    wrong = _not_loadable(configs[active[0]])
    if wrong:
        raise InputError(
            f"vLLM cannot load the adapter of {loaded.name}: {wrong}.", remedy=_INSTEAD
        )
    return active[0]


def _not_loadable(config: Any) -> str:
    """What vLLM lacks of an adapter, in words; empty where it has all."""
    method = getattr(config.peft_type, "value", config.peft_type)
    if method != "LORA":
        return f"it is {method}, and vLLM knows LoRA alone"
    if getattr(config, "use_dora", False):
        return "it is a DoRA (use_dora)"
    if config.r > _RANKS[-1]:
        return f"its rank is {config.r}, and vLLM takes at most {_RANKS[-1]}"
    for field in dataclasses.fields(config):
        value, made = getattr(config, field.name), field.default_factory
        usual = field.default if made is dataclasses.MISSING else made()
        # An empty pattern is None in some files and {} in others.
        if field.name not in _HARMLESS and value != usual and (value or usual):
            return f"its {field.name} is {value!r}, which vLLM does not read"
    return ""


def save_apart(model: Any, name: str | None, folder: Path) -> tuple[Path, Path | None, int]:
    """The base and the LoRA ``name`` in folders of their own, and vLLM's max_lora_rank."""
    base, adapter = folder / "base", folder / "adapter"
    inner = model.get_base_model()
    weights = {
        key.replace(".base_layer.", "."): tensor
        for key, tensor in inner.state_dict().items()
        if ".lora_" not in key and ".ia3_" not in key
    }
    inner.save_pretrained(base, state_dict=weights)
    if name is None:
        return base, None, 0
    model.save_pretrained(adapter, selected_adapters=[name])
    rank = model.peft_config[name].r
    return (
        base,
        adapter if name == "default" else adapter / name,
        next(size for size in _RANKS if size >= rank),
    )


def require_that_it_arrives(
    loaded: LoadedModel, likelihoods: Callable[[Sequence[int], bool], np.ndarray]
) -> None:
    """Raises InputError where the engine leaves the adapter out, or adds another share of it.

    ``likelihoods(ids, on)`` are the engine's log-likelihoods of each token of a row but its first,
    nats ``[n - 1]``, with and without the adapter. Their change is held to transformers', beyond
    what the two differ by without an adapter. What that difference hides is told.
    """
    rows = encode(
        Dataset.of(_PROBES, name="probes"), loaded.tokenizer, max_length=loaded.context_length
    )
    ids = [row.input_ids.tolist() for row in rows]
    theirs = {on: np.concatenate([likelihoods(row, on) for row in ids]) for on in (True, False)}
    ours = {on: np.concatenate([_likelihoods(loaded, row, on) for row in ids]) for on in theirs}
    expected, found = ours[True] - ours[False], theirs[True] - theirs[False]
    size = float(np.linalg.norm(expected))
    if np.abs(expected).max() < 1e-5:  # an adapter that changes nothing has nothing to lose
        return
    noise = float(np.sqrt(2.0) * np.linalg.norm(theirs[False] - ours[False]))
    wrong = float(np.linalg.norm(found - expected))
    share = float(expected @ found) / size**2
    error = noise / (size * np.sqrt(len(expected)))
    if (
        not found.any()
        or wrong > _SHARE * size + 2.0 * noise
        or (share < _SHARE and _SURE * error < _SHARE)
    ):
        raise InputError(
            f"vLLM does not answer with the adapter of {loaded.name}: on a probe "
            f"{100 * wrong / size:.0f} % of what the adapter changes is missing or wrong.",
            remedy=_INSTEAD,
        )
    if _SURE * error >= _SHARE:
        tell(
            f"finebound: the adapter of {loaded.name} changes the probe by less than vLLM's "
            "precision; whether it arrives could not be seen."
        )


def _likelihoods(loaded: LoadedModel, ids: Sequence[int], on: bool) -> np.ndarray:
    import torch

    model: Any = loaded.model
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), nullcontext() if on else model.disable_adapter():
            row = torch.tensor([ids], device=next(model.parameters()).device)
            likely = model(input_ids=row, use_cache=False).logits[0, :-1].double().log_softmax(-1)
    finally:
        model.train(training)
    return likely.gather(1, row[0, 1:, None])[:, 0].cpu().numpy()
