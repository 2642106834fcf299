"""Did one teacher write both sets of answers? Exact tests on answers to the same prompts."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from itertools import pairwise

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike
from scipy.stats import binom
from sklearn.linear_model import LogisticRegression

from finebound.results.estimate import TeacherDifference
from finebound.results.spans import Limits
from llm_validation.measure.responses import STATISTICS, response_features, response_statistics
from llm_validation.measure.texts import shape_of
from theory.confidence import clopper_pearson, sign_flip_p_value
from theory.mismatch import teacher_tv_from_pair_accuracy
from theory.resampling import paired_bootstrap

_BLOCKS = 6
_FLIPS = 4999
_MOST_PAIRS = 1000  # the kernel matrix is quadratic in them, and more change no verdict


class TeacherVerdict(StrEnum):
    SAME = "same teacher"
    OTHER = "other teacher"
    UNDECIDED = "undecided"


def compare_teachers(
    safety_responses: Sequence[str],
    proxy_responses: Sequence[str],
    *,
    rng: np.random.Generator,
    level: float = 0.05,
    margin: float = 0.2,
    matching: str = "exact",
    separated: bool = True,
    log_likelihoods: tuple[ArrayLike, ArrayLike] | None = None,
) -> TeacherDifference:
    """Paired answers ``[n]`` and ``[n]`` to the same prompts: same teacher, other, undecided?

    If one teacher wrote both, swapping the answers of any pair changes nothing in distribution;
    three tests use this and nothing else. (1) Sign flips of the mean feature difference (n-grams
    and style). (2) A classifier trained on the earlier pairs names the safety answer of each
    later one: its hits are exactly binomial(1/2). (3) Sign flips of ``log_likelihoods`` (nats a
    token, under one model, of each safety and each proxy answer), if given. "other" when the
    combined p-value is at most ``level``; "same" when it is not and the classifier's accuracy
    stays below ``1/2 + margin`` with confidence ``1 - level`` (one side): no such classifier can
    tell them apart by more, which is weaker than equality. At most 1000 pairs, drawn by ``rng``,
    are used. Raises ValueError for unequal or fewer than two answers.
    """
    n = len(safety_responses)
    if n != len(proxy_responses) or n < 2:
        raise ValueError(f"{n} and {len(proxy_responses)} answers make no two or more pairs.")
    chosen = rng.permutation(n)[:_MOST_PAIRS]
    safety = [safety_responses[int(i)] for i in chosen]
    proxy = [proxy_responses[int(i)] for i in chosen]
    features = response_features([*safety, *proxy])
    differences = features[: len(chosen)] - features[len(chosen) :]
    # Most hashed features stay empty on few texts; one is kept where all answers are equal.
    differences = differences[:, np.union1d(differences.indices, [0])]
    p_values = {"feature differences": _kernel_sign_flips(differences, rng)}
    hits, trials = _prequential_hits(differences, rng)
    # One-sided: only hits above chance say that the teachers differ.
    p_values["classifier"] = _binomial_tail(hits, trials)
    likelihood = None
    if log_likelihoods is not None:
        first, second = (np.asarray(v, dtype=np.float64) for v in log_likelihoods)
        if first.shape != (n,) or second.shape != (n,):
            raise ValueError(f"log-likelihoods {first.shape}, {second.shape} need one a pair, {n}.")
        gaps = (first - second)[chosen]
        p_values["log-likelihoods"] = sign_flip_p_value(gaps, rng=rng, resamples=_FLIPS)
        likelihood = paired_bootstrap(gaps, rng=rng, level=1.0 - level)
    combined = min(1.0, len(p_values) * min(p_values.values()))
    accuracy = clopper_pearson(hits, trials, p=level)
    ceiling = clopper_pearson(hits, trials, p=level, side="upper").upper
    floor = clopper_pearson(hits, trials, p=level, side="lower").lower
    verdict, why = _verdict(combined, ceiling, level=level, margin=margin, separated=separated)
    means = (response_statistics(texts).mean(axis=0) for texts in (safety, proxy))
    return TeacherDifference(
        verdict=verdict,
        matching=matching,
        separated=separated,
        pairs=n,
        p_value=combined,
        p_values={**p_values},
        accuracy=Limits.from_interval(accuracy),
        tv_lower=float(teacher_tv_from_pair_accuracy(floor)) if separated else 0.0,
        statistics={
            name: (float(a), float(b)) for name, a, b in zip(STATISTICS, *means, strict=True)
        },
        log_likelihood_difference=likelihood and Limits.from_interval(likelihood),
        why=why,
        details={"pairs_used": float(len(chosen)), "accuracy_ceiling": ceiling},
    )


def _verdict(
    p_value: float, ceiling: float, *, level: float, margin: float, separated: bool
) -> tuple[TeacherVerdict, str]:
    if p_value <= level:
        if separated:
            return TeacherVerdict.OTHER, (
                f"The answers to the same prompts differ (p = {p_value:.2g}): another teacher "
                "wrote the proxy."
            )
        return TeacherVerdict.UNDECIDED, (
            f"The answers differ (p = {p_value:.2g}), but so do the prompts: contexts and teacher "
            "cannot be separated without prompts that both sets answer."
        )
    if ceiling <= 0.5 + margin:
        return TeacherVerdict.SAME, (
            f"No difference found (p = {p_value:.2g}), and a classifier names the safety answer "
            f"with accuracy {ceiling:.2f} at most: the teachers agree as far as it can tell."
        )
    return TeacherVerdict.UNDECIDED, (
        f"No difference found (p = {p_value:.2g}), but too few pairs to exclude one: a classifier "
        f"might still reach accuracy {ceiling:.2f}."
    )


def _kernel_sign_flips(differences: sp.csr_matrix, rng: np.random.Generator) -> float:
    """P-value of ``|mean difference|^2`` (without its diagonal) under random swaps of pairs."""
    gram = np.asarray((differences @ differences.T).todense(), dtype=np.float64)
    np.fill_diagonal(gram, 0.0)
    signs = 2.0 * rng.integers(2, size=(_FLIPS + 1, len(gram)), dtype=np.int8) - 1.0
    signs[0] = 1.0
    values = ((signs @ gram) * signs).sum(axis=1)
    slack = 1e-9 * np.abs(gram).sum()
    return float((values >= values[0] - slack).mean())


def _prequential_hits(differences: sp.csr_matrix, rng: np.random.Generator) -> tuple[int, int]:
    """``(hits, trials)``: blocks in turn are predicted from all earlier ones.

    Given the earlier pairs, a pair of one teacher is as likely either way round, so the hits are
    exactly binomial(trials, 1/2): no fold sees a later one, unlike in cross-validation.
    """
    n = shape_of(differences)[0]
    ends = np.unique(np.linspace(0, n, min(_BLOCKS, n) + 1).astype(int))
    hits = 0
    for start, end in pairwise(ends[1:]):
        known = differences[:start]
        model = LogisticRegression(C=10.0, fit_intercept=False)
        model.fit(sp.vstack([known, -known]), np.repeat([1, 0], start))
        scores = model.decision_function(differences[start:end])
        ties = np.abs(scores) <= 1e-9
        hits += int((scores[~ties] > 0).sum() + rng.integers(2, size=int(ties.sum())).sum())
    return hits, int(n - ends[1])


def _binomial_tail(hits: int, trials: int) -> float:
    return float(binom.sf(hits - 1, trials, 0.5))
