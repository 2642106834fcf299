"""The strategies a run can have: theory's hard ones, those of the defences, or none."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np

from finebound.base.errors import InputError
from theory.strategy import Hybrid, LossConstraint, ParameterConstraint
from theory.strategy import Strategy as HardStrategy

EARLY_TOKENS = 5
"""How many of an answer's first tokens constrained SFT holds more tightly than the others."""


class _Settings:
    """Settings that are declared here alone: a grid, a plan and Python read them from the fields.

    Pydantic, where a configuration is read with it, then rejects names that are no field.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}


@dataclass(frozen=True)
class SoftParameterConstraint(_Settings):
    """Case II as a penalty: ``min f_f + strength / 2 |theta - theta_s|^2``.

    With ``fisher`` every trained number is weighted by the diagonal of the empirical Fisher
    information of the proxy's rows at theta_s (elastic weight consolidation). ``strength`` is in
    nats per token and squared length, with ``fisher`` without a unit.
    """

    strength: float
    fisher: bool = False

    def __post_init__(self) -> None:
        _require_positive(self, "strength")


@dataclass(frozen=True)
class TokenConstraint(_Settings):
    """Constrained SFT: ``-2/beta_t log sigmoid(beta_t (log p_t - log p_ref,t))`` of every token.

    The reference is theta_s; the gradient is the cross-entropy's times ``2 (1 - sigmoid)``, which
    is 1 at the start and falls as the token becomes likelier. ``beta_t`` (per nat) is ``beta``
    times ``first`` on an answer's first token, times ``early`` on its second to fifth. Source: Qi
    et al., arXiv 2406.05946.
    """

    beta: float = 0.1
    first: float = 5.0
    early: float = 20.0

    def __post_init__(self) -> None:
        _require_positive(self, "beta", "first", "early")

    def betas(self, tokens: int) -> np.ndarray:
        """``beta_t`` of an answer's tokens, float64 ``[tokens]``."""
        factors = np.ones(tokens)
        factors[:EARLY_TOKENS] = self.early
        factors[:1] = self.first
        return self.beta * factors


@dataclass(frozen=True)
class BiState(_Settings):
    """Lisa: ``alignment_steps`` on the proxy's rows, ``task_steps`` on the task's, and so on.

    Every step adds ``rho / 2 |w - w_other|^2`` over the trained numbers, where w_other is where
    the other state's last step left them (theta_s before the first). ``rho`` is in nats per token
    and squared length. The plan's steps are those of both states together. Source: Huang et al.,
    arXiv 2405.18641.
    """

    alignment_steps: int
    task_steps: int
    rho: float = 1.0

    def __post_init__(self) -> None:
        for name in ("alignment_steps", "task_steps"):
            value = getattr(self, name)
            if not (isinstance(value, int) and is_number(value) and value > 0):
                raise ValueError(f"{name} is {value}: it must be a whole number from 1.")
        _require_positive(self, "rho")

    def state_at(self, step: int) -> tuple[bool, int]:
        """Whether ``step`` (from 0) is one of alignment, and how many of its state came before."""
        cycle, place = divmod(step, self.alignment_steps + self.task_steps)
        if place < self.alignment_steps:
            return True, cycle * self.alignment_steps + place
        return False, cycle * self.task_steps + place - self.alignment_steps

    def begins_at(self, step: int) -> bool:
        """Whether a state begins with ``step``."""
        return step % (self.alignment_steps + self.task_steps) in (0, self.alignment_steps)

    def alignment_steps_of(self, steps: int) -> int:
        """How many of the first ``steps`` are on the proxy's rows."""
        aligning, before = self.state_at(steps)
        return before if aligning else steps - before


@dataclass(frozen=True)
class SubspacePenalty(_Settings):
    """AsFT: ``strength sum |(I - C) s B A|_F^2`` over a LoRA's modules.

    C is the alignment projector of a pair of models, fast (``V V' / |V|``) or exact; ``strength``
    is in nats per token and squared length. Source: arXiv 2506.08473.
    """

    strength: float
    projector: Literal["fast", "exact"] = "fast"

    def __post_init__(self) -> None:
        _require_positive(self, "strength")
        if self.projector not in ("fast", "exact"):
            raise ValueError(f"projector is {self.projector!r}: it must be fast or exact.")


Strategy: TypeAlias = (
    HardStrategy | SoftParameterConstraint | TokenConstraint | BiState | SubspacePenalty | None
)
"""None is the unconstrained fine-tune."""


_KINDS: dict[str, type] = {
    "loss": LossConstraint,
    "parameter": ParameterConstraint,
    "hybrid": Hybrid,
    "soft": SoftParameterConstraint,
    "constrained-sft": TokenConstraint,
    "lisa": BiState,
    "asft": SubspacePenalty,
}
_OPTIONS = {"none": ()} | {
    kind: tuple(field.name for field in dataclasses.fields(made)) for kind, made in _KINDS.items()
}


def make_strategy(kind: str = "none", **options: Any) -> Strategy:
    """The strategy of a configuration: none, loss (``lam`` or ``epsilon``), parameter
    (``radius``), hybrid (``lam``, ``radius``), soft (``strength``, ``fisher``), constrained-sft
    (``beta``, ``first``, ``early``), lisa (``alignment_steps``, ``task_steps``, ``rho``) or asft
    (``strength``, ``projector``). An option that is None is not given.

    Raises InputError for an option that the kind does not take (a lambda with a parameter
    constraint would be ignored silently), for one that is missing and for one out of range.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if kind not in _OPTIONS:
        raise InputError(
            f"there is no strategy {kind!r}.", remedy=f"Use one of {', '.join(_OPTIONS)}."
        )
    takes = _OPTIONS[kind]
    if extra := [name for name in given if name not in takes]:
        what = f"takes {' and '.join(takes)}" if takes else "takes no option"
        home = _home_of(extra[0], given)
        raise InputError(
            f"{extra[0]} is given with the strategy {kind!r}, which {what}.",
            remedy=f"Leave {extra[0]} out" + (f", or use {home}." if home else "."),
        )
    if kind == "none":
        return None
    try:
        return _KINDS[kind](**given)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"the strategy {kind!r} cannot be made: {error}", remedy=f"It takes {', '.join(takes)}."
        ) from error


def strategy_as_dict(strategy: Strategy) -> dict[str, Any]:
    """``make_strategy``'s arguments for this strategy."""
    if strategy is None:
        return {"kind": "none"}
    (kind,) = (kind for kind, made in _KINDS.items() if type(strategy) is made)
    plain = {f.name: getattr(strategy, f.name) for f in dataclasses.fields(strategy)}
    return {"kind": kind, **{name: value for name, value in plain.items() if value is not None}}


def _home_of(option: str, given: Mapping[str, Any]) -> str:
    if option == "lam" and "radius" in given:
        return "'hybrid'"
    return " or ".join(f"{kind!r}" for kind, options in _OPTIONS.items() if option in options)


def _require_positive(strategy: Any, *names: str) -> None:
    for name in names:
        value = getattr(strategy, name)
        if not (is_number(value) and 0 < value < math.inf):
            raise ValueError(f"{name} is {value}: it must be greater than 0.")


def is_number(value: Any) -> bool:
    """Whether ``value`` is a number and not a truth value, nor one that no float can hold."""
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) < 2**1023
    return isinstance(value, float | np.number)
