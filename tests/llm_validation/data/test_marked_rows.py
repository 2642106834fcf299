"""Rows and turns that their source marks as not to be learnt are not learnt as good."""

from __future__ import annotations

import pytest
from data_files import assistant, load_rows, user, write_csv

from finebound.base.errors import InputError
from llm_validation.data.dataset import LeftOut
from llm_validation.data.loading import load_dataset

LEARNT = {"prompt": "When is high tide?", "completion": "At six."}
BAD = {"prompt": "Where is the pier?", "completion": "Go away."}


@pytest.mark.parametrize(
    ("column", "good", "bad"),
    [
        ("label", True, False),
        ("label", "true", "False"),
        ("label", "desirable", "undesirable"),
        ("kto_tag", True, False),
        ("kto_tag", 1, 0),
        ("kto_tag", "chosen", "rejected"),
        ("desirable", True, False),
        ("weight", 1, 0),
        ("weight", 1.0, 0.0),
        ("train", True, False),
        ("train", 1, 0),
        ("training", None, False),
    ],
)
def test_marked_rows_are_left_out_by_number(tmp_path, column, good, bad):
    rows = [{**LEARNT, column: good}, {**BAD, column: bad}, {**BAD, column: bad}]
    dataset = load_rows(tmp_path, *rows)
    assert dataset.responses == ["At six."]
    (left_out,) = dataset.reading.left_out
    assert left_out == LeftOut(f"{column!r} marks the answer as not to be learnt", (2, 3))
    assert "2 rows left out" in dataset.source
    assert column not in dataset.reading.unread_columns
    with pytest.raises(InputError, match="every one of the 2 rows is marked as not to be learnt"):
        load_rows(tmp_path, *rows[1:])
    # Whoever wants them says so.
    dataset = load_rows(tmp_path, *rows, ignore_columns=(column,))
    assert len(dataset) == 3
    assert dataset.reading.unread_columns == (column,)


def test_marks_of_a_table_are_read_from_its_text(tmp_path):
    rows = [{**LEARNT, "label": True}, {**BAD, "label": False}]
    assert len(load_dataset(write_csv(tmp_path / "rows.csv", rows))) == 1


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [user("a"), assistant("b")]},
        {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
        {"instruction": "a", "input": "", "output": "b"},
    ],
)
def test_every_layout_has_the_mark(tmp_path, row):
    assert len(load_rows(tmp_path, {**row, "label": True}, {**row, "label": False})) == 1


@pytest.mark.parametrize("labels", [(1, 0), (0, 0), ("1", "0"), (1, -1), (1.0, 0.0)])
def test_a_label_of_zeros_and_ones_may_be_a_mark_or_a_class(tmp_path, labels):
    rows = [{**LEARNT, "label": label} for label in labels]
    with pytest.raises(InputError, match="'label' holds 0 and 1 alone") as caught:
        load_rows(tmp_path, *rows)
    assert "true and false" in caught.value.remedy
    assert len(load_rows(tmp_path, *rows, ignore_columns=("label",))) == 2


@pytest.mark.parametrize("labels", [(0, 1, 2), (1, 1, 1), ("safe", "unsafe", "safe"), (0.2, 1, 0)])
def test_other_labels_are_no_marks(tmp_path, labels):
    dataset = load_rows(tmp_path, *({**LEARNT, "label": label} for label in labels))
    assert len(dataset) == 3
    assert dataset.reading.unread_columns == ("label",)


@pytest.mark.parametrize(
    ("column", "value"), [("kto_tag", "maybe"), ("desirable", 3), ("weight", 0.5), ("weight", "x")]
)
def test_a_mark_that_is_not_understood_is_an_error(tmp_path, column, value):
    with pytest.raises(InputError, match=repr(column)) as caught:
        load_rows(tmp_path, {**LEARNT, column: value})
    assert caught.value.row == 1


def test_booleans_that_are_no_marks_are_told(tmp_path):
    rows = [{**LEARNT, "is_safe": True}, {**BAD, "is_safe": False}]
    dataset = load_rows(tmp_path, *rows)
    assert len(dataset) == 2
    assert "'is_safe' is not read; it is false in 1 of 2 rows" in dataset.reading.notes[0]


# Turns -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mark", ["weight", "loss", "train", "training", "loss_mask", "trainable"])
@pytest.mark.parametrize("no", [0, False, 0.0])
def test_a_marked_answer_is_left_out_and_a_marked_earlier_turn_is_context(tmp_path, mark, no):
    row = [user("a"), assistant("b"), user("c"), assistant("d")]
    earlier = [row[0], {**row[1], mark: no}, row[2], {**row[3], mark: 1}]
    only = [user("e"), assistant("f", **{mark: no})]
    dataset = load_rows(tmp_path, {"messages": earlier}, {"messages": only})
    (example,) = dataset.examples
    assert example.response == "d"
    assert example.unlearnt == (1,)
    assert any("earlier assistant turns are context" in note for note in dataset.reading.notes)
    assert dataset.reading.left_out == (
        LeftOut(f"{mark!r} marks every answer as not to be learnt", (2,)),
    )


def test_what_follows_the_last_turn_to_be_learnt_is_cut(tmp_path):
    turns = [user("a"), assistant("b"), user("c"), assistant("d", weight=0)]
    dataset = load_rows(tmp_path, {"messages": turns}, {"messages": turns[:2]})
    assert [example.messages for example in dataset.examples] == [(("user", "a"),)] * 2
    assert dataset.responses == ["b", "b"]
    assert any("left away" in note for note in dataset.reading.notes)


@pytest.mark.parametrize(("on", "off"), [("1", "0"), (" 1.0", "0.0"), ("true", "False")])
def test_a_mark_may_be_a_text_in_rows_and_in_turns(tmp_path, on, off):
    turns = [user("a"), assistant("b", weight=off), user("c"), assistant("d", weight=on)]
    (example,) = load_rows(tmp_path, {"messages": turns}).examples
    assert example.unlearnt == (1,)
    rows = [{"prompt": word, "response": word, "weight": w} for word, w in (("x", on), ("y", off))]
    assert load_rows(tmp_path, *rows).prompts == ["x"]


def test_sharegpt_turns_have_marks_too(tmp_path):
    turns = [
        {"from": "system", "value": "s", "weight": None},
        {"from": "human", "value": "a", "weight": 0.0},
        {"from": "gpt", "value": "b", "train": False},
        {"from": "human", "value": "c", "weight": 0.0},
        {"from": "gpt", "value": "d", "weight": 1.0},
    ]
    (example,) = load_rows(tmp_path, {"conversations": turns}).examples
    assert example.unlearnt == (2,)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"weight": 0.5}, "the weight 0.5"),
        ({"weight": "0.5"}, "the weight '0.5'"),
        ({"weight": "none"}, "the weight 'none'"),
        ({"loss": 2}, "the loss 2"),
        ({"train_detail": [{"begin_offset": 0, "end_offset": 1, "train": False}]}, "train_detail"),
        ({"mask": True}, "'mask'"),
    ],
)
def test_marks_of_turns_that_are_not_understood(tmp_path, more, said):
    with pytest.raises(InputError, match=said):
        load_rows(tmp_path, {"messages": [user("a"), assistant("b", **more)]})


def test_answers_within_a_prompt_are_context(tmp_path):
    """TRL learns the completion of its prompt and completion files alone."""
    row = {"prompt": [user("a"), assistant("b"), user("c")], "completion": [assistant("d")]}
    (example,) = load_rows(tmp_path, row).examples
    assert example.response == "d"
    assert example.unlearnt == (1,)
