"""How forecasts did, from records of fine-tunes that are made by hand."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
from made_outlooks import change, share

from llm_validation.estimation import evidence


def fine_tune(forecast, measured, *, half=0.1, loss=None, by_likelihood=0.5):
    """Of a model that refused 90 %; the safety loss rises as refusals fall."""
    interval = (max(0.0, forecast - half), min(1.0, forecast + half))
    said = share(0.9, forecast, interval, by_likelihood=by_likelihood)
    rise = 0.9 - measured if loss is None else loss
    return SimpleNamespace(
        forecast=SimpleNamespace(
            refusal=said, safety_loss_change=change(0.9 - forecast, 0.05), cost_share=0.2
        ),
        measured=SimpleNamespace(refusal=measured, safety_loss_change=rise),
    )


def test_perfect_forecasts() -> None:
    said = evidence.summary([fine_tune(x, x) for x in (0.9, 0.7, 0.5, 0.3, 0.1)])
    assert said.fine_tunes == 5
    assert said.spearman_refusal.estimate == said.spearman_loss.estimate == pytest.approx(1.0)
    assert said.within_ten.estimate == said.covered.estimate == said.loss_covered.estimate == 1.0
    assert said.error == 0.0
    # The ends are cut at 0 and 1.
    assert said.mean_width == pytest.approx(0.2)
    assert said.likelihood_error == pytest.approx(0.2)


def test_misses_are_counted() -> None:
    said = evidence.summary([fine_tune(0.9, 0.85), fine_tune(0.7, 0.2), fine_tune(0.5, 0.55)])
    assert said.within_ten.estimate == said.covered.estimate == pytest.approx(2 / 3)
    assert said.within_ten.lower < 2 / 3 < said.within_ten.upper
    assert said.error == pytest.approx(0.05)


def test_forecasts_in_the_wrong_order_have_no_correlation_to_show() -> None:
    said = evidence.summary([fine_tune(x, 1 - x) for x in (0.1, 0.3, 0.6, 0.8)])
    assert said.spearman_refusal.estimate == pytest.approx(-1.0)


def test_without_a_record_nothing_is_claimed(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(sys.modules[evidence.__name__], "records", lambda: ())
    evidence.known.cache_clear()
    try:
        assert evidence.known().fine_tunes == 0
        assert evidence.known().coverage is None
    finally:
        evidence.known.cache_clear()
    with pytest.raises(ValueError, match="no fine-tune"):
        evidence.summary([])
