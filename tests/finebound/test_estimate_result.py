"""An estimate is what its record holds: of this version and of an earlier one."""

from pathlib import Path

import pytest

from finebound.base.errors import InputError
from finebound.results import registry
from finebound.results.estimate import EstimateResult
from finebound.results.strategies import StrategyEntry

EARLIER = Path(__file__).parent / "records" / "estimate_of_an_earlier_version.json"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"kind": "none"}, "unconstrained"),
        ({"kind": "loss", "lam": 0.5}, "loss, lambda 0.5"),
        ({"kind": "hybrid", "lam": 1.0, "radius": 0.1}, "hybrid, lambda 1, radius 0.1"),
    ],
)
def test_a_strategy_says_what_was_given_and_keeps_no_more(given, words):
    assert StrategyEntry(**given).in_words == words
    assert StrategyEntry(**given).to_dict() == given


def test_a_record_of_an_earlier_version_is_written_again_byte_for_byte(tmp_path):
    result = registry.load(EARLIER)
    assert isinstance(result, EstimateResult)
    assert result.save(tmp_path).read_bytes() == EARLIER.read_bytes()
    assert result.penalised == "proxy"
    assert result.planned_radius == result.bounds[22]
    assert [row.in_words for row in result.costs("hybrid")] == ["hybrid, lambda 0.5, radius 0.1"]
    assert result.summary().splitlines() == result.advice


def test_what_no_version_has_is_rejected_by_name():
    content = EstimateResult.load(EARLIER).to_dict()
    content["bounds"][0]["verdict"] = "good"
    with pytest.raises(InputError, match=r"bounds\.0\.verdict"):
        EstimateResult.of(content)
