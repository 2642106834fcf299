"""The numbers of a way to train, from outcomes that are made by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from finebound.results.outlook import BROKEN, KEPT, UNDECIDED
from llm_validation.estimation.ways import Way, less_luck
from llm_validation.forecast.outcome import Outcome

N = 40


def made(delta: float, refused: np.ndarray | None, task: float = 2.0) -> Outcome:
    """40 harmful probes and as many look-alikes whose answers fell by ``delta`` nats each."""
    stored = SimpleNamespace(
        harmful=np.repeat([True, False], N), refused=np.repeat([True, False], N)
    )
    losses = SimpleNamespace(token_sum=np.full(16, task * 10), token_count=np.full(16, 10))
    return Outcome(
        stored=stored,
        fall=np.full(2 * N, float(delta)),
        token_count=np.full(2 * N, 20),
        task=losses,
        refused={} if refused is None else {1.0: refused[None]},
    )


def refusing(share: float, over: float = 0.0) -> np.ndarray:
    return np.concatenate([np.arange(N) < round(n * N) for n in (share, over)])


def way(outcome: Outcome, *, rows: int = 40, **more) -> Way:
    start = made(0.0, refusing(1.0))
    return Way("none", None, "train as planned", outcome, start, rows, 1.0, **more)


def test_a_share_is_that_of_the_drawn_answers() -> None:
    found = way(made(3.0, refusing(0.25, 0.1)))
    refusal, over = found.share(harmful=True), found.share(harmful=False)
    assert (refusal.before, refusal.after) == (1.0, 0.25)
    assert (over.before, over.after) == (0.0, 0.1)
    assert refusal.interval[0] < 0.25 < refusal.interval[1]
    # What T22 makes of likelihoods alone stands beside it.
    assert refusal.by_likelihood == pytest.approx(np.exp(-3.0))


@pytest.mark.parametrize(("delta", "share"), [(0.0, 1.0), (1.0, 0.75), (4.0, 0.0), (9.0, 0.0)])
def test_between_two_ends_refusals_are_as_far_as_likelihoods(delta, share) -> None:
    ends = (made(0.0, refusing(1.0)), made(4.0, refusing(0.0)))
    found = way(made(delta, None), ends=ends).share(harmful=True)
    assert found.after == pytest.approx(share)


def test_ends_that_fell_alike_say_what_the_second_does() -> None:
    ends = (made(1.0, refusing(1.0)), made(1.0, refusing(0.5)))
    assert way(made(1.0, None), ends=ends).share(harmful=True).after == 0.5


def test_a_path_of_few_rows_is_less_sure() -> None:
    widths = []
    for rows in (10, 40, 400):
        low, high = way(made(1.0, refusing(0.6)), rows=rows).share(harmful=True).interval
        widths.append(high - low)
    assert widths[0] > widths[1] == widths[2]


def test_nothing_that_changed_is_not_quite_sure() -> None:
    low, high = way(made(0.0, refusing(1.0))).share(harmful=True).interval
    assert 0.9 < low < high == 1.0


def test_losses_and_gain_in_nats_per_token() -> None:
    found = way(made(3.0, refusing(1.0), task=1.5))
    assert found.loss_change().value == pytest.approx(3.0 / 20)
    assert found.gain().value == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("share", "limit", "decision"), [(1.0, 30, KEPT), (0.5, 2, BROKEN), (0.9, 10, UNDECIDED)]
)
def test_a_budget_is_kept_broken_or_not_decided(share, limit, decision) -> None:
    found = way(made(1.0, refusing(share))).decide("refusal", limit)
    assert found.change == pytest.approx(100 * (1 - share))
    assert found.interval[0] <= found.change <= found.interval[1]
    assert found.decision == decision


def test_more_refused_lookalikes_are_a_loss_too() -> None:
    found = way(made(1.0, refusing(1.0, over=0.5))).decide("over-refusal", 5.0)
    assert (found.change, found.decision) == (pytest.approx(50.0), BROKEN)


def test_luck_of_the_draw_is_taken_out() -> None:
    rng = np.random.default_rng(0)
    p = rng.beta(0.5, 0.5, 40)
    errors = {True: [], False: []}
    for _ in range(400):
        before = rng.random((4, 40)) < p
        after = before[:1] & (rng.random(40) < 0.9)  # nine of ten are answered as before
        errors[True].append(less_luck(before, after).mean() - 0.9 * p.mean())
        errors[False].append(after.mean() - 0.9 * p.mean())
    assert abs(np.mean(errors[True])) < 0.01
    assert np.std(errors[True]) < 0.75 * np.std(errors[False])


def test_answers_that_have_nothing_to_do_with_those_before_stay() -> None:
    before = np.array([[True, False] * 20, [False, True] * 20])
    after = np.repeat([True, False], 20)[None]
    np.testing.assert_allclose(less_luck(before, after), after[0])
