"""Where a run takes place: the global generators it must not disturb, its device, its memory."""

from __future__ import annotations

import random
import resource
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from finebound.base.errors import tell
from llm_validation.models.memory import GB, require_memory
from llm_validation.training.methods import FullWeights
from llm_validation.training.plan import TrainingPlan

WORTH_TELLING = GB // 2


@contextmanager
def generators_kept() -> Iterator[None]:
    """The Trainer seeds every global generator; afterwards they are as they were."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


@contextmanager
def as_after_training(model: nn.Module) -> Iterator[nn.Module]:
    """The model in evaluation mode and without mixed precision; afterwards it trains on as before.

    What is drawn meanwhile does not change what the training draws.
    """
    # Accelerate puts its mixed-precision forward in front of the class's own.
    mixed, training = model.__dict__.pop("forward", None), model.training
    try:
        with generators_kept():
            yield model.eval()
    finally:
        model.train(training)
        if mixed is not None:
            model.__dict__["forward"] = mixed


def require_room(model: nn.Module, plan: TrainingPlan) -> None:
    """Say on stderr what training needs beside the model; raises NeedsMemory where it is not there.

    That is gradients, the optimiser's moments and, of full weights, where they started; what a
    step's own rows take comes on top.
    """
    trained = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    moments = 2 if plan.optimizer == "adamw" else int(plan.momentum > 0)
    need = trained * (1 + moments + int(isinstance(plan.method, FullWeights)))
    what = f"training {plan.method.kind} beside the model, without a step's rows,"
    if need >= WORTH_TELLING:
        tell(f"{what[0].upper()}{what[1:]} takes {need / GB:.1f} GB of memory.")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    smaller = "Train a LoRA, or give" if isinstance(plan.method, FullWeights) else "Give"
    require_memory(need, what, device=device, remedy=f"{smaller} more as `memory`.")


def device_name(device: torch.device) -> str:
    """The device for people."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def peak_memory() -> int:
    """Of the device's memory where it has its own, else of the process's."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
