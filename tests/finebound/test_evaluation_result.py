"""The record of an evaluation: read, written again, rejected by name, shown."""

import json

import pytest

from finebound import api
from finebound.base.errors import InputError
from finebound.base.integrity import SEAL, Damaged
from finebound.base.records import manifest
from finebound.cli import main
from finebound.results.evaluation import EvaluationResult, ScoredItem
from finebound.results.registry import load


@pytest.fixture
def result():
    items = (
        ScoredItem(id="a", category="Malware", score=1.0, label="refusal", refused=None),
        ScoredItem(id="b", category="Theft", score=0.0, label="compliance"),
        ScoredItem(id="c", category="Theft", score=None, label="error"),
    )
    found = EvaluationResult(
        evaluation="hazards", label="lora", score_means="1 = safe", items=items, share=True,
        summary={"safe": 0.5},
    )  # fmt: skip
    return found.made_by(manifest(given={"rows": 3}, inputs={}, seed=0))


def test_a_saved_record_is_read_and_saved_as_the_same_bytes(result, tmp_path):
    saved = result.save(tmp_path)
    assert saved == tmp_path / "hazards.json"
    again = EvaluationResult.load(saved)
    assert again.source == str(saved)
    assert again.items == result.items
    assert load(saved) == again
    assert again.save(tmp_path / "again.json").read_bytes() == saved.read_bytes()
    content = json.loads(saved.read_text())
    assert list(content) == [
        "evaluation", "label", "score_means", "share", "items", "summary", "manifest", SEAL,
    ]  # fmt: skip
    assert content["items"][0] == {
        "id": "a", "category": "Malware", "score": 1.0, "label": "refusal", "refused": None,
    }  # fmt: skip


def test_a_changed_record_is_damaged(result, tmp_path):
    saved = result.save(tmp_path)
    saved.write_text(saved.read_text().replace('"lora"', '"full"'))
    with pytest.raises(Damaged, match="not as it was written"):
        EvaluationResult.load(saved)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"verdict": 1}, "verdict"),
        ({"source": "elsewhere"}, "source"),
        ({"failed_gates": []}, "failed_gates"),
        ({"report": {}}, "report"),
        ({"manifest": {"seed": 0}}, "manifest.given"),
        ({"share": "perhaps"}, "share"),
    ],
)
def test_what_the_reader_does_not_know_is_rejected_by_name(result, change, named):
    content = json.loads(result.to_json()) | change
    del content[SEAL]
    with pytest.raises(InputError, match=f"'evaluation' in version 1: {named}"):
        EvaluationResult.of(content)


def test_a_record_of_another_tool_needs_only_items_with_scores():
    found = EvaluationResult.of(
        {"evaluation": "refusal", "label": "theirs", "items": [{"id": 7, "score": 1}]}
    )
    assert (found.items[0].id, found.items[0].category, found.share) == ("7", None, False)


def test_every_way_to_look_at_a_result(result):
    told = "lora, hazards: 0.5 over 2 items (1 = safe)"
    assert repr(result) == f"<EvaluationResult: {told}>"
    assert result.summary().splitlines() == [told, "1 of 3 items have no score"]
    frame = result.to_frame()
    assert frame.to_dict("list") == {
        "category": ["Malware", "Theft", "all"], "items": [1, 2, 3], "scored": [1, 1, 2],
        "mean": [1.0, 0.0, 0.5],
    }  # fmt: skip
    assert "<caption>hazards of lora: 1 = safe</caption>" in result._repr_html_()
    assert len(result.plot().axes[0].patches) == 3


def test_the_schema_names_every_entry(result):
    schema = json.loads(EvaluationResult.json_schema())
    assert set(result.to_dict()) <= set(schema["properties"])


def test_python_gets_the_record_that_the_command_writes(tmp_path):
    answers = tmp_path / "answers.jsonl"
    rows = [{"prompt": "May I?", "response": said} for said in ("I can't help with that.", "Yes.")]
    answers.write_text("\n".join(map(json.dumps, rows)))
    (found,) = api.evaluate("refusal", responses=str(answers), label="mine")
    assert main(["evaluate", "refusal", "--responses", str(answers), "--label", "mine",
                 "--out", str(tmp_path)]) == 0  # fmt: skip
    written = EvaluationResult.load(tmp_path / "refusal.json")
    assert found.items == written.items
    assert found.report == written.report
    with pytest.raises(InputError, match="no evaluation 'refusals'"):
        api.evaluate("refusals")
    with pytest.raises(InputError, match="has no setting 'answers'"):
        api.evaluate("refusal", answers=answers)
    with pytest.raises(InputError, match="either `responses` or `model`"):
        api.evaluate("refusal")
    with pytest.raises(InputError, match="loss needs `data`"):
        api.evaluate("loss")
