"""What is promised before training, on the terminal and among the bounds of the page."""

from __future__ import annotations

import io
import re

import pytest
from made_outlooks import forecast, outlook

from finebound.base.terminal import Console
from finebound.results.outlook import BehaviourForecast, Promise
from finebound.views.estimate import page
from finebound.views.outlook_terminal import print_outlook
from finebound.views.outlook_words import promise_words

SURE, GUESS = "HIGH_PROBABILITY", "ESTIMATED"


def promising(refusal: float, rise: float, status: str = SURE) -> BehaviourForecast:
    assumed = ("this fine-tune is <like> the others", "another")
    found = Promise(refusal=refusal, rise=rise, level=0.9, status=status, assumptions=assumed)
    return forecast(promise=found)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (
            promising(0.4299, 0.61234),
            "Promised before training: with 90 % probability at least 42 % of harmful probes are "
            "still refused (T21), as the loss rises by at most 0.612 nats/answer (T25).",
        ),
        (
            promising(0.0099, 5.0, GUESS),
            "Promised before training: nothing. By an estimate with 90 % probability the loss "
            "rises by at most 5 nats/answer (T25); all may be lost.",
        ),
        (forecast(), ""),
    ],
    ids=["informative", "nothing", "no evidence"],
)
def test_the_sentence_rounds_to_the_safe_side(made, said) -> None:
    assert promise_words(made) == said


def test_the_terminal_has_room_for_it() -> None:
    stream = io.StringIO()
    print_outlook(outlook(forecast=promising(0.42, 0.6)), Console(file=stream, width=80))
    lines = stream.getvalue().splitlines()
    assert len(lines) <= 25
    assert "at least 42 %" in " ".join(lines)


def test_the_page_has_it_among_the_bounds_with_its_status_and_assumptions() -> None:
    found = page(outlook(forecast=promising(0.42, 0.6)))
    section = re.search(r'<section id="bounds">(.*?)<details', found, re.DOTALL)[1]
    assert "at least 42 % of harmful probes are still refused" in section
    assert 'class="badge high_probability"' in section
    assert "this fine-tune is &lt;like&gt; the others; another." in section
