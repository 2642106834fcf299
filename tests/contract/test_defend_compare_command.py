"""The contract of ``finebound defend --compare``: an experiment in, the plane out."""

import json
from pathlib import Path

import pytest

from finebound.cli import main

FILES = {
    "defences.json", "defences.html", "linearised.json", "setting.json", "points", "checked"
}  # fmt: skip


@pytest.fixture(scope="module")
def finished(tiny_model_folder, tmp_path_factory) -> Path:
    from llm_validation.experiments.config import experiment_of
    from llm_validation.experiments.validation import validate

    folder = tmp_path_factory.mktemp("finished")
    content = {
        "name": "tiny",
        "model": str(tiny_model_folder),
        "safety": "builtin:safety",
        "tasks": {"general": "builtin:task-general"},
        "methods": {"lora": {"rank": 1, "targets": ["v_proj"]}},
        "rows": {"safety": 4, "task": 4, "held_out": 4, "max_length": 250},
        "alignment": {
            "steps": 3, "learning_rate": 0.01, "batch_size": 2,
            "method": {"kind": "lora", "rank": 1, "targets": ["v_proj"]},
        },
        "training": {
            "steps": 2, "learning_rate": 0.01, "batch_size": 2, "evaluate_at": [0.0, 0.5, 1.0]
        },
        "grid": [{"tasks": ["general"], "unconstrained": True, "radius": [0.05]}],
        "landscape": None, "forecast": None, "generations": None,
    }  # fmt: skip
    validate(experiment_of(content), folder / "out", cache=folder / "cache")
    return folder / "out"


def run(capsys, *arguments):
    code = main(["defend", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture(scope="module")
def compared(finished, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("compared") / "out"
    methods = ("--methods", "lora-scaling", "ptst", "grid")
    arguments = ("--compare", finished, "--out", out, *methods)
    assert main(["defend", *map(str, arguments), "--prompts", "2", "--max-new-tokens", "4"]) == 0
    return out


def test_the_record(capsys, finished, compared):
    assert {file.name for file in compared.iterdir() if file.name != ".lock"} == FILES
    found = json.loads((compared / "defences.json").read_text())
    assert {place["family"] for place in found["places"]} == {
        "undefended", "radius", "lora-scaling", "ptst"
    }  # fmt: skip
    for place in found["places"]:
        for name in ("gain", "rise"):
            assert place[name]["lower"] <= place[name]["estimate"] <= place[name]["upper"]
        for point in place["seeds"]:
            assert {"training_steps", "harmful_rows", "extra_seconds", "other"} <= set(
                point["budget"]
            )
            assert isinstance(point["gate"]["passed"], bool)
    assert found["frontiers"][0]["statement"] == "T10"
    assert found["frontiers"][0]["status"] in ("VACUOUS", "EXACT", "CERTIFIED")
    assert found["manifest"]["given"]["prompts"] == 2
    assert set(found["manifest"]["inputs"]) == {
        "aligned", "safety.held-out", "task.general.held-out"
    }  # fmt: skip
    # The same command again reads what is there, and prints it alone.
    methods = ("--methods", "lora-scaling", "ptst", "grid")
    asked = ("--prompts", "2", "--max-new-tokens", "4")
    code, printed, _ = run(
        capsys, "--compare", finished, "--out", compared, *methods, *asked, "--json"
    )
    assert code == 0
    again = json.loads(printed)
    assert again["places"] == found["places"]
    assert again["scores"] == found["scores"]


def test_the_table(capsys, finished, tmp_path):
    code, printed, _ = run(
        capsys, "--compare", finished, "--out", tmp_path / "out", "--methods", "lora-scaling",
        "--prompts", "0",
    )  # fmt: skip
    assert code == 0
    text = " ".join(printed.split())
    for word in ("undefended 100%", "lora-scaling", "hypervolume", "T10", "WiSE-FT", "Written:"):
        assert word in text


def test_what_does_not_apply_is_told_and_the_others_go_on(capsys, finished, tmp_path):
    """Of two modules neither half nor a tenth can be pruned away by a rule on other modules."""
    harmful = tmp_path / "harmful.jsonl"
    harmful.write_text(json.dumps({"prompt": "Lay out a plan.", "response": "Sure."}) + "\n")
    given = ("--harmful", harmful, "--methods", "antidote", "safe-merge", "--prompts", "0")
    code, printed, _ = run(
        capsys, "--compare", finished, "--out", tmp_path / "out", *given, "--json"
    )
    assert code == 0
    found = json.loads(printed)
    assert len(found["places"]) + len(found["not_applicable"]) == 2 + 3 + 3
    assert found["manifest"]["inputs"]["harmful"]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--compare", "NOTHING", "--out", "OUT"], "no finished experiment"),
        (["--compare", "FINISHED", "--out", "OUT", "--task", "code"], "no task"),
        (["--compare", "FINISHED", "--out", "OUT", "--prompts", "-1"], "--prompts is -1"),
        (["--compare", "FINISHED", "--out", "OUT", "--max-new-tokens", "0"], "--max-new-tokens"),
        (["--compare", "FINISHED", "--out", "FINISHED"], "another folder"),
        (
            ["--compare", "FINISHED", "--out", "OUT", "--methods", "ptst", "--harmful", "x.jsonl"],
            "only antidote",
        ),
        (["--compare", "FINISHED", "--out", "OUT", "--base", "NOTHING"], "as --base"),
    ],
)
def test_wrong_input_is_one_paragraph_and_writes_nothing(capsys, finished, tmp_path, options, word):
    (tmp_path / "nothing").mkdir()
    places = {
        "FINISHED": finished, "OUT": tmp_path / "out", "NOTHING": tmp_path / "nothing"
    }  # fmt: skip
    before = {file: file.stat().st_mtime_ns for file in finished.rglob("*") if file.is_file()}
    code, printed, told = run(capsys, *(places.get(o, o) for o in options))
    assert (code, printed) == (2, "")
    assert word in told
    assert "Traceback" not in told
    assert not (tmp_path / "out").exists()
    assert before == {f: f.stat().st_mtime_ns for f in finished.rglob("*") if f.is_file()}


def test_the_help_says_what_it_takes(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["defend", "--compare", "--help"])
    assert ended.value.code == 0
    assert "finished `finebound validate`" in " ".join(capsys.readouterr().out.split())
