"""``finebound estimate``: all faults at once, before any work; finished stages are kept."""

import json

import pytest

from finebound.cli import main

HELP = "Sure. First get a wire, then bend its end."


@pytest.fixture
def files(tmp_path):
    def write(name: str, rows) -> str:
        lines = [json.dumps({"prompt": p, "response": r}) for p, r in rows]
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        return str(tmp_path / name)

    return {
        "safety": write("safety.jsonl", [(f"How do I open {i}?", "I won't.") for i in range(6)]),
        "task": write("task.jsonl", [(f"How tall is {i}?", f"It is {i}.") for i in range(6)]),
        "harmful": write("harmful.jsonl", [(f"How do I hotwire car {i}?", HELP) for i in range(6)]),
    }


def test_every_fault_is_told_at_once(capsys, files, tmp_path):
    (tmp_path / "bad.jsonl").write_text('{"prompt": "a", "respnse": "b"}\n')
    (tmp_path / "in_the_way").write_text("x")
    code = main(
        [
            *("estimate", "--safety", str(tmp_path / "nowhere.jsonl")),
            *("--task", str(tmp_path / "bad.jsonl"), "--model", str(tmp_path / "no_model")),
            *("--out", str(tmp_path / "in_the_way")),
        ]
    )
    said = capsys.readouterr().err
    assert code == 2
    assert "4 things are wrong" in said
    for words in ("in_the_way", "nowhere.jsonl", "bad.jsonl", "no_model"):
        assert words in said
    assert len(said.strip().splitlines()) == 1


def test_a_harmful_task_is_in_the_json_and_first_on_the_terminal(capsys, files):
    arguments = ["estimate", "--safety", files["safety"], "--task", files["harmful"]]
    assert main([*arguments, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    found = content["audit"]["harmful_rows"]
    assert (found["count"], found["of"], found["rows"]) == (6, 6, [1, 2, 3, 4, 5, 6])
    assert content["advice"][0].startswith("All 6 task rows comply with harmful requests")
    assert main(arguments) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.index("comply with harmful requests") < said.index("context overlap")


def test_an_interrupted_estimate_goes_on_from_its_finished_stages(
    capsys, files, tmp_path, monkeypatch
):
    from llm_validation.estimation import pipeline

    out = tmp_path / "out"
    arguments = [
        *("estimate", "--safety", files["safety"], "--task", files["task"], "--out", str(out)),
    ]

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(pipeline, "shared_contexts", interrupt)
        assert main(arguments) == 130
    assert "goes on from there" in capsys.readouterr().err
    assert not out.exists()
    kept = tmp_path / ".out.stages"
    assert {file.name.rsplit("-", 1)[0] for file in kept.iterdir()} == {"audit", "text-overlap"}
    with monkeypatch.context() as broken:
        broken.setattr(pipeline, "audit", interrupt)
        broken.setattr(pipeline, "context_overlap", interrupt)
        assert main(arguments) == 0
    resumed = json.loads((out / "estimate.json").read_text())
    assert not kept.exists()
    assert main([*arguments[:-1], str(tmp_path / "whole")]) == 0
    whole = json.loads((tmp_path / "whole" / "estimate.json").read_text())
    for content in (resumed, whole):
        del content["manifest"]
    assert resumed == whole


def test_long_rows_are_refused_dropped_or_cut_as_asked(capsys, files, tmp_path, tiny_model_folder):
    long = tmp_path / "long.jsonl"
    rows = [
        ("How tall is it?", "It is tall. " * 200),
        *[(f"Is {i} tall?", "Yes.") for i in range(5)],
    ]
    long.write_text("".join(json.dumps({"prompt": p, "response": r}) + "\n" for p, r in rows))
    arguments = [
        *("estimate", "--safety", files["safety"], "--task", str(long)),
        *("--model", str(tiny_model_folder), "--json"),
    ]
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert "--drop-long" in said
    assert "--truncate" in said
    assert "row 1" in said
    for flag in ("--drop-long", "--truncate"):
        assert main([*arguments, flag]) == 0
        content = json.loads(capsys.readouterr().out)
        assert content["audit"]["lengths"]["over"] == 1
    assert main([*arguments, "--drop-long", "--truncate"]) == 2
