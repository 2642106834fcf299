"""Kept answers: what was torn or changed on the disk is answered again, never read."""

import json

import pytest

from finebound.base.errors import InputError
from llm_validation.evaluation.answer_store import AnswerStore, StoredAnswer

ANSWERS = {"a": StoredAnswer("yes", True, 1), "b": StoredAnswer("no", True, 1)}


def test_answers_come_back(tmp_path):
    store = AnswerStore(tmp_path, {"model": "m"})
    store.add(ANSWERS)
    assert dict(store.read()) == ANSWERS


def test_a_changed_answer_is_left_out(tmp_path):
    store = AnswerStore(tmp_path, {"model": "m"})
    store.add(ANSWERS)
    store.path.write_text(store.path.read_text().replace("yes", "yeS"))
    assert dict(store.read()) == {"b": ANSWERS["b"]}
    store.add({"a": ANSWERS["a"]})
    assert dict(store.read()) == ANSWERS


def test_lines_of_an_older_version_are_read_and_torn_ones_are_not(tmp_path):
    store = AnswerStore(tmp_path, {"model": "m"})
    old = json.dumps({"key": "c", "text": "old", "finished": True, "tokens": 1, "error": None})
    store.path.write_text(f"{json.dumps(store.settings)}\n{old}\n{old[:20]}")
    store.add(ANSWERS)
    assert dict(store.read()) == {"c": StoredAnswer("old", True, 1), **ANSWERS}


def test_a_link_in_its_place_is_not_followed(tmp_path):
    store = AnswerStore(tmp_path, {"model": "m"})
    (tmp_path / "precious").write_text("mine")
    store.path.symlink_to(tmp_path / "precious")
    with pytest.raises(InputError, match="cannot be written"):
        store.add(ANSWERS)
    assert (tmp_path / "precious").read_text() == "mine"
