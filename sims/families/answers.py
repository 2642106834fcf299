"""Models whose answers are known, against what losses and weights of answers prove (T21, T22)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sims.families.draws import lambdas, tables
from sims.families.tabular import case_one_policy, gap
from sims.family import Case, Kind, Run
from sims.mutants import Wrong
from theory.binary_divergence import binary_kls, kl_lower_inverses
from theory.bound import Direction, Quantity
from theory.certificates import answers
from theory.divergence import Array
from theory.problem import Distribution

# Of the divergence of two tables whose rows sum to 1 up to rounding, nats.
_ROWS = 1e-15
_ERROR = 1e-15


class Answers:
    """Any fine-tune of an aligned model on tables, with any set of safe answers.

    A prompt is a context, an answer a response. Fine-tunes: minimisers of the penalty, models that
    only trade safe answers for unsafe ones (where T21 is nearly an equality), and any other.
    """

    name = "answers"
    chunk = 2048

    def cases(self, rng: np.random.Generator, n: int) -> Iterator[Case]:
        """One case a kind of fine-tune, all from the same aligned models."""
        problem = tables(rng, n)
        aligned, mass = problem.aligned, problem.safety.context
        minimiser = case_one_policy(problem, lambdas(rng, n)).astype(np.float64)
        anywhere = rng.dirichlet(np.ones(problem.responses), size=mass.shape)
        near = 10.0 ** -rng.uniform(0, 6, size=(n, 1, 1))
        for words, after in {
            "LossConstraint by lam": minimiser,
            "any fine-tune": (1 - near) * aligned + near * anywhere,
        }.items():
            safe = rng.random(aligned.shape) < rng.choice([0.3, 0.7], size=(n, 1, 1))
            yield answers_case(rng, mass, aligned, after, safe, words)
        safe = rng.random(aligned.shape) < 0.5
        weight = np.where(safe, 1.0, 10.0 ** rng.uniform(-1, 3, size=(n, 1, 1)))
        traded = aligned * weight
        traded /= traded.sum(axis=-1, keepdims=True)
        yield answers_case(rng, mass, aligned, traded, safe, "safe answers traded for others")


def answers_case(
    rng: np.random.Generator,
    mass: Array,
    before: Array,
    after: Array,
    safe: np.ndarray,
    words: str,
    *,
    mutants: bool = True,
) -> Case:
    """What T21 and T22 say of a policy ``after [n, X, V]``, and its true share of safe answers.

    ``mass [n, X]`` of the prompts, ``before`` the aligned model that draws the answers, ``safe``
    which answers are safe. The clip is drawn before anything is known.
    """
    n = len(mass)

    def share(policy: Array, counted: np.ndarray = safe) -> Array:
        shares = np.where(counted, policy, 0.0).astype(np.longdouble).sum(axis=-1)
        return np.clip((mass * shares).sum(axis=-1).astype(np.float64), 0.0, 1.0)

    start, truth = share(before), share(after)
    rise = gap(Distribution.trusted(mass, before), after)
    clip = 10.0 ** rng.uniform(-1, 3, size=(n, 1, 1))
    clipped = np.minimum(after, clip * before)
    certain = np.where(safe.any(axis=-1, keepdims=True), safe, True)
    teacher = np.where(certain, before + 1e-3, 0.0)
    teacher /= teacher.sum(axis=-1, keepdims=True)
    loss = _loss(mass, teacher, after) + np.where(
        ((mass > 0) & ~safe.any(axis=-1)).any(axis=-1), np.inf, 0.0
    )
    exact, pinsker = answers.kept_by_loss(start, rise)
    kept = answers.kept_by_weights(share(clipped))
    # How far the bound moves with the rounding of the divergence: as a root, near 0.
    rounding = exact.value - kl_lower_inverses(start, rise * (1 + _ROWS) + _ROWS)
    runs = [
        Run(
            kind=Kind.ANY,
            truth={Quantity.SAFE_ANSWERS: truth},
            error={Quantity.SAFE_ANSWERS: error},
            forms=forms,
        )
        for error, forms in (
            (_ERROR + 2.0 * rounding, ("divergence", "Pinsker")),
            (np.full(n, _ERROR), ("clipped weights", "teacher")),
        )
    ]
    inverse = np.minimum(before, clip * before**2 / np.where(after > 0, after, 1.0))
    lower = Direction.LOWER
    return Case(
        bounds=[
            exact,
            pinsker,
            answers.kept_by_teacher(loss),
            kept,
            answers.left_by_weights(share(clipped, ~safe)),
        ],
        runs=runs,
        n=n,
        words=words,
        finetunes=n,
        mutants=mutants,
        wrongs={
            "divergence": (
                Wrong("arguments of kl swapped", lambda: _swapped(start, rise), lower),
                Wrong("half of the loss", lambda: kl_lower_inverses(start, 0.5 * rise), lower),
            ),
            "Pinsker": (Wrong("without the root", lambda: start - 0.5 * rise, lower),),
            "teacher": (Wrong("half of the loss", lambda: np.exp(-0.5 * loss), lower),),
            "clipped weights": (
                Wrong("every answer counted", lambda: share(clipped, safe | True), lower),
                Wrong("weights inverted", lambda: share(inverse), lower),
                Wrong(
                    "divided by the sum of the clipped weights",
                    lambda: share(clipped) / np.maximum(share(clipped, safe | True), 1e-300),
                    lower,
                ),
            ),
        },
    )


def _loss(mass: Array, teacher: Array, policy: Array) -> Array:
    """``E -log P`` of the teacher's answers, ``[n]`` nats; infinite where P excludes one."""
    with np.errstate(divide="ignore", invalid="ignore"):
        each = np.where(teacher > 0, -teacher * np.log(policy), 0.0).sum(axis=-1)
        return np.where(mass > 0, mass * each, 0.0).sum(axis=-1)


def _swapped(start: Array, rise: Array) -> Array:
    """The smallest p with ``kl(p || q) <= rise``."""
    low, high = np.zeros_like(start), start.copy()
    for _ in range(50):
        middle = 0.5 * (low + high)
        fits = binary_kls(middle, start) <= rise
        low, high = np.where(fits, low, middle), np.where(fits, middle, high)
    return high
