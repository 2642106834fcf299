"""What a sweep runs: a model class, settings of its knobs, strategies, seeds and a budget."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from finebound.base.errors import InputError
from sims.finetune import Plan, Strength
from sims.models.base import ModelClass
from sims.models.log_linear import LogLinear
from sims.models.mlp import MLP
from sims.models.quadratic import Quadratic
from sims.models.table import Table
from sims.models.transformer import Grammar, Transformer
from sims.pair import Knobs, Sizes

Number = int | float
STRATEGIES = ("lam", "epsilon", "radius", "hybrid", "stop")
_FAMILY_SIZES: dict[str, dict[str, Number]] = {
    "tabular": {"contexts": 3, "responses": 6},
    "quadratic": {"dimension": 6, "ridge": 0.02},
    "log-linear": {"contexts": 3, "responses": 6, "dimension": 24},
    "mlp": {"contexts": 3, "responses": 6, "dimension": 24, "hidden": 16},
    "transformer": {
        "contexts": 2, "responses": 6, "words": 4, "lexicon": 6, "width": 16, "heads": 2,
        "layers": 1,
    },
}  # fmt: skip


@dataclass(frozen=True)
class _Kind:
    """How a family is built from its sizes, and the budget that trains it by default."""

    build: Callable[[dict[str, Any]], ModelClass]
    plan: Plan
    convex: bool


def _pair_sizes(sizes: dict[str, Any]) -> Sizes:
    return Sizes(sizes.pop("contexts"), sizes.pop("responses"))


def _transformer(sizes: dict[str, Any]) -> Transformer:
    prompts = _pair_sizes(sizes)
    grammar = Grammar(prompts, sizes.pop("words"), sizes.pop("lexicon"))
    return Transformer(grammar, **sizes)


_KINDS = {
    "tabular": _Kind(lambda s: Table(_pair_sizes(s)), Plan(400, 0.3), True),
    "quadratic": _Kind(lambda s: Quadratic(**s), Plan(1000, 0.2), True),
    "log-linear": _Kind(lambda s: LogLinear(_pair_sizes(s), **s), Plan(400, 0.3), True),
    "mlp": _Kind(lambda s: MLP(_pair_sizes(s), **s), Plan(400, 0.03), False),
    "transformer": _Kind(_transformer, Plan(300, 0.01), False),
}


class Named(NamedTuple):
    """A strategy: its name in the grid and its numbers."""

    name: str
    strength: Strength


class Grid(BaseModel):
    """The product of knobs, strategies and seeds, on one model class.

    ``sizes``: those of the family that differ from its defaults. ``hybrid``: (lam, radius) pairs;
    ``stop``: shares of the steps after which unconstrained training stops. ``seeds``: how many
    instances a setting of the knobs; instance ``k`` draws the same random numbers at every setting,
    so that curves over a knob differ by the knob alone. ``plan`` and ``alignment`` (of
    ``theta_s``): the optimiser's budget, the family's own if None.

    Raises pydantic's ValidationError for wrong types and unknown keys and InputError for numbers
    that mean nothing; ``of`` and ``read`` raise InputError for all.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: Literal["tabular", "quadratic", "log-linear", "mlp", "transformer"]
    sizes: dict[str, Number] = {}
    overlap: tuple[float, ...] = (0.5,)
    disagreement: tuple[float, ...] = (0.5,)
    context_mismatch: tuple[float, ...] = (0.0,)
    teacher_mismatch: tuple[float, ...] = (0.0,)
    feature_overlap: tuple[float, ...] = (0.5,)
    lam: tuple[float, ...] = ()
    epsilon: tuple[float, ...] = ()
    radius: tuple[float, ...] = ()
    hybrid: tuple[tuple[float, float], ...] = ()
    stop: tuple[float, ...] = ()
    seeds: int = 1
    seed: int = 0
    plan: Plan | None = None
    alignment: Plan | None = None

    @classmethod
    def of(cls, content: Mapping[str, Any], *, file: str | Path | None = None) -> Grid:
        """The grid that ``content`` describes; raises InputError, naming the key."""
        try:
            return cls.model_validate(dict(content))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "grid"
            raise InputError(
                f"{where}: {first['msg']}.",
                remedy=f"Keys of a sweep: {', '.join(cls.model_fields)}.",
                file=file,
            ) from None
        except InputError as error:
            raise InputError(error.what, remedy=error.remedy, file=file) from None

    @classmethod
    def read(cls, path: str | Path) -> Grid:
        """The grid in a JSON or YAML file; raises InputError naming the file."""
        try:
            text = Path(path).read_text(encoding="utf-8")
            is_json = Path(path).suffix == ".json"
            content = json.loads(text) if is_json else yaml.safe_load(text)
        except (OSError, UnicodeDecodeError, ValueError, yaml.YAMLError) as error:
            reason = " ".join(str(error).split())
            raise InputError(
                f"cannot be read as a sweep ({reason}).",
                remedy="Give a JSON or YAML file that holds one object, such as "
                '{"family": "tabular", "lam": [0.1, 1, 10]}.',
                file=path,
            ) from None
        if not isinstance(content, dict):
            raise InputError(
                "holds no object.", remedy='Write keys and values, such as "lam": [1].', file=path
            )
        return cls.of(content, file=path)

    @field_validator(*Knobs._fields)
    @classmethod
    def _knob(cls, values: tuple[float, ...], info: Any) -> tuple[float, ...]:
        if not values:
            raise InputError(f"{info.field_name} is an empty list.", remedy="Give a value.")
        for value in values:
            if not 0 <= value <= 1:
                raise InputError(
                    f"{info.field_name} is {value:g}.", remedy="Give numbers from 0 to 1."
                )
        return values

    @field_validator("lam")
    @classmethod
    def _lam(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        for value in values:
            _require_lam("lam", value)
        return values

    @field_validator("epsilon")
    @classmethod
    def _epsilon(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        for value in values:
            if not 0 < value < math.inf:
                raise InputError(
                    f"epsilon is {value:g}: the limit on the proxy gap has to be above 0 (0 is an "
                    "infinite lambda, which no training reaches) and finite.",
                    remedy="Give a small number such as 1e-3, or lam: [0] for no limit.",
                )
        return values

    @field_validator("radius")
    @classmethod
    def _radius(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        for value in values:
            _require_radius("radius", value)
        return values

    @field_validator("hybrid")
    @classmethod
    def _hybrid(cls, values: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
        for lam, radius in values:
            _require_lam("lam of a hybrid", lam)
            _require_radius("radius of a hybrid", radius)
        return values

    @field_validator("stop")
    @classmethod
    def _stop(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        for value in values:
            if not 0 <= value <= 1:
                raise InputError(
                    f"stop is {value:g}.",
                    remedy="Give the share of the steps to train for, from 0 to 1.",
                )
        return values

    @model_validator(mode="after")
    def _whole(self) -> Grid:
        if not self.named:
            raise InputError(
                "the sweep names no strategy.",
                remedy=f"Give values to one of {', '.join(STRATEGIES)}, such as lam: [0.1, 1, 10].",
            )
        if self.seeds < 1:
            raise InputError(f"seeds is {self.seeds}.", remedy="Give at least 1 instance.")
        if not 0 <= self.seed < 2**63:
            raise InputError(
                f"seed is {self.seed}.", remedy="Give a whole number of at least 0, below 2^63."
            )
        for name in ("plan", "alignment"):
            plan = getattr(self, name)
            if plan is not None and not 0 < plan.rate < math.inf:
                raise InputError(
                    f"{name}.rate is {plan.rate:g}.", remedy="Give a learning rate above 0."
                )
        _refuse_sizes(self.family, self.sizes)
        self.build()
        return self

    def build(self) -> ModelClass:
        """The model class; raises InputError for sizes without a model."""
        return _KINDS[self.family].build({**_FAMILY_SIZES[self.family], **self.sizes})

    @property
    def convex(self) -> bool:
        """Whether the losses are convex in the parameters."""
        return _KINDS[self.family].convex

    def budget(self) -> Plan:
        """Of the fine-tunes."""
        return self.plan or _KINDS[self.family].plan

    def alignment_budget(self) -> Plan:
        """Of the aligned models; by default the family's own."""
        return self.alignment or _KINDS[self.family].plan

    @cached_property
    def named(self) -> tuple[Named, ...]:
        """The strategies, in the order of the runs of an instance."""
        return (
            *(Named("lam", Strength(lam=value)) for value in self.lam),
            *(Named("epsilon", Strength(epsilon=value)) for value in self.epsilon),
            *(Named("radius", Strength(radius=value)) for value in self.radius),
            *(Named("hybrid", Strength(lam=lam, radius=radius)) for lam, radius in self.hybrid),
            *(Named("stop", Strength(stop=value)) for value in self.stop),
        )

    @cached_property
    def settings(self) -> np.ndarray:
        """Every combination of the knobs ``[settings, 5]``, the last knob changing fastest."""
        return np.array(list(product(*(getattr(self, name) for name in Knobs._fields))))

    @property
    def instances(self) -> int:
        """Settings of the knobs times seeds: each is aligned once, for all strategies."""
        return len(self.settings) * self.seeds

    @property
    def runs(self) -> int:
        """Fine-tuned models in all."""
        return self.instances * len(self.named)

    def as_json(self) -> dict[str, Any]:
        """Everything that the results depend on, defaults written out."""
        written_out = self.model_copy(
            update={
                "sizes": {**_FAMILY_SIZES[self.family], **self.sizes},
                "plan": self.budget(),
                "alignment": self.alignment_budget(),
            }
        )
        return written_out.model_dump(mode="json")


def _require_lam(name: str, value: float) -> None:
    if value == math.inf:
        raise InputError(
            f"{name} is infinite: that limit trains on the proxy alone and leaves ties to the "
            "task, so no gradient leads to it.",
            remedy="Give a large finite number such as 1e6, or compute the limit in closed form "
            "with `finebound bound`.",
        )
    if not value >= 0:
        raise InputError(f"{name} is {value:g}.", remedy="Give a number of at least 0.")


def _require_radius(name: str, value: float) -> None:
    if not 0 <= value < math.inf:
        raise InputError(
            f"{name} is {value:g}.",
            remedy="Give a finite number of at least 0; lam: [0] trains without a ball.",
        )


def _refuse_sizes(family: str, sizes: Mapping[str, Number]) -> None:
    known = _FAMILY_SIZES[family]
    for name, value in sizes.items():
        if name not in known:
            raise InputError(
                f"sizes.{name} is no size of the family {family}.",
                remedy=f"It has {', '.join(known)}.",
            )
        if name == "ridge":
            if not 0 < value < math.inf:
                raise InputError(f"sizes.ridge is {value:g}.", remedy="Give a number above 0.")
            continue
        # Contexts and responses have their own refusal, which says why.
        least = {"dimension": 2, "contexts": -math.inf, "responses": -math.inf}.get(name, 1)
        if not isinstance(value, int) or value < least:
            raise InputError(
                f"sizes.{name} is {value:g}.",
                remedy="Give a whole number"
                + (f" of at least {least:g}." if math.isfinite(least) else "."),
            )
    width, heads = ({**known, **sizes}.get(name, 1) for name in ("width", "heads"))
    if width % heads:
        raise InputError(
            f"a width of {width} is no multiple of {heads} heads.",
            remedy="Give a width that is one.",
        )
