"""Wrong certificates of the figure: one count against its exact value, claims on spoilt counts."""

import copy
import math

import numpy as np
import pytest

from paper_figures import certification_errors
from paper_figures.records import read_record
from theory.certificates.betting import log_capital


@pytest.fixture
def data():
    return copy.deepcopy(read_record("certification_errors")["data"])


def setting(data, name):
    return next(one for one in data["settings"] if one["name"] == name)


def test_a_count_is_its_exact_probability(data):
    """No answer is gained: a walk over the number of lost ones, until some reading certifies."""
    budget, probes = data["budget"], data["probes"]
    open_at, certified = np.zeros(probes + 1), 0.0
    open_at[0] = 1.0
    lost = np.arange(probes + 1)
    for n in range(1, probes + 1):
        open_at = (1.0 - budget) * open_at + budget * np.append(0.0, open_at[:-1])
        counts = np.stack([np.maximum(n - lost, 0), lost], axis=-1)
        enough = log_capital([0.0, 1.0], counts, budget) >= -math.log(data["level"])
        certified += open_at[enough & (lost <= n)].sum()
        open_at[enough] = 0.0
    counted = setting(data, "one model, no answer gained")["wrong"] / data["runs"]
    error = math.sqrt(certified * (1.0 - certified) / data["runs"])
    assert abs(counted - certified) < 4.0 * error


def test_the_level_and_two_standard_errors_decide(data):
    worst = setting(data, "five models in order")
    for wrong, holds in ((5_137, True), (5_139, False)):
        worst["wrong"] = wrong
        found = certification_errors.claims(data)[0]
        assert found.holds is holds
        assert "(five models in order)" in found.evidence


def test_a_broken_promise_where_the_assumption_is_met_is_told(data):
    assert all(claim.holds for claim in certification_errors.claims(data))
    data["assumptions"][0]["met"]["beyond"] = 1
    data["assumptions"][1]["violated"]["beyond"] = 0
    met, needed = certification_errors.claims(data)[2:]
    assert not met.holds
    assert not needed.holds
    assert "6 of 7 break" in needed.evidence
