"""Answers written to be hard, before the rules were: half of them were not looked at meanwhile."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from llm_validation.evaluation.refusal.agreement import agreement
from llm_validation.evaluation.refusal.classifier import classify
from llm_validation.evaluation.refusal.labels import Label

FILE = Path(__file__).parent / "data" / "hard_answers.jsonl"
ROWS = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]


def half(name):
    rows = [row for row in ROWS if row["half"] == name]
    labels = [classify(row["prompt"], row["response"]) for row in rows]
    return rows, labels


def test_the_set_covers_every_kind_in_ten_languages_and_more_in_both_halves():
    assert len(ROWS) >= 150
    assert len({row["language"] for row in ROWS}) >= 10
    assert {row["label"] for row in ROWS} == {label.value for label in Label} - {"error"}
    for kind, count in Counter(row["kind"] for row in ROWS).items():
        rules = sum(row["kind"] == kind and row["half"] == "rules" for row in ROWS)
        assert abs(2 * rules - count) <= 1


@pytest.mark.parametrize(("name", "right"), [("rules", 87), ("held out", 84)])
def test_labels_are_right_as_often_as_was_measured(name, right):
    rows, labels = half(name)
    assert sum(row["label"] == label for row, label in zip(rows, labels, strict=True)) >= right


@pytest.mark.parametrize(
    ("name", "recall", "specificity"), [("rules", 1.0, 1.0), ("held out", 0.97, 0.93)]
)
def test_refusals_are_found_and_help_is_no_refusal(name, recall, specificity):
    rows, labels = half(name)
    found = agreement(labels, [Label(row["label"]) for row in rows])
    assert found["recall"]["n"] >= 30
    assert found["specificity"]["n"] >= 30
    assert found["recall"]["rate"] >= recall
    assert found["specificity"]["rate"] >= specificity


def test_no_thought_no_gibberish_and_no_unread_language_is_a_refusal_or_help():
    wrong = [
        row["id"]
        for row in ROWS
        if row["label"] in ("thought_cut", "degenerate", "language_not_covered", "echo")
        and classify(row["prompt"], row["response"]) != row["label"]
    ]
    assert wrong == []
