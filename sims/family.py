"""What a family of toy problems gives to the audit: cases, each some bounds and what is true."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, Protocol, TypeVar

import numpy as np

from sims.mutants import Wrong
from theory.bound import Bound, Direction, Quantity, Status
from theory.divergence import Array
from theory.evaluation import evaluate
from theory.problem import Problem
from theory.strategy import Strategy


class Kind(StrEnum):
    """What is known of a run: a statement is only checked on runs that meet its assumptions."""

    MINIMISER = "minimiser"
    IN_BALL = "in the ball"
    ANY = "any policy"


@dataclass(frozen=True, eq=False)
class Run:
    """A batch of fine-tuned models: true gaps ``[n]`` in nats, each with its absolute error.

    ``lam [n]`` is the multiplier of the proxy loss (1 where there is none), ``slack [n]`` the
    certified distance ``delta`` of the training objective from its minimum *where the bounds are
    about the exact minimum*; it is 0 where they carry delta themselves (``optimality_slack``).
    ``precision [n]`` is the relative error that the strategy's own numbers carry into the truth;
    ``checked [n]`` is False where the truth is not known. ``forms``: the run speaks of these forms
    alone, if any. ``conditioning``: what float64 input errors do to a closed form that is itself
    the bound.
    """

    kind: Kind
    truth: dict[Quantity, Array]
    error: dict[Quantity, Array]
    lam: Array = field(default_factory=lambda: np.ones(()))
    slack: Array = field(default_factory=lambda: np.zeros(()))
    checked: np.ndarray = field(default_factory=lambda: np.ones((), dtype=bool))
    precision: Array = field(default_factory=lambda: np.zeros(()))
    forms: tuple[str, ...] = ()
    conditioning: dict[Quantity, Array] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Case:
    """``n`` instances under one strategy: what theory says of them and what turned out.

    Every bound is compared with every run that meets its assumptions. Values of ``bounds`` and
    truths of ``runs`` are ``[n]`` or broadcast to it. ``words`` say what was done, to find the
    case again; ``finetunes`` how many fine-tuned models it stands for. ``problem`` and
    ``strategy``, where there is one for all, enter tolerances and the weight of T10's sum.
    ``mutants``: whether wrong versions of these bounds must be refuted; False where the family
    cannot come close to a bound, as trained models cannot. ``wrongs``: by form, mutants that only
    the family can make.
    """

    bounds: Sequence[Bound]
    runs: Iterable[Run]
    n: int
    words: str
    finetunes: int
    problem: Problem | None = None
    strategy: Strategy | None = None
    mutants: bool = True
    wrongs: Mapping[str, Sequence[Wrong]] = field(default_factory=dict)


class Family(Protocol):
    """``cases`` of ``n`` instances, at most ``chunk`` at once in memory; picklable."""

    @property
    def name(self) -> str: ...
    @property
    def chunk(self) -> int: ...

    def cases(self, rng: np.random.Generator, n: int) -> Iterator[Case]:
        """One case after the other; each is used up before the next one is asked for."""
        ...


P = TypeVar("P", bound=Problem)


class ClosedForm(Generic[P]):
    """A family whose problems theory evaluates as they are, and whose minimisers are computed.

    ``draw`` a batch, the ``strategies`` to try on it, and what each of them ends at (``runs``).
    """

    name: str
    chunk = 2048

    def draw(self, rng: np.random.Generator, n: int) -> P:
        """``n`` instances of mixed sparsity and scale, degenerate ones included."""
        raise NotImplementedError

    def strategies(self, rng: np.random.Generator, problem: P) -> Iterable[Strategy]:
        """Strategies with one strength for each instance."""
        raise NotImplementedError

    def truths(self, problem: P, strategy: Strategy) -> dict[Quantity, Array]:
        """True gaps ``[n]`` of the strategy's minimiser, nats."""
        raise NotImplementedError

    def runs(self, rng: np.random.Generator, problem: P, strategy: Strategy) -> Iterable[Run]:
        """The strategy's minimiser, and other models that a bound must hold for."""
        raise NotImplementedError

    def cases(self, rng: np.random.Generator, n: int) -> Iterator[Case]:
        """One case a strategy, all on the same ``n`` instances."""
        problem = self.draw(rng, n)
        for strategy in self.strategies(rng, problem):
            yield Case(
                bounds=evaluate(problem, strategy),
                runs=self.runs(rng, problem, strategy),
                n=n,
                words=strategy_words(strategy),
                finetunes=n,
                problem=problem,
                strategy=strategy,
            )


def strategy_words(strategy: Strategy) -> str:
    """The strategy without its numbers, such as "Hybrid by lam and radius"."""
    given = " and ".join(name for name, value in vars(strategy).items() if value is not None)
    return f"{type(strategy).__name__} by {given}"


def stacked(per_instance: Sequence[Sequence[Bound]]) -> list[Bound]:
    """Bounds of ``n`` single problems (such as ``Constants``) as bounds with values ``[n]``.

    Bounds of the same statement, quantity, direction and form become one; an instance that lacks
    it, or a term of it, has NOT_APPLICABLE there, or 0. Those that apply nowhere are left out.
    """
    found: dict[tuple[str, Quantity, Direction, str], dict[int, Bound]] = {}
    for i, bounds in enumerate(per_instance):
        for b in bounds:
            if b.status != Status.NOT_APPLICABLE:
                found.setdefault((b.statement, b.quantity, b.direction, b.form), {})[i] = b
    made = []
    for (statement, quantity, direction, form), known in found.items():
        first = next(iter(known.values()))
        weakest = np.inf if direction is Direction.UPPER else 0.0
        value = np.full(len(per_instance), weakest)
        status = np.full(len(per_instance), str(Status.NOT_APPLICABLE), dtype="<U16")
        terms = {
            name: np.zeros(len(per_instance))
            for name in dict.fromkeys(name for b in known.values() for name in b.terms)
        }
        for i, b in known.items():
            value[i], status[i] = b.value, str(b.status)
            for name, term in b.terms.items():
                terms[name][i] = term
        made.append(
            Bound(
                statement=statement,
                quantity=quantity,
                direction=direction,
                value=value,
                status=status,
                form=form,
                assumptions=first.assumptions,
                terms=terms,
                unit=first.unit,
                scope=first.scope,
            )
        )
    return made
