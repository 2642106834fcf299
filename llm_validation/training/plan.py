"""What a fine-tune is to do: method, strategy, budget. Everything that changes the weights."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from finebound.base.errors import InputError
from llm_validation.training.methods import METHODS, Lora, Method, make_method, method_as_dict
from llm_validation.training.methods import FullWeights as FullWeights
from llm_validation.training.settings import check, is_count, read
from llm_validation.training.strategies import (
    BiState,
    SoftParameterConstraint,
    Strategy,
    SubspacePenalty,
    TokenConstraint,
    is_number,
    make_strategy,
    strategy_as_dict,
)
from theory.strategy import Hybrid, LossConstraint
from theory.strategy import Strategy as HardStrategy

CHECKPOINT_SECONDS = 60.0
_OF_A_LEAST_RATE = ("num_cycles", "min_lr", "min_lr_rate")
SCHEDULES: Mapping[str, tuple[str, ...]] = {
    "constant": (),
    "linear": (),
    "cosine": ("num_cycles",),
    "cosine_with_restarts": ("num_cycles",),
    "polynomial": ("lr_end", "power"),
    "inverse_sqrt": ("timescale",),
    "cosine_with_min_lr": _OF_A_LEAST_RATE,
    "cosine_warmup_with_min_lr": (*_OF_A_LEAST_RATE, "warmup_lr_rate"),
    "warmup_stable_decay": (
        "num_decay_steps",
        "num_stable_steps",
        "warmup_type",
        "decay_type",
        "min_lr_ratio",
        "num_cycles",
    ),
}
"""Every schedule of the learning rate, with the options that it takes."""


@dataclass(frozen=True)
class Dpo:
    """Direct preference optimisation: the task's rows are pairs, and theta_s is the reference.

    The task's loss is the mean over pairs of ``-log sigmoid(beta m)``, where the margin m is how
    much more likely, in nats, the model makes the chosen answer over the rejected one than the
    reference does. With an adapter the reference is the model without it. Source: Rafailov et al.
    (2023).
    """

    beta: float = 0.1

    def __post_init__(self) -> None:
        check(
            is_number(self.beta) and 0 < self.beta < math.inf,
            f"DPO's beta is {self.beta}.",
            "Give a number greater than 0.",
        )


@dataclass(frozen=True)
class EarlyStopping:
    """Stop on a monitor: after ``patience`` checks without a new best, or on too large a rise.

    ``monitor`` names one of the run's monitors (held-out task rows for patience, safety rows for
    ``max_rise``, in nats per token above its start); it is measured every ``every`` steps. The
    weights stay those of the step at which it stopped.
    """

    monitor: str
    every: int
    patience: int | None = None
    max_rise: float | None = None

    def __post_init__(self) -> None:
        name = self.monitor
        check(isinstance(name, str), f"the monitor is {name!r}.", "Give the name of a monitor.")
        check(is_count(self.every), f"every is {self.every}.", "Check every 1 or more steps.")
        check(
            (self.patience is None) != (self.max_rise is None),
            "early stopping takes exactly one of patience and max_rise.",
            "Give the patience of a task monitor or the largest rise of a safety monitor.",
        )
        if self.patience is not None:
            check(is_count(self.patience), f"patience is {self.patience}.", "Give 1 or more.")
        else:
            check(
                self.max_rise is not None
                and is_number(self.max_rise)
                and 0 <= self.max_rise < math.inf,
                f"max_rise is {self.max_rise}.",
                "Give a number of nats per token, at least 0.",
            )


@dataclass(frozen=True)
class TrainingPlan:
    """Everything that decides a fine-tune's weights, except model and data.

    ``batch_size`` and ``proxy_batch_size`` (the same unless given) are rows of each stream in one
    optimiser step, over all processes; ``gradient_accumulation`` cuts a process's share into so
    many micro-batches and changes nothing but memory. Rows above ``max_length`` tokens are an
    error, left out with ``drop_long``, or cut to their first tokens with ``truncate``.
    ``precision`` "bf16" computes in bfloat16 with float32 weights; "auto" does where the machine
    has the instructions for it (``training.precision``).
    ``schedule`` and ``schedule_options`` are transformers' own (``SCHEDULES`` says which options
    each takes), except that "constant" has its warm-up.
    ``clip`` is the largest gradient norm (None: none). ``epsilon`` of a
    loss constraint is the rise of the proxy's loss above its value at the start, enforced by
    dual ascent: lambda starts at ``dual_start`` and moves by ``dual_rate`` times the violation
    (nats per token) of each step. A checkpoint is saved after every ``checkpoint_every`` steps and
    after every ``checkpoint_seconds`` (0: never): so much work is lost with a killed process.
    ``objective`` None is supervised fine-tuning on the task's
    answers. Raises InputError for settings that contradict each other.
    """

    strategy: Strategy = None
    method: Method = field(default_factory=Lora)
    steps: int = 100
    learning_rate: float = 2e-4
    schedule: Literal[
        "constant",
        "linear",
        "cosine",
        "cosine_with_restarts",
        "polynomial",
        "inverse_sqrt",
        "cosine_with_min_lr",
        "cosine_warmup_with_min_lr",
        "warmup_stable_decay",
    ] = "constant"
    warmup: int = 0
    batch_size: int = 8
    proxy_batch_size: int | None = None
    gradient_accumulation: int = 1
    max_length: int | None = None
    drop_long: bool = False
    truncate: bool = False
    optimizer: Literal["adamw", "sgd"] = "adamw"
    betas: tuple[float, float] = (0.9, 0.999)
    momentum: float = 0.0
    weight_decay: float = 0.0
    clip: float | None = 1.0
    precision: Literal["fp32", "bf16", "auto"] = "fp32"
    gradient_checkpointing: bool = False
    seed: int = 0
    early_stopping: EarlyStopping | None = None
    checkpoint_every: int = 100
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    evaluate_at: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    training_sets_at: Literal["ends", "all"] = "ends"
    dual_start: float = 1.0
    dual_rate: float = 1.0
    objective: Dpo | None = None
    schedule_options: Mapping[str, float | str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "betas", tuple(self.betas))
        object.__setattr__(self, "evaluate_at", tuple(sorted({0.0, 1.0, *self.evaluate_at})))
        for name in ("steps", "batch_size", "gradient_accumulation"):
            value = getattr(self, name)
            check(is_count(value), f"{name} is {value}.", "Give a whole number from 1.")
        for name in ("warmup", "checkpoint_every"):
            value = getattr(self, name)
            check(is_count(value, 0), f"{name} is {value}.", "Give a whole number from 0.")
        for name in ("proxy_batch_size", "max_length"):
            value = getattr(self, name)
            check(
                value is None or is_count(value), f"{name} is {value}.", "Give 1 or more, or none."
            )
        for name in ("learning_rate", "dual_rate"):
            value = getattr(self, name)
            check(
                is_number(value) and 0 < value < math.inf,
                f"{name} is {value}.",
                "Give a number greater than 0.",
            )
        for name in ("weight_decay", "dual_start", "checkpoint_seconds"):
            value = getattr(self, name)
            check(
                is_number(value) and 0 <= value < math.inf,
                f"{name} is {value}.",
                "Give a number, at least 0.",
            )
        check(
            self.gradient_accumulation <= self.rows_per_step,
            f"gradient_accumulation cuts {self.rows_per_step} rows into "
            f"{self.gradient_accumulation} micro-batches.",
            "Lower it, or raise batch_size: those are the rows of a whole step.",
        )
        check(
            self.clip is None or (is_number(self.clip) and 0 < self.clip < math.inf),
            f"clip is {self.clip}.",
            "Give the largest norm of a gradient, or none.",
        )
        check(
            self.warmup < self.steps,
            f"warmup takes {self.warmup} of {self.steps} steps.",
            "Warm up for fewer steps than there are.",
        )
        for name, kind in (("objective", Dpo), ("early_stopping", EarlyStopping)):
            value = getattr(self, name)
            check(
                value is None or isinstance(value, kind),
                f"{name} is {value!r}.",
                "Give an object with its settings, or leave it out.",
            )
        check(
            isinstance(self.method, tuple(METHODS.values())),
            f"the method is {self.method!r}.",
            'Give an object such as {"kind": "lora"}, or leave it out.',
        )
        check(
            not (self.drop_long and self.truncate),
            "drop_long and truncate are both given.",
            "Long rows are left out or cut: give one.",
        )
        for name in ("drop_long", "truncate", "gradient_checkpointing"):
            value = getattr(self, name)
            check(isinstance(value, bool), f"{name} is {value!r}.", "Give true or false.")
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            check(value in choices, f"{name} is {value!r}.", f"Use one of {', '.join(choices)}.")
        options, takes = self.schedule_options, SCHEDULES[self.schedule]
        check(
            isinstance(options, Mapping) and set(options) <= set(takes),
            f"schedule_options are {options!r} with the schedule {self.schedule}.",
            f"It takes {', '.join(takes) or 'none'}.",
        )
        check(
            len(self.betas) == 2 and all(is_number(b) and 0 <= b < 1 for b in self.betas)
            and self.betas[1] > 0,
            f"betas are {self.betas}.",
            "Give two numbers of [0, 1), the second above 0.",
        )  # fmt: skip
        check(
            is_number(self.momentum) and 0 <= self.momentum < 1,
            f"momentum is {self.momentum}.",
            "Give a number of [0, 1).",
        )
        check(
            self.optimizer == "sgd" or self.momentum == 0,
            "momentum is given with the optimizer adamw.",
            "Set betas, or use the optimizer sgd.",
        )
        check(
            self.optimizer == "adamw" or self.weight_decay == 0,
            "weight decay with sgd pulls on clipped gradients, and no budget bounds the result.",
            "Use adamw, or a SoftParameterConstraint.",
        )
        check(
            all(is_number(f) and 0 <= f <= 1 for f in self.evaluate_at),
            f"evaluate_at is {self.evaluate_at}.",
            "Give fractions of the training from 0 to 1.",
        )
        check(
            self.proxy_batch_size is None or self.trains_on_proxy,
            "proxy_batch_size is given, and the strategy has no loss constraint.",
            "Leave it out, or use a loss constraint, a hybrid or lisa.",
        )
        check(
            self.epsilon is not None or (self.dual_start, self.dual_rate) == (1.0, 1.0),
            "dual_start or dual_rate is given, and lambda is not moved by dual ascent.",
            "Leave them out, or give a loss constraint its epsilon.",
        )
        if isinstance(self.strategy, HardStrategy):
            for name in ("lam", "epsilon", "radius"):
                value = getattr(self.strategy, name, None)
                check(
                    value is None or np.ndim(value) == 0,
                    f"{name} is a list.",
                    "A run has one strategy: make one run for each value.",
                )
        self._check_defence()

    def _check_defence(self) -> None:
        strategy = self.strategy
        check(
            self.objective is None or not isinstance(strategy, TokenConstraint | BiState),
            "constrained SFT and lisa are about supervised answers, and the objective is dpo.",
            "Use the objective sft, or another strategy.",
        )
        if isinstance(strategy, BiState):
            check(
                self.steps > strategy.alignment_steps,
                f"lisa begins with {strategy.alignment_steps} alignment steps, and there are only "
                f"{self.steps} steps: none would be on the task.",
                "Lower alignment_steps, or train for more steps.",
            )
        check(
            not isinstance(strategy, SubspacePenalty) or isinstance(self.method, Lora),
            f"asft penalises the updates of a LoRA, and the method is {self.method.kind}.",
            "Use the method lora or qlora, or another strategy.",
        )

    @property
    def needs_proxy_rows(self) -> bool:
        """Whether every step has rows of the proxy in it."""
        return isinstance(self.strategy, LossConstraint | Hybrid)

    @property
    def trains_on_proxy(self) -> bool:
        """Whether steps have rows of the proxy in them: every one, or those of Lisa's state."""
        return self.needs_proxy_rows or isinstance(self.strategy, BiState)

    @property
    def uses_proxy(self) -> bool:
        """Whether a proxy is needed at all: for the loss or for the Fisher information."""
        soft = self.strategy
        return self.trains_on_proxy or (isinstance(soft, SoftParameterConstraint) and soft.fisher)

    @property
    def needs_alignment(self) -> bool:
        """Whether the models before and after the alignment are needed."""
        return isinstance(self.strategy, SubspacePenalty)

    @property
    def lam(self) -> float:
        """The proxy's weight in the loss at the first step; 0 without a loss constraint."""
        if not self.needs_proxy_rows:
            return 0.0
        lam: float | None = getattr(self.strategy, "lam", None)
        return self.dual_start if lam is None else float(lam)

    @property
    def epsilon(self) -> float | None:
        """The allowed rise of the proxy's loss, when that is the strategy."""
        return getattr(self.strategy, "epsilon", None)

    @property
    def radius(self) -> float | None:
        """The hard parameter constraint's radius, when there is one."""
        return getattr(self.strategy, "radius", None)

    @property
    def rows_per_step(self) -> int:
        """Rows of both streams in one optimiser step; of Lisa's two kinds of step the fewer."""
        if isinstance(self.strategy, BiState):
            return min(self.batch_size, self.proxy_rows_per_step)
        return self.batch_size + self.proxy_rows_per_step

    @property
    def proxy_rows_per_step(self) -> int:
        """Rows of the proxy in an optimiser step that has any."""
        return (self.proxy_batch_size or self.batch_size) if self.trains_on_proxy else 0

    @property
    def evaluation_steps(self) -> tuple[int, ...]:
        """Steps after which the monitors are measured: 0 and the last one among them."""
        return tuple(sorted({round(f * self.steps) for f in self.evaluate_at}))

    def learning_rates(self) -> np.ndarray:
        """The rate of every step, float64 ``[steps]``, by transformers' own schedules.

        Raises InputError for options that the schedule cannot be made of.
        """
        import torch
        from transformers import get_scheduler

        optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=self.learning_rate)
        try:
            schedule: Any = get_scheduler(
                self.schedule_name, optimiser, self.warmup, self.steps, {**self.schedule_options}
            )
        except (TypeError, ValueError) as error:
            raise InputError(
                f"the schedule {self.schedule} cannot be made: {error}",
                remedy=f"Its schedule_options are {', '.join(SCHEDULES[self.schedule])}.",
            ) from error
        rates = np.empty(self.steps)
        for step in range(self.steps):
            rates[step] = schedule.get_last_lr()[0]
            optimiser.step()
            schedule.step()
        return rates

    @property
    def schedule_name(self) -> str:
        """What transformers calls the schedule."""
        return "constant_with_warmup" if self.schedule == "constant" else self.schedule

    def as_dict(self) -> dict[str, Any]:
        """Every setting as plain JSON values; ``plan_from_dict`` reads it back."""
        plain = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        plain["strategy"] = strategy_as_dict(self.strategy)
        plain["method"] = method_as_dict(self.method)
        # Absent for supervised fine-tuning, whose plans are older than the choice.
        objective = plain.pop("objective")
        if objective is not None:
            plain["objective"] = {"kind": "dpo", **dataclasses.asdict(objective)}
        # Likewise, and it changes no number.
        if plain["checkpoint_seconds"] == CHECKPOINT_SECONDS:
            del plain["checkpoint_seconds"]
        if not plain["truncate"]:
            del plain["truncate"]
        plain["schedule_options"] = dict(self.schedule_options)
        if not self.schedule_options:
            del plain["schedule_options"]
        if self.early_stopping is not None:
            plain["early_stopping"] = dataclasses.asdict(self.early_stopping)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in plain.items()}

    def given(self) -> dict[str, Any]:
        """The settings that differ from the defaults, as in ``as_dict``."""
        defaults = TrainingPlan().as_dict()
        plain = self.as_dict()
        return {name: value for name, value in plain.items() if value != defaults.get(name)}


_CHOICES = {
    "schedule": tuple(SCHEDULES),
    "optimizer": ("adamw", "sgd"),
    "precision": ("fp32", "bf16", "auto"),
    "training_sets_at": ("ends", "all"),
}


def plan_from_dict(values: Mapping[str, Any]) -> TrainingPlan:
    """The plan of plain values, as ``as_dict`` writes them; what is left out is the default.

    Raises InputError for an unknown setting.
    """
    settings = dict(values)
    settings["strategy"] = read("strategy", settings.get("strategy"), make_strategy)
    if isinstance(settings.get("method"), Mapping):
        settings["method"] = make_method(**settings["method"])
    if isinstance(settings.get("objective"), Mapping):
        settings["objective"] = _objective(**settings["objective"])
    if settings.get("early_stopping") is not None:
        settings["early_stopping"] = read(
            "early_stopping", settings["early_stopping"], EarlyStopping
        )
    return read("plan", settings, TrainingPlan)


def _objective(kind: str = "sft", **options: Any) -> Dpo | None:
    check(kind in ("sft", "dpo"), f"there is no objective {kind!r}.", "Use sft or dpo.")
    if kind == "dpo":
        return read("objective", options, Dpo)
    check(not options, f"{''.join(list(options)[:1])} is given with the objective sft.", "Use dpo.")
    return None
