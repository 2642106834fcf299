"""Every column is read, or named; one that looks like a part of the prompt is refused."""

from __future__ import annotations

import json
import random

import pytest
from data_files import assistant, load_rows, user, write_csv, write_jsonl

from finebound.base.errors import InputError
from llm_validation.data.loading import load_dataset

NOTES = (
    "The kiosk opens at nine.",
    "Boats leave at noon.",
    "The pier is shut in March.",
    "Bring a coat.",
)


def asked_about(column, *, prompt="question", answer="answer", notes=NOTES):
    return [{prompt: "Sum up the note.", column: note, answer: "So it is."} for note in notes]


@pytest.mark.parametrize(
    ("prompt", "context", "answer"),
    [
        ("question", "context", "answer"),
        ("prompt", "input", "output"),
        ("prompt", "context", "response"),
        ("instruction", "context", "response"),
        ("query", "passage", "answer"),
        ("question", "document", "answer"),
        ("input", "context", "output"),
        ("problem", "story", "solution"),
    ],
)
def test_contexts_are_written_below_the_prompt(tmp_path, prompt, context, answer):
    rows = asked_about(context, prompt=prompt, answer=answer)
    dataset = load_rows(tmp_path, *rows)
    assert dataset.prompts == [f"Sum up the note.\n\n{note}" for note in NOTES]
    assert dataset.reading.unread_columns == ()
    assert f"The prompt is {prompt!r} with {context!r} below it in 4 of 4 rows." in (
        dataset.reading.notes
    )


def test_two_contexts_are_both_read(tmp_path):
    (example,) = load_rows(
        tmp_path, {"prompt": "q", "context": ["one", "two"], "input": "i", "response": "a"}
    ).examples
    assert example.prompt == "q\n\ni\n\none\n\ntwo"


def test_a_context_that_the_prompt_quotes_is_joined_once(tmp_path):
    note = "The kiosk opens at nine, but on Sundays it is shut all day."
    row = {"prompt": f"Read this. {note} Sum it up.", "context": note, "response": "Shut."}
    assert load_rows(tmp_path, row).prompts == [row["prompt"]]
    # An Alpaca input is apart even where the instruction happens to hold it.
    row = {"instruction": "Spell the word cat.", "input": "cat", "output": "c, a, t"}
    assert load_rows(tmp_path, row).prompts == ["Spell the word cat.\n\ncat"]


def test_missing_contexts_join_nothing(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(
        '{"question": "a", "context": null, "answer": "x"}\n'
        '{"question": "b", "context": NaN, "answer": "x"}\n'
        '{"question": "c", "context": " ", "answer": "x"}\n'
        '{"question": "d", "answer": "x"}\n'
    )
    assert load_dataset(path).prompts == ["a", "b", "c", "d"]


# Refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "column",
    [
        *("hint", "background", "evidence", "options", "Note", "sys", "source", "extra text"),
        *("title", "persona", "knowledge", "few_shot", "suffix", "table"),
    ],
)
def test_text_that_would_not_be_read_is_an_error_with_the_way_out(tmp_path, column):
    rows = asked_about(column)
    with pytest.raises(InputError) as caught:
        load_rows(tmp_path, *rows)
    error = caught.value
    assert error.row == 1
    assert repr(column) in error.what
    assert NOTES[0] in error.what
    assert "`ignore_columns`" in error.remedy
    dataset = load_rows(tmp_path, *rows, ignore_columns=(column,))
    assert len(dataset) == 4
    assert dataset.reading.unread_columns == (column,)


@pytest.mark.parametrize("column", ["hint", "choices", "background"])
def test_a_name_of_the_prompt_is_enough_however_short_the_text(tmp_path, column):
    row = {"question": "Which?", column: ["7", "9"], "answer": "7"}
    with pytest.raises(InputError, match=column):
        load_rows(tmp_path, row)
    # Where the prompt quotes it, it has been read.
    quoted = {**row, "question": "Which of 7 and 9?"}
    assert load_rows(tmp_path, quoted).reading.unread_columns == (column,)


def test_one_filled_cell_among_many_rows_is_seen(tmp_path):
    rows = [{"prompt": f"q{i}", "response": "a", "extra": None} for i in range(3000)]
    rows[2345]["extra"] = "Answer as a pirate would, in one line."
    with pytest.raises(InputError, match=r"'extra'.*pirate") as caught:
        load_rows(tmp_path, *rows)
    assert caught.value.row == 2346


def test_words_that_tell_rows_apart_which_ask_the_same_are_part_of_the_prompt(tmp_path):
    words = ("boat", "dog", "tea", "pier", "coat")
    rows = [{"instruction": "Translate.", "word": w, "output": w[::-1]} for w in words]
    with pytest.raises(InputError, match="'word'"):
        load_rows(tmp_path, *rows)
    rows = [{"instruction": f"Translate {w}.", "word": w, "output": w[::-1]} for w in words]
    assert load_rows(tmp_path, *rows).reading.unread_columns == ("word",)


def test_all_such_columns_are_named_at_once(tmp_path):
    rows = [{**row, "my hint": row["note"]} for row in asked_about("note")]
    with pytest.raises(InputError, match="`ignore_columns` note 'my hint'"):
        load_rows(tmp_path, *rows)


def test_a_long_file_is_refused_after_its_first_thousand_rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [{"prompt": f"q{i}", "response": "a", "hint": f"use {i}"} for i in range(1000)]
    write_jsonl(path, rows)
    with path.open("a") as stream:
        stream.write("{broken\n")
    with pytest.raises(InputError, match="'hint'"):
        load_dataset(path)


def test_text_within_objects_and_lists_is_seen(tmp_path):
    rows = [
        {"prompt": f"q{i}", "response": "a", "passages_found": [{"body": f"{note} {i}"}]}
        for i, note in enumerate(NOTES)
    ]
    with pytest.raises(InputError, match="passages_found"):
        load_rows(tmp_path, *rows)


def test_scripts_without_spaces_have_words_too(tmp_path):
    notes = ("売店は九時に開きます", "船は正午に出発します", "桟橋は三月に閉まります")
    rows = [{"prompt": f"q{i}", "response": "a", "memo": note} for i, note in enumerate(notes)]
    with pytest.raises(InputError, match="'memo'"):
        load_rows(tmp_path, *rows)


# Not refused ------------------------------------------------------------------------------------


def test_what_is_about_a_row_is_named_and_no_error(tmp_path):
    rng = random.Random(0)
    rows = [
        {
            "prompt": f"question {i}",
            "response": f"answer {i}",
            "id": f"row {i} of the file of rows",
            "prompt_id": f"{rng.getrandbits(128):032x}",
            "source": rng.choice(("web", "a book of many pages")),
            "url": f"https://example.org/{i}?a=b c d e f",
            "date": "on the first of May 2020",
            "score": rng.random(),
            "tokens": str(i),
            "model": "some model with a long name",
            "topic": rng.choice(("cats", "dogs", "the weather")),
            "license": "a licence with many words in it",
            "metadata": {"note": f"words of the annotator about row {i}"},
            "constant": "the same sentence in all the rows",
            "is_long": i % 2 == 0,
            "vector": [0.5, 0.25],
        }
        for i in range(60)
    ]
    reading = load_rows(tmp_path, *rows).reading
    assert reading.unread_columns == tuple(rows[0])[2:]
    assert reading.notes == (
        "The column 'is_long' is not read; it is false in 30 of 60 rows, which are learnt as the "
        "others are.",
    )


def test_a_column_that_repeats_what_is_read_is_no_error(tmp_path):
    asked, good, bad = "Where is the old pier now?", "At the end of the road.", "I do not know it."
    chosen, rejected = [user(asked), assistant(good)], [user(asked), assistant(bad)]
    row = {"prompt": asked, "chosen": chosen, "rejected": rejected, "messages": chosen}
    dataset = load_rows(tmp_path, row, row)
    assert dataset.reading.unread_columns == ("messages",)
    dataset = load_rows(tmp_path, {"prompt": asked, "messages": chosen})
    assert dataset.reading.unread_columns == ("prompt",)
    derived = [
        {
            "instruction": f"Add the numbers {i} and two.",
            "input": "Write words." if i % 2 else "",
            "output": f"It is {i + 2}.",
            "text": f"Below is an instruction.\n\n### Instruction:\nAdd the numbers {i} and two."
            + ("\n\n### Input:\nWrite words." if i % 2 else "")
            + f"\n\n### Response:\nIt is {i + 2}.",
        }
        for i in range(40)
    ]
    assert load_rows(tmp_path, *derived).reading.unread_columns == ("text",)


@pytest.mark.parametrize("column", ["prompt", "instruction", "question"])
def test_another_prompt_beside_a_dialogue_is_an_error(tmp_path, column):
    row = {column: "Talk like a pirate.", "messages": [user("hi"), assistant("ho")]}
    with pytest.raises(InputError, match=repr(column)):
        load_rows(tmp_path, row)


def test_known_layouts_keep_their_own_columns(tmp_path):
    code = {"prompt": "def f():", "canonical_solution": "    return 1"}
    test = "def check(candidate):\n    assert candidate() == 1 or not candidate()"
    assert len(load_rows(tmp_path, {**code, "test": test}, {**code, "test": f"{test} + 1"})) == 2


def test_keys_of_turns_are_read_or_named(tmp_path):
    notes = ("spoken with much joy in it", "spoken with some doubt in it")
    rows = [
        {"messages": [{**user("hi"), "tone": note, "time": "now"}, assistant("ho")]}
        for note in notes
    ]
    with pytest.raises(InputError, match=r"'messages\.tone'"):
        load_rows(tmp_path, *rows)
    reading = load_rows(tmp_path, *rows, ignore_columns=("messages.tone",)).reading
    assert reading.unread_columns == ("messages.tone", "messages.time")


def test_a_category_that_is_a_long_text_is_no_category(tmp_path):
    passages = [
        f"{note} So says the board beside the pier, and so does the warden." for note in NOTES
    ]
    rows = asked_about("category", notes=passages)
    with pytest.raises(InputError, match="the column 'category' would not be read"):
        load_rows(tmp_path, *rows)
    reading = load_rows(tmp_path, *rows, ignore_columns=("category",)).reading
    assert reading.unread_columns == ("category",)
    kinds = [f"{note} That is a kind." for note in NOTES]
    dataset = load_rows(tmp_path, *asked_about("category", notes=kinds))
    assert [example.category for example in dataset.examples] == kinds
    assert dataset.reading.unread_columns == ()


# ignore_columns ----------------------------------------------------------------------------------


def test_a_column_to_ignore_must_be_there(tmp_path):
    row = {"question": "q", "context": "c", "answer": "a"}
    with pytest.raises(InputError, match=r"no column 'contxt' to ignore. Did you mean context"):
        load_rows(tmp_path, row, ignore_columns=("contxt",))
    dataset = load_rows(tmp_path, row, ignore_columns=("context",))
    assert dataset.prompts == ["q"]
    assert dataset.reading.unread_columns == ("context",)
    with pytest.raises(InputError, match="no column 'context' to ignore"):
        load_dataset("builtin:safety", ignore_columns=("context",))


def test_an_answer_to_choose_by_ignoring_the_other(tmp_path):
    row = {"question": "q", "output": "a", "answer": "b"}
    with pytest.raises(InputError, match="could each be the response"):
        load_rows(tmp_path, row)
    assert load_rows(tmp_path, row, ignore_columns=("answer",)).responses == ["a"]


# Mixed files -------------------------------------------------------------------------------------


def test_rows_are_read_by_their_own_columns(tmp_path):
    dataset = load_rows(
        tmp_path,
        {"prompt": "a", "response": "1"},
        {"messages": [user("b"), assistant("2")]},
        {"question": "c", "answer": "3"},
        {"prompt": "d", "input": "e", "response": "4", "id": 7},
        {"prompt": "f", "chosen": "5", "rejected": "6"},
    )
    assert dataset.prompts == ["a", "b", "c", "d\n\ne", "f"]
    assert dataset.responses == ["1", "2", "3", "4", "5"]
    assert dataset.reading.unread_columns == ("id",)


def test_a_table_of_two_layouts_is_read_by_what_a_row_fills(tmp_path):
    turns = json.dumps([user("b"), assistant("2")])
    rows = [
        {"question": "a", "answer": "1", "instruction": "", "output": "", "messages": ""},
        {"question": "", "answer": "", "instruction": "c", "output": "3", "messages": ""},
        {"question": "", "answer": "", "instruction": "", "output": "", "messages": turns},
    ]
    dataset = load_dataset(write_csv(tmp_path / "rows.csv", rows))
    assert (dataset.prompts, dataset.responses) == (["a", "c", "b"], ["1", "3", "2"])
    rows[0]["output"] = "another answer"
    with pytest.raises(InputError, match="could each be the response") as caught:
        load_dataset(write_csv(tmp_path / "rows.csv", rows))
    assert "'output', 'answer'" in caught.value.what
