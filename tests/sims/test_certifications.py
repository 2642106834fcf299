"""100,000 simulated certifications at the boundary fail no more often than they may (T23, T24)."""

from __future__ import annotations

import numpy as np
import pytest

from sims.certifications import Setting, false_certificates

RUNS = 100_000


def most(level: float, runs: int) -> float:
    """The level and two standard errors of a count."""
    return level * runs + 2.0 * np.sqrt(level * (1.0 - level) * runs)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize(
    "setting",
    [
        Setting(risks=(1.0,)),
        Setting(shared=1.0),
        Setting(shared=0.0, gained=0.0),
        Setting(level=0.2, gained=0.2, budget=0.1),
        Setting(stops=False),
    ],
    ids=["one model", "all alike", "independent", "noisy answers", "read at the end"],
)
def test_wrong_certificates_are_no_more_than_the_level(setting: Setting, rng) -> None:
    failures = false_certificates(setting, RUNS, rng)
    assert failures <= most(setting.level, RUNS)


def test_certificates_are_given_at_all_and_reading_more_often_gives_more(rng) -> None:
    reading = Setting(risks=(1.0,), level=0.2)
    often = false_certificates(reading, 4_000, rng)
    once = false_certificates(Setting(**{**vars(reading), "stops": False}), 4_000, rng)
    assert 0.1 * reading.level * 4_000 < once < often


def test_going_on_fails_more_often_and_peeking_without_ville_far_more(rng) -> None:
    honest = Setting(shared=0.0, level=0.2, gained=0.2)
    fails = false_certificates(honest, 4_000, rng)
    assert false_certificates(Setting(**{**vars(honest), "goes_on": True}), 4_000, rng) > fails
    naive = Setting(risks=(1.0,), guard=False)
    assert false_certificates(naive, 4_000, rng) > 2 * most(naive.level, 4_000)
