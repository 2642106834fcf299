"""The answer on a terminal, as a table, as figures and at the top of a page, in every state."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser
from itertools import combinations

import pytest
from made_outlooks import FOUND, OPTIONS, SENTENCE, budget, forecast, option, outlook, share
from matplotlib.text import Annotation, Text
from rich.cells import cell_len

from finebound.base.terminal import Console
from finebound.results.interval import Interval
from finebound.results.outlook import Evidence, PlanSetting, Verdict
from finebound.views.outlook import first_screen, table
from finebound.views.outlook_plots import before_after_figure, options_figure
from finebound.views.outlook_terminal import print_outlook
from finebound.views.outlook_words import (
    budget_words,
    label,
    percent,
    percent_within,
    signed,
    typeset,
    what_intervals_are,
)

ATTACK = "<script>alert('x')</script>\x1b[31m $\\frac{"
THREE = (
    budget(),
    budget("over-refusal", 10.0, -4.0, 6.0, "kept"),
    budget("loss", 0.05, 0.22, 0.18, "undecided"),
)
MANY = tuple(
    option(
        "drop",
        None,
        f"drop the {k} rows that cost the most safety",
        *(0.6 + 0.02 * k, (0.5 + 0.02 * k, 0.7 + 0.02 * k), 0.31 - 0.005 * k, 0.9, "kept"),
    )
    for k in range(1, 13)
)
HOSTILE = {
    "task": ATTACK,
    "found": (("harm", ATTACK + "A" * 300),),
    "options": (OPTIONS[0].model_copy(update={"how": ATTACK * 4, "strategy": "new"}), *OPTIONS[1:]),
    "plan": (PlanSetting(name=ATTACK, value=ATTACK, source=ATTACK),),
    "verdict": Verdict(sentence=ATTACK * 30, status="ESTIMATED"),
}
STATES = {
    "whole": {},
    "three budgets": {"budgets": THREE},
    "no budget": {"budgets": ()},
    "no option": {"options": (), "budgets": ()},
    "many options": {"options": MANY, "budgets": THREE},
    "nothing but texts": {
        "verdict": None,
        "forecast": None,
        "options": (),
        "budgets": (),
        "plan": (),
    },
    "nothing found": {"found": ()},
    "at the ends": {
        "forecast": forecast(
            refusal=share(1.0, 0.0, (0.0, 0.0)), over_refusal=share(0.0, 1.0, (1.0, 1.0))
        )
    },
    "hostile": HOSTILE,
}
states = pytest.mark.parametrize("given", STATES.values(), ids=STATES)


class Page(HTMLParser):
    """Tags, alternative texts and visible text of a fragment; its tags are balanced."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.alt: list[str] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append(tag)
        if tag == "img":
            self.alt.append(dict(attrs)["alt"])
        else:
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def printed(**given) -> list[str]:
    out = io.StringIO()
    print_outlook(outlook(**given), Console(file=out, width=160))
    return out.getvalue().splitlines()


def read(**given) -> Page:
    return Page(first_screen(outlook(**given)))


def test_numbers_in_words() -> None:
    assert [percent(x) for x in (0.62, 0.004, 0.0, 1.0, None)] == [
        *("62 %", "0.4 %", "0 %", "100 %", "-"),
    ]
    assert percent_within(0.62, (0.45, 0.8)) == "62 % [45, 80]"
    assert percent_within(-0.001, (0.0, 1.0)) == "0 % [0, 100]"
    assert [signed(x) for x in (0.224, -0.001, float("inf"))] == ["+0.22", "+0.00", "+inf"]
    assert typeset("refuses 62 %, safety -0.02 [-1, 2] in look-alikes-2") == (
        "refuses 62\N{NO-BREAK SPACE}%, safety \N{MINUS SIGN}0.02 [\N{MINUS SIGN}1, 2] in "
        "look-alikes-2"
    )


def test_a_budget_is_told_as_a_signed_change() -> None:
    assert [budget_words(one) for one in THREE] == [
        "refusals -32 [-50, -14] points; -5 allowed",
        "over-refusal -4 [-10, +2] points; +10 allowed",
        "safety loss +0.22 [+0.04, +0.40] nats/token; +0.05 allowed",
    ]


def test_an_option_has_a_short_name() -> None:
    assert [label(one) for one in OPTIONS] == [
        *("mix 10 %", "scale 0.25", "scale 0.5", "scale 0.75", "as planned"),
    ]
    assert label(MANY[0]) == "drop the 1 rows that cost…"


def test_evidence_is_told_as_far_as_there_is_any() -> None:
    told = what_intervals_are(forecast())
    assert told.startswith("The forecast cost 11 % of the fine-tune's tokens. Its 90 % intervals")
    assert told.endswith("no guarantee. How often they hold has not been counted yet.")
    known = Evidence(fine_tunes=12, coverage=0.92, mean_width=0.24)
    assert what_intervals_are(forecast(evidence=known)).endswith(
        "On 12 fine-tunes that were run, 92 % of such intervals held what was measured; their "
        "mean width was 24 points."
    )

    like = Evidence(fine_tunes=12, coverage=0.92, mean_width=0.24, pairs=11, calibrated=True)
    told = what_intervals_are(forecast(evidence=like))
    assert "holds with a probability of 90 %" in told
    assert "12 finished ones that it rests on (T25)" in told
    assert told.endswith("24 points, each from the fine-tunes of other pairs.")
    unlike = like.model_copy(update={"outside": ("another model", "DPO")})
    told = what_intervals_are(forecast(evidence=unlike))
    assert "an estimate, because this one is unlike them: another model, DPO." in told


@states
def test_the_terminal_has_25_lines_of_80_columns(given) -> None:
    lines = printed(**given)
    assert 1 <= len(lines) <= 25
    assert max(map(cell_len, lines)) <= 80
    assert not re.search(r"[\x00-\x1f\x7f]", "".join(lines))


def test_the_terminal_says_the_answer_first() -> None:
    lines = printed()
    assert " ".join(lines[:3]) == SENTENCE
    assert lines[3:11] == [
        "",
        "                                     now  after the fine-tune    greedy answers",
        "refuses harmful probes              94 %  62 % [45, 80]          100 % -> 96 %",
        "refuses harmless look-alikes         8 %  4 % [0, 11]            6 % -> 2 %",
        "change in safety loss (nats/token)        +0.22 [+0.14, +0.30]",
        "capability gain (nats/token)              +0.31 [+0.25, +0.37]",
        "",
        "Budget broken: refusals -32 [-50, -14] points; -5 allowed",
    ]
    assert lines[13] == (
        "mix 10 % safety rows (the model's own a… 93 % [88, 98]  97 %    9 %  not decided"
    )
    assert lines[17] == (
        "train as planned                         62 % [45, 80] 100 %    5 %  broken"
    )
    assert lines[19].startswith(f"Audit: {FOUND[0][1][:50]}")
    assert "no guarantee" in " ".join(lines[-3:])


def test_the_terminal_counts_what_it_has_no_room_for() -> None:
    lines = printed(options=MANY, budgets=THREE)
    shown = [line for line in lines if line.startswith("drop the")]
    (more,) = [line for line in lines if line.endswith("more, on the page")]
    assert shown
    assert int(more.split()[1]) == len(MANY) - len(shown)


def test_the_terminal_without_greedy_answers_budget_or_forecast() -> None:
    plain = forecast(refusal=share(0.9, 0.5, (0.4, 0.6)))
    assert "not asked" in printed(forecast=plain)[5]
    assert any(line.startswith("Budget: None was given") for line in printed(budgets=()))
    assert printed(**STATES["nothing but texts"])[0] == (
        "No forecast was made: it needs a model (--model)."
    )


def test_wide_characters_are_counted_as_two_columns() -> None:
    wide = Verdict(sentence="\N{CJK UNIFIED IDEOGRAPH-4E00}" * 500, status="ESTIMATED")
    how = OPTIONS[0].model_copy(update={"how": "\N{CJK UNIFIED IDEOGRAPH-4E00}" * 90})
    lines = printed(verdict=wide, options=(how, *OPTIONS[1:]))
    assert len(lines) <= 25
    assert max(map(cell_len, lines)) <= 80


def test_the_table_holds_shares_and_changes() -> None:
    made = table(outlook())
    assert made.rows[0] == (
        "mix 10 % safety rows (the model's own answers) into every step",
        *(Interval(0.93, 0.88, 0.98), 0.09, 0.30, 0.97, -0.02, "not decided", 0.034),
    )
    assert len(made.rows) == len(OPTIONS)
    assert all(len(row) == len(made.columns) for row in made.rows)
    assert table(outlook(options=())).rows == ()


@states
def test_the_page_is_whole_escaped_and_free_of_controls(given) -> None:
    html = first_screen(outlook(**given))
    page = Page(html)
    assert "script" not in page.tags
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", html)
    assert all(page.alt)
    assert len(page.alt) == (0 if "forecast" in given and given["forecast"] is None else 1) + bool(
        outlook(**given).options
    )


def test_the_page_shows_hostile_texts_as_texts() -> None:
    words = read(**HOSTILE).words
    # In the heading, the best option, the audit, the table and thrice in the plan.
    assert words.count("<script>alert('x')</script>") >= 7


def test_the_page_begins_with_the_verdict_and_ends_with_the_words() -> None:
    words = read(budgets=THREE).words.replace("\N{NO-BREAK SPACE}", " ")
    order = (
        "What will fine‑tuning on “general” do to the model's refusals?",
        "After this fine-tune the model is forecast to refuse 62 % [45, 80] of harmful probes",
        "refuses harmful probes 94 % → 62 % 90 % interval [45, 80] greedy answers: 100 % → 96 %",
        "refuses harmless look-alikes 8 % → 4 % 90 % interval [0, 11] greedy answers: 6 % → 2 %",
        "capability gain (nats/token) +0.31 90 % interval [+0.25, +0.37]",
        "change in safety loss (nats/token) +0.22 90 % interval [+0.14, +0.30]",
        "refuses 93 % [88, 98] of harmful probes and 9 % of look-alikes",
        "refusals −32 [−50, −14] points; −5 allowed broken",
        "over-refusal −4 [−10, +2] points; +10 allowed kept",
        "safety loss +0.22 [+0.04, +0.40] nats/token; +0.05 allowed not decided",
        FOUND[0][1],
        "The forecast cost 11 % of the fine-tune's tokens.",
        "The options, best first",
        "train as planned 62 % [45, 80] 5 % +0.31 100 % +0.22 broken 3 %",
        "it refuses 66 % of harmful probes and 5 % of look-alikes. That rests on 31 effective",
        "still refuses at least 55 % of harmful probes (T21)",
        "The plan that was understood: 5 settings",
        "learning rate 0.0002 axolotl.yaml: learning_rate",
        "packing no default",
        "seed not set not in the file",
        "The words of this answer",
    )
    places = [words.index(part) for part in order]
    assert places == sorted(places)


def test_the_page_leaves_out_what_is_not_known() -> None:
    plain = forecast(refusal=share(0.9, 0.5, (0.4, 0.6)), over_refusal=share(0.1, 0.1, (0.0, 0.2)))
    words = read(forecast=plain, budgets=(), plan=(), found=()).words
    for part in ("greedy answers:", "(T22)", "The plan that", "the audit of the task rows"):
        assert part not in words
    assert "None was given (--budget)." in words
    assert "needs a model (--model)" in read(**STATES["nothing but texts"]).words


def test_the_figures_say_their_numbers() -> None:
    found = before_after_figure(outlook())
    assert "48 harmful probes" in found.caption
    assert "harmful probes refused: 94 % → 62 % [45, 80]" in found.caption
    (axes,) = found.figure.axes
    assert [text.get_text() for text in axes.get_yticklabels()][1] == (
        "look-alikes refused\n8 % → 4 % [0, 11]"
    )
    drawn = [float(line.get_xdata()[0]) for line in axes.lines]
    assert drawn == pytest.approx([94.0, 62.0, 100.0, 96.0, 8.0, 4.0, 6.0, 2.0])
    assert before_after_figure(outlook(forecast=None)) is None

    found = options_figure(outlook())
    assert "Best: mix 10\N{NO-BREAK SPACE}% safety rows" in found.caption
    (axes,) = found.figure.axes
    points = {(line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines}
    assert {(0.0, 94.0), (0.31, 62.0), (0.30, 93.0)} <= points
    assert (0, 89.0) in points  # the budget's line
    assert {text.get_text() for text in labels(found)} == {"aligned model", *map(label, OPTIONS)}
    assert options_figure(outlook(options=())) is None


def test_options_that_are_one_point_share_a_label() -> None:
    half = next(one for one in OPTIONS if label(one) == "scale 0.5")
    rank = half.model_copy(update={"strategy": "rank", "value": 4.0})
    found = options_figure(outlook(options=(*OPTIONS, rank)))
    assert "scale 0.5, rank 4" in {text.get_text() for text in labels(found)}


def labels(plot) -> list[Annotation]:
    (axes,) = plot.figure.axes
    return [text for text in axes.texts if isinstance(text, Annotation)]


@pytest.mark.parametrize("options", [OPTIONS, MANY, HOSTILE["options"], OPTIONS[:1] * 4])
def test_no_label_covers_another_or_leaves_the_axes(options) -> None:
    found = options_figure(outlook(options=options))
    placed = labels(found)
    found.figure.draw_without_rendering()
    around = found.figure.axes[0].get_window_extent()
    boxes = [Text.get_window_extent(text) for text in placed]
    assert len(boxes) >= 2
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    assert all(around.x0 <= box.x0 and box.x1 <= around.x1 for box in boxes)
    points = {(one.capability_gain, one.refusal) for one in options}
    left_out = len(boxes) < len(points) + 1
    assert left_out == found.caption.endswith("The table names every point.")


def test_page_and_figures_are_the_same_on_every_run() -> None:
    assert first_screen(outlook()) == first_screen(outlook())
