"""What the commands say of how their data were read: on stderr, in JSON, or by a refusal."""

from __future__ import annotations

import json

import pytest
from data_files import assistant, user, write_jsonl

from finebound.cli import main

NOTES = {"safety": ("The kiosk opens at nine.", "Boats leave at noon.", "The pier is shut.")}
NOTES["task"] = ("Bring a coat.", "No dogs on the sand.", "Tea is free on Sundays.")


def run(capsys, *arguments):
    code = main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def files(tmp_path, column):
    return {
        role: write_jsonl(
            tmp_path / f"{role}.jsonl",
            [
                {"question": "Sum up the note.", column: note, "answer": note[:8], "id": i}
                for i, note in enumerate(notes)
            ],
        )
        for role, notes in NOTES.items()
    }


def test_the_same_question_on_other_texts_is_no_conflict(capsys, tmp_path):
    data = files(tmp_path, "context")
    code, out, err = run(
        capsys, "estimate", "--safety", data["safety"], "--task", data["task"], "--json"
    )
    assert code == 0
    found = json.loads(out)
    assert found["shared_prompts"] == {"shared": 0, "conflicting": 0}
    assert found["reading"]["task"]["unread_columns"] == ["id"]
    assert "note: task data: Columns not read: 'id'." in err
    assert "note: safety data: The prompt is 'question' with 'context' below it" in err


def test_an_unread_text_is_a_refusal_and_ignoring_it_is_said(capsys, tmp_path):
    data = files(tmp_path, "remark")
    given = ("estimate", "--safety", data["safety"], "--task", data["task"], "--out")
    code, out, err = run(capsys, *given, tmp_path / "out")
    assert (code, out) == (2, "")
    assert "'remark'" in err
    assert not (tmp_path / "out" / "estimate.json").exists()
    code, out, err = run(capsys, *given, tmp_path / "out", "--ignore-columns", "remark", "--json")
    assert code == 0
    found = json.loads(out)
    assert found["reading"]["safety"]["unread_columns"] == ["id", "remark"]
    assert found["shared_prompts"]["conflicting"] == 1
    code, _, err = run(capsys, *given, tmp_path / "out", "--ignore-columns", "remark", "nowhere")
    assert code == 2
    assert "'nowhere'" in err


def test_one_name_to_ignore_may_be_of_one_file(capsys, tmp_path):
    data = files(tmp_path, "remark")
    code, _, err = run(
        capsys,
        "estimate",
        "--safety",
        "builtin:safety",
        "--task",
        data["task"],
        "--ignore-columns",
        "remark",
    )
    assert code == 0, err
    assert "task data: Columns not read: 'id', 'remark'." in err


@pytest.mark.parametrize(
    "bad",
    [
        {"prompt": "Where is the pier?", "completion": "Go away.", "label": False},
        {"messages": [user("Where is the pier?"), assistant("Go away.", weight=0)]},
    ],
)
def test_the_loss_is_of_the_answers_to_learn(capsys, tmp_path, tiny_model_folder, bad):
    good = {"messages": [user("When is high tide?"), assistant("At six.")]}
    losses = {}
    for name, rows in (("alone", [good]), ("marked", [good, bad, bad])):
        code, out, err = run(
            capsys,
            "evaluate",
            "loss",
            "--model",
            tiny_model_folder,
            "--data",
            write_jsonl(tmp_path / f"{name}.jsonl", rows),
            "--json",
        )
        assert code == 0, err
        losses[name] = json.loads(out)
    assert losses["marked"]["rows"] == 1
    assert losses["marked"]["per_token"] == losses["alone"]["per_token"]
    (left_out,) = losses["marked"]["reading"]["data"]["left_out"]
    assert (left_out["count"], left_out["rows"]) == (2, [2, 3])
    assert "2 rows are left out" in err


def test_rows_without_an_answer_are_left_out_when_asked(capsys, tmp_path, tiny_model_folder):
    rows = [
        {"messages": [user("When is high tide?"), assistant("At six.")]},
        {"messages": [{"role": "system", "content": "Be kind."}]},
    ]
    given = ("evaluate", "loss", "--model", tiny_model_folder, "--json", "--data")
    file = write_jsonl(tmp_path / "rows.jsonl", rows)
    code, out, err = run(capsys, *given, file)
    assert (code, out) == (2, "")
    assert f"{file}, row 2" in err
    code, out, err = run(capsys, *given, file, "--drop-unusable")
    assert code == 0
    assert json.loads(out)["rows"] == 1
    assert "row 2" in err
