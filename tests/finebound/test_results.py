"""Results are what their records hold: read, written again, rejected by name, shown."""

import json

import pytest

import finebound as fb
from finebound.base.errors import InputError
from finebound.results.bounds import BoundsResult

PROBLEM = {
    "kind": "tabular",
    "safety": {"context": [0.5, 0.5], "target": [[0.9, 0.1], [0.2, 0.8]]},
    "task": {"context": [0.5, 0.5], "target": [[0.1, 0.9], [0.2, 0.8]]},
}


@pytest.fixture
def result(tmp_path):
    file = tmp_path / "PROBLEM.json"
    file.write_text(json.dumps(PROBLEM))
    return fb.bounds(file, fb.LossConstraint(lam=0.5))


def test_a_saved_result_is_read_and_saved_as_the_same_bytes(result, tmp_path):
    saved = result.save(tmp_path / "first")
    again = BoundsResult.load(tmp_path / "first")
    assert again == result
    assert again.save(tmp_path / "second.json").read_bytes() == saved.read_bytes()


def test_infinity_is_a_number_in_python_and_a_word_in_json(result):
    entry = result.bounds[0].model_copy(update={"value": float("inf")})
    text = BoundsResult(exact=None, bounds=[entry]).to_json()
    assert json.loads(text)["bounds"][0]["value"] == "inf"
    assert BoundsResult.of(json.loads(text)).bounds[0].value == float("inf")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"bounds": [{"statement": "T1"}]}, "bounds.0.form"),
        ({"verdict": 1}, "verdict"),
        ({"exact": "large"}, "exact"),
    ],
)
def test_what_the_reader_does_not_know_is_rejected_by_name(result, change, named):
    with pytest.raises(InputError, match=f"'bounds' in version 1: {named}"):
        BoundsResult.of(result.to_dict() | change)


def test_a_result_cannot_be_changed(result):
    with pytest.raises(ValueError, match="frozen"):
        result.exact = None


def test_every_way_to_look_at_a_result(result):
    assert repr(result).startswith("<BoundsResult: exact: safety_gap ")
    assert "\n" not in repr(result)
    assert len(result.summary().splitlines()) > 3
    assert "<table>" in result._repr_html_()
    frame = result.to_frame()
    assert len(frame) == len(result.applying) == len(result.table().rows)
    assert result.plot().axes


def test_the_schema_names_every_entry(result):
    schema = json.loads(BoundsResult.json_schema())
    assert set(result.to_dict()) <= set(schema["properties"])
    assert schema["title"] == "bounds 1"
