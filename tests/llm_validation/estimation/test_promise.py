"""What is promised before training, against closed forms, and how promises did."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
from made_outlooks import change, share

from llm_validation.estimation.evidence import Trust
from llm_validation.estimation.outlook import _forecast
from llm_validation.estimation.promise import WIDER, promise_skill, promised, rise_scale
from llm_validation.forecast.calibrated import Calibration, Finished

# Fine-tunes of ten pairs, whose losses rose by 1, 2, ... 10 hundredths of a scale more than said.
SAID = [1.0 + i for i in range(10)]
RISES = [
    Finished(i, said, said + 0.01 * (i + 1) * rise_scale(said), rise_scale(said))
    for i, said in enumerate(SAID)
]


def test_the_limit_and_the_share_have_closed_forms() -> None:
    """90 % of eleven groups are ten: the largest error. Where all refuse, T21 is ``exp(-rise)``."""
    found = promised(RISES, 0.5, 1.0)
    assert found.rise == pytest.approx(0.5 + 0.1 * (1.2 + 0.5))
    assert found.refusal == pytest.approx(math.exp(-found.rise), rel=1e-9)
    assert (found.level, found.status) == (0.9, "HIGH_PROBABILITY")
    assert "10 finished ones of the evidence, in 10 pairs" in found.assumptions[0]
    # At 0.8 the ninth smallest is enough, and what falls is no rise.
    assert promised(RISES, 0.5, 1.0, level=0.8).rise == pytest.approx(0.5 + 0.09 * 1.7)
    assert promised(RISES, -9.0, 1.0).refusal == pytest.approx(1.0)


def test_a_plan_outside_of_the_evidence_has_an_estimate_with_more_room() -> None:
    trust = Trust(Calibration(0.9, 1.0, 1.0, 10, 10), ("another model", "DPO"), tuple(RISES))
    found = trust.promise(0.9, 0.5)
    assert found.status == "ESTIMATED"
    assert found.rise == pytest.approx(0.5 + WIDER * 0.1 * 1.7)
    assert found.assumptions[0].endswith("which is in doubt: another model, DPO")
    assert Trust(trust.calibration).promise(0.9, 0.5) is None


def test_runs_of_one_pair_are_one_group_and_too_few_groups_promise_nothing() -> None:
    last = RISES[-1]
    again = [Finished(8, last.said, last.did, last.scale), *RISES[:-1]]
    assert len(again) == 10
    assert promised(again, 0.5, 1.0) is not None  # nine groups are the fewest
    assert promised(again[:-2], 0.5, 1.0) is None
    assert promise_skill(again, [1.0] * 10, [0.5] * 10) is None


def test_each_promise_is_judged_by_the_fine_tunes_of_other_pairs() -> None:
    """Without its own pair the largest error is 0.1, but for the pair that has it: 0.09."""
    refused = [math.exp(-one.did) for one in RISES]
    found = promise_skill(RISES, [1.0] * 10, refused)
    assert found.covered.estimate == pytest.approx(0.9)
    assert found.kept.estimate == pytest.approx(0.9)
    rooms = [(0.1 if i < 9 else 0.09) - 0.01 * (i + 1) for i in range(10)]
    widths = [room * one.scale for room, one in zip(rooms, RISES, strict=True)]
    assert found.width == pytest.approx(sum(widths) / 10)
    least = [math.exp(-one.did - width) for one, width in zip(RISES, widths, strict=True)]
    assert found.informative.estimate == sum(share >= 0.01 for share in least) / 10
    slack = [after - share for after, share in zip(refused, least, strict=True)]
    assert found.slack == pytest.approx(sum(slack) / 10, rel=1e-6)


def test_a_forecast_holds_the_promise_of_its_rise() -> None:
    said = SimpleNamespace(
        share=lambda harmful: share(0.9, 0.8, (0.7, 0.85)),
        loss_change=lambda: change(0.1, 0.05),
        gain=lambda: change(1.0, 0.1),
        outcome=SimpleNamespace(delta=0.5, effective_answers=10.0),
    )
    trust = Trust(Calibration(0.9, 1.0, 1.0, 10, 10), (), tuple(RISES))
    assert _forecast(said, 0.2, trust).promise == promised(RISES, 0.5, 0.9)
    assert _forecast(said, 0.2, None).promise is None
