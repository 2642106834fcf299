"""What several formats say in the same way: length, schedule, optimiser, precision, LoRA."""

from __future__ import annotations

import math
from typing import Any

from llm_validation.training.configurations.reading import (
    Reading,
    count,
    flag,
    mapping,
    names,
    number,
    short,
    text,
)
from llm_validation.training.plan import SCHEDULES

ALL_LINEAR = "all-linear"
LLAMA_TARGETS = ["q_proj", "v_proj"]
"""PEFT's own targets of a LoRA for models like Llama."""
_ADAMW = (
    "adamw_torch", "adamw_torch_fused", "adamw_torch_xla", "adamw_torch_npu_fused", "adamw_hf",
    "adamw_apex_fused", "adamw_anyprecision", "adamw", "paged_adamw", "paged_adamw_32bit",
)  # fmt: skip
_ROUNDED = (
    "adamw_bnb_8bit", "adamw_8bit", "paged_adamw_8bit", "adamw_torch_8bit", "adamw_torch_4bit",
    "ao_adamw_8bit", "ao_adamw_4bit", "ao_adamw_fp8",
)  # fmt: skip
_STAND_INS = {
    "reduce_lr_on_plateau": "constant", "greedy": "constant", "one_cycle": "cosine",
    "rex": "cosine",
}  # fmt: skip


def put_length(reading: Reading, epochs_key: str, default: float) -> None:
    """Steps, or else epochs."""
    steps = reading.get(count(-1), "max_steps")
    epochs = reading.get(number(above=0), epochs_key)
    if steps is None or steps <= 0:
        key = None if epochs is None else epochs_key
        reading.put("epochs", default if epochs is None else epochs, key)
        return
    reading.put("steps", steps, "max_steps")
    # Trainers write their default beside every max_steps.
    if epochs is not None and epochs != default:
        reading.contradictions.append(
            f"{epochs_key} is {epochs:g} and max_steps is {steps}: max_steps decides, as in the "
            "Trainer."
        )


def put_batch(reading: Reading, micro: int, accumulation: int, *keys: str) -> None:
    """The rows of a whole step of one device."""
    said = " x ".join(key for key in keys if reading.key(key)) or None
    reading.put("batch_size", micro * accumulation, said)
    reading.put("gradient_accumulation", accumulation, reading.key("gradient_accumulation_steps"))
    reading.assume(
        "batch_size",
        f"One device is assumed, with {micro * accumulation} rows per step: with several, "
        "`batch_size` says the rows of a whole step.",
    )


def put_schedule(reading: Reading, key: str, default: str, warmup_share: float = 0.0) -> None:
    """The learning rate's schedule and its warm-up; ``warmup_share`` where none is given."""
    name = reading.get(text, key) or default
    options = reading.get(mapping, "lr_scheduler_kwargs") or {}
    options = {option: _number_or_text(value) for option, value in options.items()}
    _put_warmup(reading, warmup_share)
    if name == "constant":
        told = reading.settings.pop("warmup", None) or reading.settings.pop("warmup_share")
        if told.value and not told.is_default:
            reading.contradictions.append(
                f"{told.source} is {told.value:g} and {key} is constant, which has no warm-up in "
                "transformers: there is none."
            )
    schedule = "constant" if name == "constant_with_warmup" else name
    if name in _STAND_INS:
        schedule, options = _STAND_INS[name], {}
        reading.change(key, f"The forecast has the schedule {schedule} instead.")
    if schedule not in SCHEDULES:
        raise reading.error(
            f"{key} is {short(name)}, a schedule that is not known.",
            f"Use one of {', '.join([*SCHEDULES, 'constant_with_warmup'])}.",
        )
    if odd := options.keys() - set(SCHEDULES[schedule]):
        raise reading.error(
            f"lr_scheduler_kwargs names {', '.join(sorted(odd))} for the schedule {name}.",
            f"It takes {', '.join(SCHEDULES[schedule]) or 'none'}.",
        )
    reading.put("schedule", schedule, reading.key(key))
    if options:
        reading.put("schedule_options", options, "lr_scheduler_kwargs")


def _put_warmup(reading: Reading, default_share: float) -> None:
    steps = reading.get(number(), "warmup_steps")
    share = reading.get(number(most=1), "warmup_ratio")
    if steps and share:
        reading.contradictions.append(
            f"warmup_steps is {steps:g} and warmup_ratio is {share:g}: the steps decide."
        )
    if steps:
        # Newer transformers take a share as a number of steps below 1.
        setting, value = ("warmup", int(steps)) if steps >= 1 else ("warmup_share", steps)
        reading.put(setting, value, "warmup_steps")
    elif share:
        reading.put("warmup_share", share, "warmup_ratio")
    elif default_share:
        reading.put("warmup_share", default_share, None)
    else:
        reading.put("warmup", 0, reading.key("warmup_steps", "warmup_ratio"))


def put_optimizer(reading: Reading, key: str) -> None:
    """The optimiser, its betas, weight decay and clipping."""
    name = (reading.get(text, key) or "adamw_torch").lower()
    decay = reading.get(number(), "weight_decay") or 0.0
    betas = [reading.get(number(most=1), f"adam_beta{n}") for n in (1, 2)]
    sgd = name == "sgd"
    reading.put("optimizer", "sgd" if sgd else "adamw", reading.key(key))
    if name in _ROUNDED:
        reading.change(key, "The optimiser's state is rounded: the forecast is of exact AdamW.")
    elif not sgd and name not in _ADAMW:
        reading.change(
            key,
            "Another optimiser moves the weights otherwise at the same rate: the forecast is of "
            "AdamW, and may be far off.",
        )
    if sgd and decay:
        reading.change("weight_decay", "Weight decay is not forecast with SGD.")
        decay = 0.0
    reading.put("weight_decay", decay, reading.key("weight_decay"))
    if not sgd:
        usual = (0.9, 0.999)
        said = ", ".join(k for k in ("adam_beta1", "adam_beta2") if reading.key(k)) or None
        reading.put(
            "betas", [b if b is not None else u for b, u in zip(betas, usual, strict=True)], said
        )
    clip = reading.get(number(), "max_grad_norm")
    reading.put("clip", 1.0 if clip is None else clip or None, reading.key("max_grad_norm"))


def put_precision(reading: Reading, default: str) -> None:
    """The number format of the training; ``default`` where neither bf16 nor fp16 is said."""
    bf16 = reading.get(_auto_or_flag, "bf16")
    fp16 = reading.get(flag, "fp16")
    if fp16 and bf16 is True:
        raise reading.error("bf16 and fp16 are both true.", "Give one of them.")
    if fp16:
        reading.put("precision", "fp32", "fp16")
        reading.change("fp16", "float16 rounds more than what is forecast, which is float32.")
    elif bf16 is None:
        reading.put("precision", default, None)
    else:
        used = {"auto": "auto", True: "bf16", False: "fp32"}[bf16]
        reading.put("precision", used, "bf16")


def put_lora(
    reading: Reading,
    *,
    kind: tuple[str, str | None],
    rank: tuple[int, str | None],
    alpha: tuple[float, str | None],
    targets: tuple[list[str], str | None],
    rslora: str,
    double_quant: tuple[bool, str | None] | None = None,
) -> None:
    """A LoRA, each value with its key; ``rslora`` is the key of the rank-stabilised scale."""
    stabilised = reading.get(flag, rslora)
    reading.put("method.kind", *kind)
    reading.put("method.rank", *rank)
    if stabilised:
        # alpha / sqrt(rank) is the scale of an ordinary LoRA with this alpha.
        said = ", ".join(key for key in (alpha[1], rslora) if key)
        reading.put("method.alpha", alpha[0] * math.sqrt(rank[0]), said)
    else:
        reading.put("method.alpha", *alpha)
    reading.put("method.targets", *targets)
    if kind[0] == "qlora" and double_quant is not None:
        reading.put("method.double_quant", *double_quant)


def lora_targets(reading: Reading, key: str, all_words: tuple[str, ...]) -> list[str] | None:
    """The modules that a key names, None where it is not given."""
    said = reading.get(_any, key)
    if said is None:
        return None
    if isinstance(said, str) and any(sign in said for sign in "\\.*([^|+?"):
        reading.change(
            key, "The pattern is not read: the forecast adapts all linear modules instead."
        )
        return [ALL_LINEAR]
    given = reading.get(names, key) or []
    if any(name in all_words for name in given):
        return [ALL_LINEAR]
    if any("." in name for name in given):
        reading.change(
            key, "Paths are not read: the forecast adapts modules of these names everywhere."
        )
    found = list(dict.fromkeys(name.rpartition(".")[2] for name in given))
    if not found:
        raise reading.error(f"{key} is {short(said)}.", "Name at least one module.")
    return found


def put_constraints(reading: Reading) -> None:
    """What the section of finebound's own callbacks keeps the weights to."""
    section = reading.get(mapping, "finebound") or {}
    radius, proxy = section.get("radius"), section.get("proxy")
    radius = radius.get("radius") if isinstance(radius, dict) else radius
    lam = proxy.get("lam") if isinstance(proxy, dict) else None
    if radius is None and lam is None:
        return
    kind = "parameter" if lam is None else "loss" if radius is None else "hybrid"
    reading.put("strategy.kind", kind, "finebound")
    for name, value in (("radius", radius), ("lam", lam)):
        if value is not None:
            reading.put(f"strategy.{name}", value, f"finebound.{name}")


def four_bit_full(reading: Reading, key: str) -> Exception:
    """A base of 4 bits whose own weights are to be trained."""
    return reading.error(
        f"{key} asks for a base of 4 bits, and all weights are trained: no trainer can.",
        "Train an adapter (QLoRA), or load the whole model.",
    )


def _any(value: Any) -> Any:
    return value


def _auto_or_flag(value: Any) -> bool | str:
    if value == "auto":
        return "auto"
    return True if value == "full" else flag(value)


def _number_or_text(value: Any) -> Any:
    try:
        found = number(-math.inf)(value)
    except ValueError:
        return value
    return int(found) if found == int(found) and not isinstance(value, float) else found
