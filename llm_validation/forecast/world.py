"""What every predictor reads (theta_s, the data, the plan) and what it gives back."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

import numpy as np
import torch
from transformers import PreTrainedModel

from finebound.base.errors import InputError
from finebound.base.records import spawn_seed
from finebound.results.forecasts import Prediction
from llm_validation.data.dataset import Dataset
from llm_validation.data.encoding import Encoded, encode
from llm_validation.measure.coordinates import Coordinates, all_weights
from llm_validation.measure.supervised import supervised_count
from llm_validation.models.adapters import require_no_adapter
from llm_validation.models.loading import LoadedModel
from llm_validation.training.dpo import rejected_answers, whole_pairs
from llm_validation.training.methods import FullWeights, attach
from llm_validation.training.plan import TrainingPlan
from llm_validation.training.strategies import (
    BiState,
    SubspacePenalty,
    TokenConstraint,
    strategy_as_dict,
)

T = TypeVar("T")
Role: TypeAlias = Literal["safety", "task", "rejected", "proxy", "task_measured", "danger"]

FORWARD_ONLY = 1.0 / 3.0
"""What a token costs that is only read, in tokens that are read and differentiated."""
IN_A_PAIR = 1.0 + FORWARD_ONLY
"""What a token of a preference pair costs: the reference model reads it too."""

_COORDINATES = {
    "lora": "LoRA",
    "qlora": "LoRA",
    "ia3": "IA3",
    "prompt-tuning": "virtual tokens",
    "p-tuning": "prompt encoder",
}


@dataclass(frozen=True, eq=False)
class World:
    """A fine-tune's model and data before it is run.

    ``safety`` are the rows whose loss change is to be forecast, ``task`` and ``proxy`` those the
    fine-tune trains on. ``task_measured`` are the rows whose loss is the capability (default:
    rows of ``task`` that a predictor does not train on). ``danger`` are answers that the aligned
    model must not give, for the baseline that needs them. Rows above ``max_length`` tokens are
    left out, and safety and proxy rows end after ``answer_tokens`` of their answers: one that was
    cut there did not end. What is measured once (gradients, losses at theta_s) is kept in ``known``
    for further plans, and for further worlds of the same model that are given the same dictionary.
    """

    model: LoadedModel
    safety: Dataset
    task: Dataset
    proxy: Dataset | None = None
    task_measured: Dataset | None = None
    danger: Dataset | None = None
    max_length: int | None = None
    answer_tokens: int | None = None
    seed: int = 0
    known: dict[Any, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        require_no_adapter(self.model.model)

    @property
    def pad_id(self) -> int:
        """The padding token."""
        return self.model.pad_id

    def dataset(self, role: Role) -> Dataset:
        """The dataset of a role. Raises InputError when this world has none."""
        found = getattr(self, role)
        if found is None:
            raise InputError(
                f"the forecast needs {role} data, and there are none.",
                remedy=f"Name a {role} dataset.",
            )
        return found

    @cached_property
    def rejected(self) -> Dataset:
        """The task's rejected answers. Raises InputError for a row without one."""
        return rejected_answers(self.task)

    @property
    def pairs(self) -> tuple[list[Encoded], list[Encoded]]:
        """Chosen and rejected answers to the task's prompts of which both fit, pair by pair."""
        return whole_pairs(self.encoded("task"), self.encoded("rejected"), self.task)

    def encoded(self, role: Role) -> list[Encoded]:
        """Rows of a role that fit and have a supervised token, encoded once."""

        def make() -> list[Encoded]:
            limit = self.max_length or self.model.context_length
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*dropped .* rows", category=UserWarning)
                rows = encode(
                    self.dataset(role), self.model.tokenizer, max_length=limit, on_long="drop"
                )
            rows = [row for row in rows if supervised_count(row)]
            if self.answer_tokens is None or role not in ("safety", "proxy"):
                return rows
            return [row.beginning(self.answer_tokens) for row in rows]

        return self.once(role, ("encoded", self.max_length, self.answer_tokens), make)

    def sample(self, role: Role, rows: int, *, part: str = "") -> list[Encoded]:
        """Up to ``rows`` rows without replacement; the same seed and ``part`` give the same ones.

        The draw depends on how many rows there are and not on the role, so that a proxy that is
        the safety data gives the same rows as these.
        """
        return self._drawn(self.encoded(role), rows, part)

    def sample_pairs(self, rows: int, *, part: str = "") -> tuple[list[Encoded], list[Encoded]]:
        """``sample`` of ``pairs``."""
        chosen, rejected = self.pairs
        return self._drawn(chosen, rows, part), self._drawn(rejected, rows, part)

    def _drawn(self, encoded: list[Encoded], rows: int, part: str) -> list[Encoded]:
        rng = np.random.default_rng(spawn_seed(self.seed, f"forecast {part}"))
        return [encoded[i] for i in np.sort(rng.permutation(len(encoded))[:rows])]

    def once(self, role: Role, key: Any, make: Callable[[], T]) -> T:
        """``make()``, the first time for a role's data; afterwards what it gave."""
        whole = self.key_of(role, key)
        if whole not in self.known:
            self.known[whole] = make()
        return self.known[whole]

    def key_of(self, role: Role, key: Any) -> tuple:
        """Under what ``once`` keeps something of a role's data."""
        return (self.model.sha256, self.dataset(role).sha256, self.seed, key)

    def finetune_tokens(self, plan: TrainingPlan) -> float:
        """Tokens that the planned fine-tune reads and differentiates, padding left out.

        Those that are only read count a third: in DPO the reference model reads every pair of a
        step.
        """
        per_row = mean_tokens(self.encoded("task"))
        if plan.objective is not None:
            per_row = IN_A_PAIR * sum(map(mean_tokens, self.pairs))
        per_step = plan.batch_size * per_row
        if plan.needs_proxy_rows:
            per_step += plan.proxy_rows_per_step * mean_tokens(self.encoded("proxy"))
        return plan.steps * per_step


class Predictor(Protocol):
    """Anything that forecasts a fine-tune from theta_s, the data and the plan alone."""

    @property
    def name(self) -> str: ...

    def predict(self, world: World, plan: TrainingPlan) -> Prediction:
        """The forecast; the world's model leaves as it came, weights bit for bit."""
        ...


def mean_tokens(encoded: Sequence[Encoded]) -> float:
    """Mean length of the rows."""
    return total_tokens(encoded) / len(encoded)


def total_tokens(encoded: Sequence[Encoded]) -> int:
    """Tokens of the rows together, padding left out."""
    return sum(map(len, encoded))


@contextmanager
def prepared(
    loaded: LoadedModel, plan: TrainingPlan
) -> Iterator[tuple[PreTrainedModel, Coordinates]]:
    """The model with the plan's method attached, and its trained numbers as coordinates.

    They may be changed in place inside: afterwards the weights, their flags and their gradients
    are what they were, bit for bit, and an adapter is gone. A QLoRA is forecast as the LoRA that
    it is, on the base in full precision; virtual tokens are where they are before the first step,
    which is not theta_s. Raises InputError for a strategy that no forecast knows.
    """
    _require_forecastable(plan)
    base = loaded.model
    state = [(p, p.requires_grad, p.grad) for p in base.parameters()]
    modes = [(module, module.training) for module in base.modules()]
    originals: list[tuple[torch.nn.Parameter, torch.Tensor]] = []
    wrapped: Any = None
    try:
        if not isinstance(plan.method, FullWeights):
            model = wrapped = attach(
                base, plan.method, seed=plan.seed, tokenizer=loaded.tokenizer, quantise=False
            )
            named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
            names, parameters = zip(*named, strict=True)
            coordinates = Coordinates(_COORDINATES[plan.method.kind], names, parameters)
        else:
            model = base
            base.requires_grad_(True)
            coordinates = all_weights(base)
            for parameter in coordinates.parameters:
                originals.append((parameter, parameter.data))
                parameter.data = parameter.data.clone()
        model.eval()
        yield model, coordinates
    finally:
        if wrapped is not None and not plan.method.virtual_tokens:  # which change no module
            wrapped.unload()
        for parameter, data in originals:
            parameter.data = data
        for parameter, flag, gradient in state:
            parameter.requires_grad_(flag)
            parameter.grad = gradient
        for module, mode in modes:
            module.training = mode


def _require_forecastable(plan: TrainingPlan) -> None:
    if isinstance(plan.strategy, TokenConstraint | BiState | SubspacePenalty):
        raise InputError(
            f"there is no forecast of {strategy_as_dict(plan.strategy)['kind']}.",
            remedy="Measure it: run the fine-tune.",
        )


def lam_of(plan: TrainingPlan) -> float:
    """The fixed weight of the proxy's loss. Raises InputError for the epsilon form."""
    if plan.epsilon is not None:
        raise InputError(
            "this forecast needs the strength lambda of the loss constraint, and epsilon is given.",
            remedy="Give lambda, or forecast by the coarse unroll.",
        )
    return plan.lam if plan.needs_proxy_rows else 0.0


def check_finite(value: float, what: str) -> float:
    """The value. Raises InputError when it is not finite."""
    if not math.isfinite(value):
        raise InputError(
            f"the forecast diverged: its {what} is {value}.",
            remedy="Lower the plan's learning rate; the fine-tune itself may diverge as well.",
        )
    return value
