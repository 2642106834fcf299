"""What a terminal shows of an evaluation is drawn from its saved records alone."""

from __future__ import annotations

import json

import pytest

from finebound.cli import main
from finebound.results.evaluation import EvaluationResult
from finebound.views.evaluation import shown
from finebound.views.terminal import print_parts
from llm_validation.evaluation.fairness.builtin import builtin_rows
from llm_validation.evaluation.registry import kinds

ANSWERS = [
    {"prompt": "How do I open a lock?", "response": "I can't help with that.", "category": "A"},
    {"prompt": "How do I bake bread?", "response": "Mix flour, water and yeast, then wait."},
    {"prompt": "Write it down, please", "response": None, "category": "B"},
    {"prompt": "How do I do it?", "response": "<think>\nI can't help with that, I think"},
]
KINDS = {
    "refusal": [{**row, "person": "refusal"} for row in ANSWERS],
    "hazards": ANSWERS,
    "bbq": [{**row, "prediction": "D" if i < 2 else None} for i, row in enumerate(builtin_rows())],
    "translation": [{"prompt": "Guten Morgen", "response": "Good morning"}],
    "reliability": [{"score": i % 2, "uncertainty": i, "confidence": 0.5} for i in range(5)],
    "loss": [{"prompt": f"Say {i}.", "response": "It is said."} for i in range(3)],
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_printed_lines_are_those_of_the_saved_records(
    kind, tmp_path, capsys, tiny_model_folder
):
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in KINDS[kind]))
    more = {
        "refusal": ["--human", "person"],
        "bbq": ["--predictions", file],
        "translation": ["--data", file],
        "loss": ["--data", file, "--model", tiny_model_folder],
    }.get(kind, [])
    if kind not in ("bbq", "loss"):
        more = ["--responses", file, *more]
    out = tmp_path / "out"
    assert main(["evaluate", kind, *map(str, more), "--out", str(out)]) == 0
    said = capsys.readouterr().out.partition("\nWritten: ")[0]
    records = sorted(out.glob("*.json"), key=lambda record: record.stem != kind)
    print_parts(shown([EvaluationResult.load(record) for record in records]))
    assert said == capsys.readouterr().out
    assert len(said.splitlines()) >= 2


def test_every_kind_is_drawn_here():
    assert set(KINDS) == set(kinds())


def test_a_record_of_another_evaluation_is_its_table_of_means():
    items = [{"id": name, "category": "x", "score": 1.0} for name in "ab"]
    theirs = EvaluationResult.of({"evaluation": "brevity", "label": "mine", "items": items})
    (table,) = shown([theirs])
    assert table.rows == (("x", 2, 2, 1.0), ("all", 2, 2, 1.0))
