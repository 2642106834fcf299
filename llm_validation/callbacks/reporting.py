"""How a callback tells every logger what it found: through the log of the Trainer that calls it."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Any

import torch
from transformers import Trainer, TrainerControl, TrainingArguments

from finebound.base.errors import InputError


def calling_trainer() -> Trainer:
    """The Trainer whose event this is: a callback is handed its state and not the Trainer itself.

    Raises InputError where no ``transformers.Trainer`` is among the callers.
    """
    frame = sys._getframe(1)
    while frame is not None:
        found = frame.f_locals.get("self")
        if isinstance(found, Trainer):
            return found
        frame = frame.f_back
    raise InputError(
        "no transformers.Trainer calls this callback.",
        remedy="Pass it in `callbacks` of a Trainer, SFTTrainer, DPOTrainer or a class of these.",
    )


def log(control: TrainerControl, values: Mapping[str, float]) -> None:
    """An entry of its own in the log history and in every logger; NaN and infinity are left out.

    The Trainer's own entry of this step is still written. ``Trainer.log`` is called and not that
    of a subclass: TRL's would empty the sums of its own next entry.
    """
    asked = control.should_log
    finite = {name: float(value) for name, value in values.items() if math.isfinite(value)}
    Trainer.log(calling_trainer(), finite)
    control.should_log = asked


def agreed(value: bool, args: TrainingArguments) -> bool:
    """What the first process found, on every process."""
    if args.world_size > 1:
        told = torch.tensor([value], dtype=torch.uint8, device=args.device)
        torch.distributed.broadcast(told, 0)
        value = bool(told.item())
    return value


def tokenizer_of(processing_class: Any, what: str) -> Any:
    """The Trainer's tokenizer. Raises InputError where it has none, or one without a template."""
    tokenizer = getattr(processing_class, "tokenizer", processing_class)
    if tokenizer is None or not getattr(tokenizer, "chat_template", None):
        raise InputError(
            f"{what} needs a tokenizer with a chat template, and the Trainer has none.",
            remedy="Give the Trainer `processing_class=tokenizer`.",
        )
    return tokenizer
