"""Refusals that are promised before any training: T25's limit of the loss, put into T21.

The forecast rise of the loss on the aligned model's own answers has an upper limit that holds for a
fine-tune like the finished ones. Whatever loses no more nats than this keeps a share of refusals.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from finebound.results.outlook import Promise
from finebound.results.skill import PromiseSkill
from llm_validation.estimation.scoring import LEVEL, share
from llm_validation.forecast.calibrated import Finished
from llm_validation.forecast.stored_answers import PREFIX
from theory.binary_divergence import kl_lower_inverse
from theory.bound import Status
from theory.conformal import conformal_quantile

WIDER = 1.5
"""How many times the room above the forecast, for a plan that lies outside of the evidence."""
RISE_FLOOR = 1.2
"""Nats per answer: a forecast rise is taken to be as sure as this and its own size."""
INFORMATIVE = 0.01
"""A smaller share of refusals is as good as none."""
_ALIKE = "this fine-tune is exchangeable with the {} finished ones of the evidence, in {} pairs"
_SAMPLE = "the stored answers to these probes stand for all answers of the model to such probes"
_DECIDED = f"the first {PREFIX} tokens of an answer, drawn at temperature 1, say whether it refuses"


def rise_scale(said: float) -> float:
    """What is taken to be the usual error of a forecast rise, nats per answer."""
    return RISE_FLOOR + abs(said)


def rise_quantile(finished: Sequence[Finished], level: float = LEVEL) -> float:
    """By how many of its scales a rise exceeds its forecast at most, with probability ``level``.

    Negative where all rose less than forecast, infinite for too few groups. Source: T25, one-sided.
    """
    errors = [(one.did - one.said) / one.scale for one in finished]
    return conformal_quantile(errors, level, groups=[one.group for one in finished])


def promised(
    finished: Sequence[Finished],
    said: float,
    before: float,
    *,
    outside: Sequence[str] = (),
    level: float = LEVEL,
) -> Promise | None:
    """What is promised of refusals where a rise of ``said`` nats per answer is forecast.

    ``finished`` fine-tunes have rises with scales by ``rise_scale``; ``before`` is the share of
    refusals before the fine-tune. A plan that is ``outside`` of the evidence in some way has an
    estimate with more room. None where there are too few groups.
    """
    quantile = rise_quantile(finished, level)
    if not np.isfinite(quantile):
        return None
    if outside:
        quantile = WIDER * max(0.0, quantile)
    most = max(0.0, said + rise_scale(said) * quantile)
    pairs = len({one.group for one in finished})
    alike = _ALIKE.format(len(finished), pairs)
    if outside:
        alike += f", which is in doubt: {', '.join(outside)}"
    return Promise(
        refusal=kl_lower_inverse(before, most),
        rise=most,
        level=level,
        status=str(Status.ESTIMATED if outside else Status.HIGH_PROBABILITY),
        assumptions=(alike, _SAMPLE, _DECIDED),
    )


def promise_skill(
    finished: Sequence[Finished], before: Sequence[float], refused: Sequence[float]
) -> PromiseSkill | None:
    """How promises did, each from the fine-tunes of other groups; None where there are too few.

    ``before`` and ``refused`` are the shares of refusals before and after each fine-tune.
    """
    limits, shares = [], []
    for one, start in zip(finished, before, strict=True):
        others = [other for other in finished if other.group != one.group]
        found = promised(others, one.said, start) if others else None
        if found is None:
            return None
        limits.append(found.rise)
        shares.append(found.refusal)
    did = np.array([one.did for one in finished])
    most, least, after = np.array(limits), np.array(shares), np.array(refused)
    return PromiseSkill(
        level=LEVEL,
        covered=share(did <= most),
        kept=share(least <= after),
        informative=share(least >= INFORMATIVE),
        width=float((most - did).mean()),
        slack=float((after - least).mean()),
    )
