"""How a data set was read, told to a person and to a program."""

from __future__ import annotations

import json

from data_files import assistant, load_rows, user

from llm_validation.data.dataset import Dataset, LeftOut, Reading
from llm_validation.data.loading import load_dataset
from llm_validation.data.reading import reading_as_json, reading_lines, readings_as_json


def test_a_reading_in_words_and_as_values(tmp_path):
    rows = [
        {"question": "q", "context": "c", "answer": "a", "label": True, "id": 1},
        {"question": "q", "context": "", "answer": "a", "label": False, "id": 2},
        {"question": "q", "context": "", "answer": "", "label": True, "id": 3},
    ]
    dataset = load_rows(tmp_path, *rows, drop_unusable=True)
    assert reading_as_json(dataset.reading) == {
        "left_out": [
            {
                "reason": "'label' marks the answer as not to be learnt",
                "count": 1,
                "rows": [2],
            },
            {"reason": "'answer' is empty", "count": 1, "rows": [3]},
        ],
        "unread_columns": ["id"],
        "notes": ["The prompt is 'question' with 'context' below it in the only row."],
    }
    assert reading_lines({"task": dataset}) == [
        "task data: 1 row is left out: 'label' marks the answer as not to be learnt (row 2).",
        "task data: 1 row is left out: 'answer' is empty (row 3).",
        "task data: Columns not read: 'id'.",
        "task data: The prompt is 'question' with 'context' below it in the only row.",
    ]


def test_rows_are_counted_whole_and_shown_in_part():
    reading = Reading((LeftOut("no answer", tuple(range(1, 10_001))),))
    (part,) = reading_as_json(reading)["left_out"]
    assert part["count"] == 10_000
    assert part["rows"] == list(range(1, 21))
    (line,) = reading_lines({"task": Dataset.of([("q", "a")], name="x", reading=reading)})
    assert line.startswith("task data: 10000 rows are left out: no answer (rows 1, 2, 3,")
    assert line.endswith(" 20 and 9980 more).")


def test_many_reasons_are_told_in_few_lines():
    many = tuple(LeftOut(f"reason {i}", (i,)) for i in range(1, 31))
    dataset = Dataset.of([("q", "a")], name="x", reading=Reading(many))
    lines = reading_lines({"task": dataset})
    assert len(lines) == 9
    assert lines[-1] == "task data: 22 more rows are left out for 22 other reasons."
    assert len(reading_as_json(dataset.reading)["left_out"]) == 30


def test_a_plain_set_has_nothing_to_tell():
    safety = load_dataset("builtin:safety")
    assert reading_lines({"safety": safety}) == []
    assert readings_as_json({"safety": safety}) == {
        "safety": {"left_out": [], "unread_columns": [], "notes": []}
    }


def test_a_sample_keeps_the_reading_of_its_file(tmp_path):
    turns = [user("a"), assistant("b"), user("c"), assistant("d")]
    dataset = load_rows(tmp_path, {"messages": turns}, {"messages": turns[:2]})
    assert dataset.take(1, seed=0).reading == dataset.reading
    json.dumps(reading_as_json(dataset.reading))
