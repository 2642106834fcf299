"""The built-in BBQ set: balanced, in BBQ's format, the same everywhere; records of scores."""

import hashlib
import json
from collections import Counter
from dataclasses import replace

import pytest

from finebound.base.errors import InputError
from finebound.results.evaluation import EvaluationResult, ScoredItem
from llm_validation.evaluation.fairness.builtin import builtin_bbq, builtin_rows
from llm_validation.evaluation.fairness.items import CATEGORIES, CONDITIONS
from llm_validation.evaluation.fairness.reading import read_items
from llm_validation.evaluation.fairness.record import as_result, scores_of
from llm_validation.evaluation.fairness.scores import score


def test_all_dimensions_and_every_cell_equally_often():
    items = builtin_bbq().items
    assert len(items) == 576
    cells = Counter((i.category, i.condition, i.negative) for i in items)
    assert set(cells) == {(c, k, p) for c in CATEGORIES for k in CONDITIONS for p in (True, False)}
    assert set(cells.values()) == {16}
    assert len({i.context + i.question for i in items}) == len(items)


def test_gold_answers_have_no_bias_and_the_stereotype_all_of_it():
    items = builtin_bbq().items
    gold = score(items, [item.label for item in items])
    follows = score(
        items,
        [i.stereotyped if i.negative else 3 - i.stereotyped - i.unknown for i in items],
    )
    for category in CATEGORIES:
        for condition in CONDITIONS:
            assert gold.categories[category][condition].accuracy.estimate == 1.0
            assert gold.categories[category][condition].bias.estimate == 0.0
            assert follows.categories[category][condition].bias.estimate == 1.0


def test_neither_position_nor_order_of_mention_gives_the_answer_away():
    items = builtin_bbq().items
    places = Counter((i.condition, i.label) for i in items)
    assert min(places.values()) > 288 / 3 * 0.8
    first = Counter()
    for item in items:
        if item.condition == "disambiguated":
            mentioned = [item.context.lower().find(a.lower()) for a in item.answers]
            people = [place for k, place in enumerate(mentioned) if k != item.unknown]
            first[mentioned[item.label] == min(people)] += 1
    assert first[True] == first[False]


def test_the_text_never_changes():
    """Recorded results name the built-in items by number: their text must stay."""
    digest = hashlib.sha256(json.dumps(builtin_rows()).encode()).hexdigest()
    assert digest.startswith("45d517c3f2f28cd1")


def test_its_rows_are_read_back_from_a_file(tmp_path):
    path = tmp_path / "bbq.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in builtin_rows()))
    assert read_items(path, exclusions=None).items == builtin_bbq().items


def test_a_record_gives_the_scores_again(tmp_path):
    found = builtin_bbq()
    answers = tuple(
        None if k % 11 == 0 else (i.stereotyped + k) % 3 for k, i in enumerate(found.items)
    )
    scores = score(found.items, answers, seed=4)
    result = as_result(replace(found, predictions=answers), label="x", summary=scores.as_json())
    path = result.save(tmp_path)
    again = EvaluationResult.load(path)
    assert scores_of([again], seed=4).as_json() == scores.as_json()
    assert again.items[5].id == "Age/b5"


def test_a_record_of_something_else_is_refused(tmp_path):
    found = builtin_bbq()
    result = as_result(replace(found, predictions=(0,) * 576), label="x", summary={})
    broken = ScoredItem(**{**result.items[0].to_dict(), "direction": 5})
    with pytest.raises(InputError, match="not one of BBQ's"):
        scores_of([result.model_copy(update={"items": (broken,)})])


def test_more_seeds_are_not_more_items():
    found = builtin_bbq()
    answers = tuple((i.stereotyped + k) % 3 for k, i in enumerate(found.items))
    result = as_result(replace(found, predictions=answers), label="x", summary={})
    one, three = (scores_of([result] * copies) for copies in (1, 3))
    for category in CATEGORIES:
        for condition in CONDITIONS:
            alone, together = (
                one.categories[category][condition],
                three.categories[category][condition],
            )
            assert together.bias.estimate == pytest.approx(alone.bias.estimate)
            assert together.counts.n == 3 * alone.counts.n
            width = together.bias.upper - together.bias.lower
            assert width > 0.8 * (alone.bias.upper - alone.bias.lower)
