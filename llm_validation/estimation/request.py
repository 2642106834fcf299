"""What is asked of an estimate: data, model, strategies, and the plan of the fine-tune."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, Literal

from finebound.base.errors import InputError
from finebound.base.limits import limits_of
from llm_validation.models.placement import Placement

LAMS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 10.0)
RADII = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
_POSITIVE = "greater than 0 and finite"
TEXT_ROWS = 200_000
"""Rows of each dataset on which overlap is measured where ``rows`` says nothing."""


@dataclass(frozen=True)
class Request(Placement):
    """What to estimate; ``finebound estimate`` has the same options. Raises InputError.

    Datasets are files, ``builtin:NAME``, ``hf:OWNER/NAME[:SPLIT]`` or catalogue names.
    """

    task: str | None = None
    """Task data to fine-tune on (default: those that `training` names)."""
    safety: str | None = None
    """Safety data that the model was aligned on (default, with a model: its own answers to the
    probes; what happens to its refusals is then forecast)."""
    proxy: str | None = None
    """Safety data to be used in the fine-tune, if they are not the original ones."""
    model: str | None = None
    """The aligned model: "packaged-aligned", "packaged", a local folder or a hub id (default
    without `safety`: the one that `training` names)."""
    training: str | None = None
    """Training configuration: a file of transformers, TRL, PEFT, axolotl, LLaMA-Factory or
    finebound. What else is said of task, model and settings wins."""
    probes: str = "builtin:pairs"
    """Harmful probes and harmless look-alikes that the model is asked."""
    budget: tuple[str, ...] = ()
    """What may be lost: refusal=5 or over-refusal=5 (points), loss=0.05 (nats per token)."""
    lam: tuple[float, ...] = LAMS
    """Strengths of the proxy loss."""
    radius: tuple[float, ...] = RADII
    """Norms of the weights' change, of a LoRA that of s B A over its modules, as in training."""
    learning_rate: float | None = None
    """Learning rate of the planned fine-tune (default: 2e-4); with its steps it limits the radius
    (T13)."""
    steps: int | None = None
    """Optimiser steps of the planned fine-tune (default: 100)."""
    epochs: float | None = None
    """Passes over the task rows, instead of steps."""
    batch_size: int | None = None
    """Task rows in a step of the planned fine-tune (default: 8); as many of the proxy."""
    method: str | None = None
    """What is trained: lora, qlora, full, ia3, ... (default: lora)."""
    rank: int | None = None
    """Rank of a LoRA."""
    alpha: float | None = None
    """A LoRA's alpha (default: twice its rank)."""
    targets: tuple[str, ...] | None = None
    """Modules that a LoRA adapts."""
    schedule: str | None = None
    """Schedule of the learning rate: constant, linear, cosine, ..."""
    warmup: float | None = None
    """Steps of warm-up, or a share of them below 1."""
    weight_decay: float | None = None
    """AdamW's weight decay."""
    objective: Literal["sft", "dpo"] | None = None
    """Supervised answers, or preferences."""
    precision: Literal["fp32", "bf16", "auto"] | None = None
    """What the fine-tune computes in."""
    rows: int | None = None
    """Rows of each dataset to use, a seeded sample (default: all for the audit and for prompts
    asked in both datasets, at most 200,000 for measures of overlap)."""
    model_rows: int = 256
    """Rows of each dataset to measure the model on, a seeded sample."""
    drop_unusable: bool = False
    """Leave out rows that cannot be read as an example instead of refusing the file."""
    ignore_columns: tuple[str, ...] = ()
    """Columns to leave unread, though they look like a part of what is asked or answered."""
    max_length: int | None = None
    """Longest row in tokens (default: the model's context)."""
    drop_long: bool = False
    """Leave out rows with more tokens than that, instead of refusing the file."""
    truncate: bool = False
    """Cut such rows to their first tokens, as trainers do."""
    turns: Literal["all", "last"] = "all"
    """Assistant turns that the model's losses count: every one, as trainers learn them, or the
    last. Text measures read the last one."""
    coordinates: Literal["adapter", "all"] = "adapter"
    """Weights that will be trained: a LoRA adapter or all."""
    forecast: bool = False
    """Forecast what the planned fine-tune will change under each lambda and radius, by a few large
    steps of it: about a tenth of its time for each. Needs a model."""
    failure_probability: float = 0.05
    """Of each statement that holds with high probability."""
    seed: int = 0
    """Seed of samples and searches."""

    def __post_init__(self) -> None:
        for name in ("lam", "radius"):
            values = getattr(self, name)
            wrong = [v for v in values if not (math.isfinite(v) and v > 0)]
            if wrong or not values:
                given = f"{wrong[0]:g}" if wrong else "empty"
                raise InputError(f"`{name}` is {given}.", remedy=f"Give {name} {_POSITIVE}.")
        if not 0 < self.failure_probability < 1:
            given = f"{self.failure_probability:g}"
            raise InputError(f"`failure_probability` is {given}.", remedy="Give it within (0, 1).")
        for name in ("rows", "model_rows"):
            value = getattr(self, name)
            if value is not None and value < 2:
                raise InputError(f"`{name}` is {value}.", remedy="At least 2 rows are needed.")
        if self.learning_rate is not None and not 0 < self.learning_rate < math.inf:
            given = f"{self.learning_rate:g}"
            raise InputError(f"`learning_rate` is {given}.", remedy=f"Give a rate {_POSITIVE}.")
        for name in ("steps", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"`{name}` is {value}.", remedy="Give at least 1.")
        if self.task is None and self.training is None:
            raise InputError(
                "`task` is missing.",
                remedy="Name the task data, or a `training` file that names them.",
            )
        if self.safety is None and self.model is None and self.training is None:
            raise InputError(
                "neither `safety` nor `model` is given.",
                remedy="Name a model, whose own answers are then the safety data, or safety data.",
            )
        if self.budget and self.safety is not None and self.model is None and not self.training:
            raise InputError(
                "`budget` is about a forecast of refusals, and no model is given.",
                remedy="Give packaged-aligned, a folder or a hub id as `model`.",
            )
        self.budgets  # noqa: B018 - rejected here, before any work
        if self.drop_long and self.truncate:
            raise InputError(
                "`drop_long` and `truncate` are two answers to one question.", remedy="Give one."
            )
        if self.load_in == "4bit" and self.safety is not None:
            raise InputError(
                "`load_in` is 4bit, and bounds need gradients of the exact weights.",
                remedy="Leave `safety` out, for a forecast of refusals, or load it in fp32.",
            )
        if self.forecast and self.model is None:
            raise InputError(
                "`forecast` needs `model`: it trains that model for a few steps.",
                remedy="Give packaged, a folder or a hub id.",
            )

    @property
    def budgets(self) -> dict[str, float]:
        """What may be lost, by quantity. Raises InputError for what is no budget."""
        return budgets_of(self.budget)

    @property
    def on_long(self) -> Literal["drop", "truncate", "error"]:
        """What is done with a row that has too many tokens."""
        return "drop" if self.drop_long else "truncate" if self.truncate else "error"

    @property
    def given(self) -> dict[str, Any]:
        """What differs from the defaults, and the seed, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(Request)}
        usual = {field.name: field.default for field in fields(Request) if field.name != "seed"}
        return {n: v for n, v in values.items() if n not in usual or v != usual[n]}

    @property
    def command(self) -> str:
        """The command line that asks for the same again."""
        parts = ["finebound estimate"]
        for name, value in self.given.items():
            values = () if value is True else value if isinstance(value, tuple) else (value,)
            parts.append(" ".join([_flag(name), *(shlex.quote(_exactly(v)) for v in values)]))
        return " \\\n    ".join([*parts, f"{_flag('out')} DIR"])


def budgets_of(texts: Iterable[str]) -> dict[str, float]:
    """``("refusal=5",)`` as limits by quantity: points, for "loss" nats per token.

    Raises InputError for what is no budget.
    """
    return limits_of(
        texts,
        {"refusal": 100.0, "over-refusal": 100.0, "loss": math.inf},
        remedy="Give refusal=POINTS or over-refusal=POINTS (0 to 100), or loss=NATS.",
    )


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _exactly(value: object) -> str:
    """A number so that reading it gives the same number; short where it can be."""
    if isinstance(value, float) and float(f"{value:g}") == value:
        return f"{value:g}"
    return str(value)
