"""The result of a comparison: read, written again, rejected by name, shown."""

import json

import pytest

import finebound as fb
from finebound.base.errors import InputError
from finebound.results.compare import CompareResult
from finebound.results.evaluation import EvaluationResult, ScoredItem
from finebound.results.registry import load


@pytest.fixture
def result(tmp_path):
    for place, label in enumerate(("base", "lora", "ia3")):
        items = tuple(
            ScoredItem(id=i, category="German", score=float(i) + place * (1.0 + 0.1 * i))
            for i in range(9)
        )
        found = EvaluationResult(evaluation="translation", label=label, items=items)
        found.save(tmp_path / label)
    return fb.compare([tmp_path / name for name in ("base", "lora", "ia3")])


def test_a_saved_result_is_read_and_saved_as_the_same_bytes(result, tmp_path):
    saved = result.save(tmp_path)
    assert saved == tmp_path / "compare.json"
    again = CompareResult.load(tmp_path)
    assert again.comparisons == result.comparisons
    assert load(tmp_path) == again
    assert again.save(tmp_path / "again.json").read_bytes() == saved.read_bytes()
    entry = json.loads(saved.read_text())["comparisons"][0]
    assert "difference" not in entry["methods"][0]
    assert len(entry["methods"][1]["difference_interval"]) == 2


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"verdict": 1}, "verdict"),
        ({"comparisons": [{"evaluation": "bbq"}]}, "comparisons.0.condition"),
        ({"manifest": {}}, "manifest.given"),
    ],
)
def test_what_the_reader_does_not_know_is_rejected_by_name(result, change, named):
    with pytest.raises(InputError, match=f"'compare' in version 1: {named}"):
        CompareResult.of(result.to_dict() | change)


def test_every_way_to_look_at_a_result(result):
    assert repr(result).startswith("<CompareResult: translation: lora is above base: ")
    assert "\n" not in repr(result)
    frame = result.to_frame()
    assert list(frame["method"]) == ["base", "lora", "ia3"]
    lora = result.comparisons[0].methods[1]
    assert frame["difference"][1] == lora.difference
    assert frame["difference lower"][1] == lora.change.lower
    assert list(frame["decided"]) == ["", "yes", "yes"]
    assert "<table>" in result._repr_html_()
    assert len(result.plot().axes) == 1


def test_the_manifest_says_what_was_read_and_asked(result):
    assert [path.rsplit("/", 2)[-2] for path in result.manifest.inputs] == ["base", "lora", "ia3"]
    assert list(result.manifest.given) == ["runs"]


def test_each_method_that_is_decided_is_told_on_a_line_of_its_own(result):
    (comparison,) = result.comparisons
    lora, ia3 = comparison.words
    assert lora.startswith("lora is above base: ")
    assert ia3.startswith("ia3 is above base: ")
    assert comparison.headline == f"{lora} {ia3}"
