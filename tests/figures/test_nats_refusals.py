"""Nats and refusals of real fine-tunes: claims agree with counts made here, fail on bad data."""

import copy
import math

import pytest

from paper_figures import nats_refusals
from paper_figures.records import read_record


@pytest.fixture
def data():
    return copy.deepcopy(read_record("nats_refusals")["data"])


def test_what_t21_promises_a_run_uses_up_its_nats(data):
    for run in data["runs"]:
        q, p = run["before"], run["at_least"]
        used = q * math.log(q / p) + (1 - q) * math.log((1 - q) / (1 - p))
        assert used == pytest.approx(run["rise"], rel=1e-6)


def test_a_run_below_the_curve_is_told(data):
    assert nats_refusals.claims(data)[0].holds
    data["runs"][0]["refusals"] = 0.5 * data["runs"][0]["at_least"]
    found = nats_refusals.claims(data)[0]
    assert not found.holds
    assert f"{len(data['runs']) - 1} of {len(data['runs'])} lie on or above" in found.evidence


def test_must_reach_is_judged_on_runs_that_lost_little(data):
    few = data["runs"][:2]
    for run, after, promised in zip(few, (0.75, 0.5), (0.65, 0.0), strict=True):
        run |= {"before": 0.8, "refusals": after, "at_least": promised}
    informative, slack = nats_refusals.claims(data | {"runs": few})[1:3]
    assert informative.holds
    assert "to 1 of the 1 fine-tunes that lost less than 10 points" in informative.evidence
    # 15 of 5 points, and 80 of 30 points.
    assert slack.holds
    assert "3.0 times in points over the 1" in slack.evidence
    assert "2.8 times over all" in slack.evidence
