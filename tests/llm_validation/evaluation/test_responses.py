from __future__ import annotations

import csv
import json

import pytest

from finebound.base.errors import InputError
from llm_validation.evaluation.generation import Response
from llm_validation.evaluation.prompts import load_prompts
from llm_validation.evaluation.responses import align, item_ids, read_responses, write_responses

PROMPTS = ["First?", "Second?", "Third?", "Fourth?"]


def rows(**columns):
    return [{"prompt": p, "response": f"To {p}", **columns} for p in PROMPTS]


def jsonl(folder, content, name="answers.jsonl"):
    file = folder / name
    file.write_text("".join(json.dumps(row) + "\n" for row in content))
    return file


def test_the_three_formats_say_the_same(tmp_path):
    content = [{"id": f"q{k}", **row, "category": "A"} for k, row in enumerate(rows())]
    as_json = tmp_path / "answers.json"
    as_json.write_text(json.dumps(content))
    as_csv = tmp_path / "answers.csv"
    with as_csv.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(content[0]))
        writer.writeheader()
        writer.writerows(content)
    first = read_responses(jsonl(tmp_path, content))
    assert first.items[2].id == "q2"
    assert first.items[2].category == "A"
    assert first.pairs[0] == ("First?", "To First?")
    for file in (as_json, as_csv):
        assert read_responses(file).pairs == first.pairs
        assert [item.id for item in read_responses(file).items] == ["q0", "q1", "q2", "q3"]


def test_what_was_written_is_read(tmp_path):
    made = [
        Response("a", "text", finished=False, tokens=3, category="X"),
        Response("b", None, error="out of memory"),
        Response("c", "", tokens=0),
    ]
    file = write_responses(tmp_path / "out" / "responses.jsonl", made, ids=["1", "2", "3"])
    found = read_responses(file)
    assert found.pairs == [("a", "text"), ("b", None), ("c", "")]
    assert [item.id for item in found.items] == ["1", "2", "3"]
    assert found.items[0].category == "X"


def test_null_and_an_error_are_failures_and_an_empty_text_is_an_empty_answer(tmp_path):
    content = [
        {"prompt": "a", "response": None},
        {"prompt": "b", "response": "cut off", "error": "timeout"},
        {"prompt": "c", "response": "", "error": ""},
        {"prompt": "d", "response": "", "status": "error"},
    ]
    found = read_responses(jsonl(tmp_path, content))
    assert [response for _, response in found.pairs] == [None, None, "", None]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"prompt": "x"}, "no 'response'"),
        ({"response": "x"}, "no 'prompt'"),
        ({"prompt": None, "response": "x"}, "'prompt' is null, not text"),
        ({"prompt": "x", "response": 7}, "'response' is 7, not text"),
        ({"prompt": "x", "response": ["a"]}, "not text"),
        ({"prompt": "Second?", "response": "again", "id": "q1"}, "'q1' occurs a second time"),
    ],
)
def test_a_bad_row_is_named(tmp_path, row, says):
    content = [{"id": f"q{k}", **row_} for k, row_ in enumerate(rows())]
    with pytest.raises(InputError, match=says) as caught:
        read_responses(jsonl(tmp_path, [*content, row]))
    assert caught.value.row == 5
    assert "answers.jsonl" in str(caught.value)


def test_a_file_without_the_columns_says_what_it_has(tmp_path):
    with pytest.raises(InputError, match=r"no column 'response'.*'prompt', 'txt'"):
        read_responses(jsonl(tmp_path, [{"prompt": "a", "txt": "b"}]))


def test_another_order_is_mended_and_said(tmp_path):
    answers = read_responses(jsonl(tmp_path, [rows()[k] for k in (2, 0, 1, 3)]))
    mended = align(answers, PROMPTS, expected="the set")
    assert mended.pairs == [(p, f"To {p}") for p in PROMPTS]
    assert mended.notes == ("3 of 4 answers stood in another order than the set; realigned.",)
    assert align(mended, PROMPTS).notes == mended.notes  # nothing more to say


def test_ids_decide_where_both_have_them(tmp_path):
    content = [{"id": str(k), "prompt": "the same", "response": str(k)} for k in (2, 0, 1)]
    answers = read_responses(jsonl(tmp_path, content))
    found = align(answers, ["the same"] * 3, ids=["0", "1", "2"])
    assert [response for _, response in found.pairs] == ["0", "1", "2"]
    with pytest.raises(InputError, match="row 2: the id '0' belongs to another prompt"):
        align(answers, ["other", "the same", "the same"], ids=["0", "1", "2"])


def test_a_missing_answer_names_the_prompt(tmp_path):
    answers = read_responses(jsonl(tmp_path, [rows()[0], rows()[3]]))
    with pytest.raises(InputError, match=r"2 of the 4 answers are missing.* row 2 .*'Second"):
        align(answers, PROMPTS)


def test_an_answer_too_many_names_its_row(tmp_path):
    answers = read_responses(jsonl(tmp_path, [*rows(), rows()[1]]))
    assert answers.notes == ("1 of 5 rows answer a prompt that an earlier row answers too.",)
    with pytest.raises(InputError, match=r"row 5: the prompt 'Second.' is answered more often"):
        align(answers, PROMPTS)


def test_an_answer_to_no_prompt_names_its_row(tmp_path):
    stray = {"prompt": "Elsewhere?", "response": "x"}
    answers = read_responses(jsonl(tmp_path, [rows()[0], stray, *rows()[1:]]))
    with pytest.raises(InputError, match=r"row 2: the prompt 'Elsewhere.' is not in the set"):
        align(answers, PROMPTS, expected="the set")


def test_a_prompt_asked_twice_takes_two_answers(tmp_path):
    content = [{"prompt": "a", "response": "1"}, {"prompt": " a ", "response": "2"}]
    found = align(read_responses(jsonl(tmp_path, content)), ["a", "a"])
    assert [response for _, response in found.pairs] == ["1", "2"]


def test_items_have_the_same_name_wherever_they_are_answered(tmp_path):
    one = read_responses(jsonl(tmp_path, rows(), "one.jsonl"))
    two = read_responses(jsonl(tmp_path, [*rows()[::-1], rows()[0]], "two.jsonl"))
    assert set(item_ids(one)) < set(item_ids(two))
    assert len(set(item_ids(two))) == 5
    assert item_ids(one) == item_ids(two)[3::-1]


def test_long_answers_and_other_scripts(tmp_path):
    content = [
        {"prompt": "a", "response": "x" * 100_000},
        {"prompt": "б", "response": "ответ\u2028с новой строки"},
        {"prompt": "質問", "response": "答え"},
    ]
    file = tmp_path / "answers.jsonl"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in content * 20))
    found = read_responses(file)
    assert found.pairs == [(row["prompt"], row["response"]) for row in content] * 20


def test_prompts_of_a_file_without_answers(tmp_path):
    file = jsonl(tmp_path, [{"prompt": p, "category": "A", "label": "safe"} for p in PROMPTS])
    dataset = load_prompts(file)
    assert dataset.prompts == PROMPTS
    assert dataset.examples[1].category == "A"
    assert dataset.examples[1].messages == (("user", "Second?"),)
    assert load_prompts(jsonl(tmp_path, rows(), "with.jsonl")).prompts == PROMPTS
    assert len(load_prompts("builtin:safety")) > 100
    with pytest.raises(InputError, match="row 2"):
        load_prompts(jsonl(tmp_path, [{"prompt": "a"}, {"prompt": " "}], "bad.jsonl"))
