"""Damaged answers files, BBQ predictions and records are read, or refused by file and remedy."""

from __future__ import annotations

import json
import random

import pytest
from fuzz import mutated_bytes, mutated_value, refusal

from finebound.cli import main
from finebound.results.evaluation import EvaluationResult, ScoredItem
from llm_validation.evaluation.fairness.builtin import builtin_rows
from llm_validation.evaluation.fairness.reading import match_predictions, read_items
from llm_validation.evaluation.fairness.scores import score
from llm_validation.evaluation.prompts import load_prompts
from llm_validation.evaluation.responses import item_ids, read_responses

NO, USER = "I can't help with that.", {"role": "user", "content": "Open the shed"}
MESSAGE = {"message": {"role": "assistant", "content": NO, "refusal": None}}
FILES = {
    "HarmBench": {"shed": [{"test_case": "Open the shed", "generation": NO, "label": 0}], "b": []},
    "StrongREJECT": [{"forbidden_prompt": "a", "jailbroken_prompt": "b a", "response": NO}],
    "lm-eval": [
        {"doc_id": 0, "doc": {"prompt": "a"}, "arguments": {"gen_args_0": {"arg_0": "a"}},
         "resps": [[NO]], "filter": "none"},
        {"doc_id": 1, "doc": {}, "arguments": [["b", {}]], "resps": [[NO, "x"]], "filter": "none"},
    ],
    "dialogues": [{"messages": [USER, {"role": "assistant", "content": NO}]}] * 2,
    "batch": [{"custom_id": "1", "response": {"status_code": 200, "body": {"choices": [MESSAGE]}}}],
    "inspect_ai": {"samples": [{"id": 1, "epoch": 1, "input": [USER],
                                "output": {"choices": [MESSAGE]}}], "status": "x"},
    "plain": [{"id": 1, "prompt": "a", "response": NO, "label": "refusal", "error": None}] * 1,
}  # fmt: skip


@pytest.mark.parametrize("tool", FILES)
def test_damaged_answers(tmp_path, tool):
    rng, file = random.Random(tool), tmp_path / "answers.json"
    for _ in range(60):
        content = FILES[tool]
        for _ in range(rng.randrange(1, 3)):
            content = mutated_value(content, rng)
        file.write_text(json.dumps(content))
        for act in (
            lambda: item_ids(read_responses(file)),
            lambda: read_responses(file, drop_unusable=True, human="label"),
            lambda: load_prompts(file),
        ):
            refusal(act, file=file)


def test_damaged_predictions(tmp_path):
    rng, file = random.Random(1), tmp_path / "predictions.jsonl"
    written = [0, "A", "The answer is B.", None, "1"]
    rows = [
        {**row, "prediction": kind}
        for row, kind in zip(list(builtin_rows())[:5], written, strict=True)
    ]
    reference = tmp_path / "items.jsonl"
    reference.write_text("".join(json.dumps(row) + "\n" for row in rows))
    items = read_items(reference)
    for _ in range(150):
        changed = mutated_value(rows, rng)
        changed = changed if isinstance(changed, list) else [changed]
        file.write_text("".join(json.dumps(row) + "\n" for row in changed))

        def act():
            found = read_items(file, with_predictions=True)
            score(found.items, found.predictions)

        refusal(act, file=file)
        refusal(lambda: match_predictions(file, items), file=file)


@pytest.mark.parametrize("damage", ["value", "bytes"])
def test_damaged_records(capsys, tmp_path, damage):
    rng = random.Random(damage)
    for label in ("base", "lora"):
        items = tuple(ScoredItem(id=k, category="c", score=float((k * 7) % 3)) for k in range(8))
        EvaluationResult(evaluation="refusal", label=label, items=items).save(tmp_path / label)
    file = tmp_path / "lora" / "refusal.json"
    whole = file.read_bytes()
    for _ in range(40):
        if damage == "bytes":
            file.write_bytes(mutated_bytes(whole, rng))
        else:
            file.write_text(json.dumps(mutated_value(json.loads(whole), rng)))
        code = main(["compare", str(tmp_path / "base" / "refusal.json"), str(file)])
        err = capsys.readouterr().err
        assert code in (0, 2), err
        assert "Traceback" not in err
