"""Every evaluation that reads a dataset's columns takes the remedy that its error names."""

from __future__ import annotations

import json

import pytest

from finebound.cli import main

ROWS = [
    {"prompt": f"Say {word} please.", "response": word, "hint": f"Think of the word {word} twice."}
    for word in ("one", "two", "three", "four")
]
DATA = {
    "refusal": "--prompts",
    "reliability": "--data",
    "translation": "--data",
}


def run(capsys, verb, folder, *more):
    data, answers = folder / "data.jsonl", folder / "answers.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    kept = [{**row, "uncertainty": 1.0} for row in ROWS]
    for row in kept:
        del row["hint"]
    answers.write_text("".join(json.dumps(row) + "\n" for row in kept))
    flags = (DATA[verb], str(data))
    code = main(["evaluate", verb, "--responses", str(answers), *flags, "--json", *more])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize("verb", DATA)
def test_the_remedy_for_an_unread_column_works(capsys, tmp_path, verb):
    code, _, err = run(capsys, verb, tmp_path)
    assert code == 2
    assert "--ignore-columns hint" in err
    code, out, _ = run(capsys, verb, tmp_path, "--ignore-columns", "hint")
    assert code == 0
    assert json.loads(out)


@pytest.mark.parametrize("verb", DATA)
def test_a_column_that_is_not_there_is_named(capsys, tmp_path, verb):
    code, _, err = run(capsys, verb, tmp_path, "--ignore-columns", "hint", "hnit")
    assert code == 2
    assert "no column 'hnit'" in err


@pytest.mark.parametrize("verb", ["refusal", "reliability"])
def test_columns_of_nothing_are_not_ignored(capsys, tmp_path, verb):
    answers = tmp_path / "answers.jsonl"
    answers.write_text(json.dumps({"prompt": "a", "response": "b"}) + "\n")
    code = main(["evaluate", verb, "--responses", str(answers), "--ignore-columns", "hint"])
    assert code == 2
    assert f"columns of {DATA[verb]}" in capsys.readouterr().err
