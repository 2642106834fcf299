"""First steps and held-out samples in the audit: T19's and T14's claims, and wrong ones caught."""

from __future__ import annotations

import numpy as np

from sims.audit import audit
from sims.families import onsets, samples
from sims.families.onsets import Onsets
from sims.families.samples import Samples


def test_onset_bounds_hold_from_above_and_below_and_their_mutants_do_not() -> None:
    rows = audit([(Onsets(), 4096)], seed=0)
    assert set(rows) == {"T19"}
    assert rows["T19"].violations == 0
    assert rows["T19"].caught == len(rows["T19"].mutants) > 0


def test_a_path_of_double_rate_breaks_the_onset_bounds(monkeypatch) -> None:
    honest = onsets._descended
    monkeypatch.setattr(onsets, "_descended", lambda problem, rates: honest(problem, 2.0 * rates))
    assert audit([(Onsets(), 512)], seed=0)["T19"].violations > 0


def test_intervals_of_samples_contain_their_means() -> None:
    rows = audit([(Samples(), 2048)], seed=0)
    assert rows["T14"].violations == 0
    assert rows["T14"].comparisons == 2 * 2048


def test_an_interval_that_forgets_its_range_term_misses(monkeypatch) -> None:
    honest = samples.empirical_bernstein

    def too_narrow(losses, *, bound, p):
        # Two standard errors: right for most samples, and wrong for rare events.
        interval = honest(losses, bound=bound, p=p)
        radius = 2.0 * np.std(losses) / np.sqrt(len(losses))
        return type(interval)(
            interval.estimate, interval.estimate - radius, interval.estimate + radius, p
        )

    monkeypatch.setattr(samples, "empirical_bernstein", too_narrow)
    assert audit([(Samples(), 2048)], seed=0)["T14"].violations > 0
