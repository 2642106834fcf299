"""The share of safe answers of any fine-tune, from losses or weights of stored answers (T21, T22).

No assumption on the fine-tune: any class, any method. What is assumed is where the answers come
from: the aligned model drew them itself, at the temperature of the log-probabilities.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from theory.binary_divergence import kl_lower_inverses
from theory.bound import Bound, Direction, Quantity, bound, not_applicable
from theory.problem import Constant, Constants
from theory.statement import statement
from theory.strategy import Strategy

OWN_ANSWERS = "the aligned model drew the answers, at the temperature of the log-probabilities"
SAFE_TEACHER = "all answers of the teacher are safe"
UNSEEN = "the model was not trained on the stored answers"
FIXED_CLIP = "the clip was chosen without the stored answers"

_NO_SHARE = "needs safe_answers_at_aligned with own_answer_loss_rise, or teacher_answer_loss"
_NO_WEIGHTS = "needs clipped_safe_answers or clipped_unsafe_answers"


def kept_by_loss(
    share: ArrayLike, rise: ArrayLike, constants: tuple[Constant, ...] = ()
) -> list[Bound]:
    """T21: at least so large a share of answers stays safe, exactly and by Pinsker's inequality.

    ``share [...]``: the aligned model's share of safe answers q. ``rise [...]``: how much higher
    the model's loss is on answers that the aligned model drew, nats per answer (of the tokens that
    decide whether an answer is safe). ``constants``: what they were made of, for the status.
    """
    share, rise = np.asarray(share, dtype=np.float64), np.asarray(rise, dtype=np.float64)
    forms = {
        "divergence": kl_lower_inverses(share, rise),
        "Pinsker": np.maximum(share - np.sqrt(0.5 * rise), 0.0),
    }
    return [
        _at_least("T21", value, form, (OWN_ANSWERS,), constants) for form, value in forms.items()
    ]


def kept_by_teacher(loss: ArrayLike, constants: tuple[Constant, ...] = ()) -> Bound:
    """T21: ``exp(-loss)`` of a model with ``loss [...]`` on a teacher's safe answers.

    ``loss``: nats per answer, of the tokens that decide whether an answer is safe.
    """
    value = np.exp(-np.asarray(loss, dtype=np.float64))
    return _at_least("T21", value, "teacher", (SAFE_TEACHER,), constants)


def kept_by_weights(clipped_share: ArrayLike, constants: tuple[Constant, ...] = ()) -> Bound:
    """T22: the share of safe answers is at least ``clipped_share [...]``, E[min(w, clip) a]."""
    return _at_least(
        "T22", clipped_share, "clipped weights", (OWN_ANSWERS, UNSEEN, FIXED_CLIP), constants
    )


def left_by_weights(clipped_share: ArrayLike, constants: tuple[Constant, ...] = ()) -> Bound:
    """T22: at most one minus ``E[min(w, clip) (1 - a)]``, of the unsafe answers."""
    clipped_share = np.asarray(clipped_share, dtype=np.float64)
    return bound(
        "T22",
        Quantity.SAFE_ANSWERS,
        Direction.UPPER,
        {"all answers": np.ones_like(clipped_share), "unsafe answers": -clipped_share},
        form="clipped weights",
        assumptions=(OWN_ANSWERS, UNSEEN, FIXED_CLIP),
        constants=constants,
        trivial=1.0,
        unit="share",
    )


def _at_least(
    name: str,
    value: ArrayLike,
    form: str,
    assumptions: tuple[str, ...],
    constants: tuple[Constant, ...],
) -> Bound:
    return bound(
        name,
        Quantity.SAFE_ANSWERS,
        Direction.LOWER,
        {"share of safe answers": np.asarray(value, dtype=np.float64)},
        form=form,
        assumptions=assumptions,
        constants=constants,
        unit="share",
    )


@statement("T21", Quantity.SAFE_ANSWERS, of=(Constants,), failed=_NO_SHARE)
def safe_answers_by_loss(problem: Constants, strategy: Strategy) -> list[Bound]:
    """T21 of the constants of a real model; it holds under every strategy."""
    found: list[Bound] = []
    names = ("safe_answers_at_aligned", "own_answer_loss_rise")
    if all(name in problem for name in names):
        share, rise = (problem[name] for name in names)
        found += kept_by_loss(share.value, rise.value, (share, rise))
    if "teacher_answer_loss" in problem:
        loss = problem["teacher_answer_loss"]
        found.append(kept_by_teacher(loss.value, (loss,)))
    return found or [_missing("T21", _NO_SHARE)]


@statement("T22", Quantity.SAFE_ANSWERS, of=(Constants,), failed=_NO_WEIGHTS)
def safe_answers_by_weights(problem: Constants, strategy: Strategy) -> list[Bound]:
    """T22 of the constants of a real model; it holds under every strategy."""
    found = [
        side(problem[name].value, (problem[name],))
        for name, side in (
            ("clipped_safe_answers", kept_by_weights),
            ("clipped_unsafe_answers", left_by_weights),
        )
        if name in problem
    ]
    return found or [_missing("T22", _NO_WEIGHTS)]


def _missing(name: str, failed: str) -> Bound:
    return not_applicable(name, Quantity.SAFE_ANSWERS, failed, direction=Direction.LOWER)
