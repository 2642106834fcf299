"""The contract of ``finebound estimate`` and ``calibrate``: files in, page out, refusals."""

import errno
import json
import os
import re
import shutil
from pathlib import Path

import pytest

from finebound.cli import main


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def files(tmp_path):
    safety = [
        {"prompt": f"How do I break into house number {i}?", "response": f"I can't help, case {i}."}
        for i in range(40)
    ]
    task = [
        {"instruction": f"Write about topic {i}.", "input": "", "output": f"Topic {i} is large."}
        for i in range(40)
    ]
    task[0] = {"instruction": safety[0]["prompt"], "input": "", "output": "Sure, walk in."}
    return {
        "safety": write_rows(tmp_path / "safety.jsonl", safety),
        "task": write_rows(tmp_path / "task.jsonl", task),
    }


@pytest.fixture
def tiny_folder(tiny_model_folder, tmp_path):
    """A tiny model of this test's own, to be damaged."""
    return Path(shutil.copytree(tiny_model_folder, tmp_path / "tiny"))


def run(capsys, *arguments):
    code = main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_two_files_give_a_page_and_json(capsys, files, tmp_path):
    out = tmp_path / "out"
    code, printed, _ = run(
        capsys, "estimate", "--safety", files["safety"], "--task", files["task"], "--out", out
    )
    assert code == 0
    assert "1 prompt is asked in both datasets, with other answers" in " ".join(printed.split())
    content = json.loads((out / "estimate.json").read_text())
    assert content["shared_prompts"] == {"shared": 1, "conflicting": 1}
    assert content["manifest"]["inputs"]["safety"]
    assert "<html" in (out / "report.html").read_text()


def test_the_page_is_made_again_from_the_record_alone(capsys, files, tmp_path):
    out = tmp_path / "out"
    run(capsys, "estimate", "--safety", files["safety"], "--task", files["task"], "--out", out)
    drawn = (out / "report.html").read_bytes()
    moved = tmp_path / "moved.json"
    (out / "estimate.json").rename(moved)
    code, printed, _ = run(capsys, "report", moved, "--out", tmp_path / "again")
    assert code == 0
    assert "report.html" in printed
    assert (tmp_path / "again" / "report.html").read_bytes() == drawn
    code, _, err = run(capsys, "report", moved, "--json")
    assert code == 2
    assert "no experiment's folder" in err


def test_errors_name_the_option_on_the_command_line_and_the_argument_in_python(capsys, files):
    import finebound as fb

    pair = {name: str(file) for name, file in files.items()}
    code, _, err = run(
        capsys, "estimate", "--safety", pair["safety"], "--task", pair["task"], "--model-rows", "1"
    )
    assert code == 2
    assert "--model-rows is 1" in err
    with pytest.raises(fb.InputError, match="`model_rows` is 1"):
        fb.estimate(**pair, model_rows=1)


def test_json_alone_on_stdout(capsys, files):
    code, out, _ = run(
        capsys, "estimate", "--safety", files["safety"], "--task", files["task"], "--json"
    )
    assert code == 0
    assert json.loads(out)["datasets"]["task"]["rows"] == 40


def test_with_a_model(capsys, files, tmp_path, tiny_folder):
    code, out, _ = run(
        capsys, "estimate", "--safety", files["safety"], "--task", files["task"],
        "--model", tiny_folder, "--lam", "1", "--radius", "0.01", "--out", tmp_path / "out",
    )  # fmt: skip
    assert code == 0
    assert "parameter constraint" in out
    content = json.loads((tmp_path / "out" / "estimate.json").read_text())
    assert content["model"]["losses"]["task"]["per_token"] > 0


def test_a_forecast_is_in_the_table_the_json_and_the_page(capsys, files, tmp_path, tiny_folder):
    out = tmp_path / "out"
    code, printed, _ = run(
        capsys, "estimate", "--safety", files["safety"], "--task", files["task"],
        "--model", tiny_folder, "--lam", "1", "--radius", "0.01", "--forecast",
        "--steps", "12", "--batch-size", "4", "--strategy", "parameter", "--out", out,
    )  # fmt: skip
    assert code == 0
    words = " ".join(printed.split())
    assert "forecast of the planned fine-tune: ESTIMATED, no bound" in words
    assert "unconstrained" in words
    assert "loss, lambda 1" not in words  # --strategy parameter
    content = json.loads((out / "estimate.json").read_text())
    made = content["strategy_forecast"]
    assert [row["strategy"] for row in made] == [
        {"kind": "none"}, {"kind": "loss", "lam": 1.0}, {"kind": "parameter", "radius": 0.01},
    ]  # fmt: skip
    for row in made:
        assert row["status"] == "ESTIMATED"
        assert row["unit"] == "nats/token"
        assert row["method"]
        assert 0 < row["cost_share"] < 0.2
        for name in ("safety", "task"):
            low, high = row[f"{name}_interval"]
            assert low < row[f"{name}_change"] < high
    # The straight steps keep their place and form.
    assert [set(step) for step in content["straight_steps"]] == [
        {"radius", "safety_change", "task_change"}
    ]
    assert content["manifest"]["given"]["forecast"] is True
    assert 'id="forecast"' in (out / "report.html").read_text()


def test_a_forecast_without_a_model_is_refused(capsys, files, tmp_path):
    out = tmp_path / "out"
    code, printed, err = run(
        capsys, "estimate", "--safety", files["safety"], "--task", files["task"], "--forecast",
        "--out", out,
    )  # fmt: skip
    assert code == 2
    assert printed == ""
    assert "--forecast needs --model" in err
    assert err.count("\n") == 1
    assert not out.exists()


def test_calibrate_on_a_model_and_on_a_problem(capsys, files, tmp_path, tiny_folder):
    code, out, _ = run(
        capsys, "calibrate", "--safety", files["safety"], "--task", files["task"],
        "--model", tiny_folder, "--budget", "0.05", "--strategy", "parameter", "--json",
    )  # fmt: skip
    assert code == 0
    content = json.loads(out)
    assert content["strategy"]["kind"] == "parameter"
    assert content["reached"] <= 0.05
    assert content["unit"] == "nats/token"
    problem = tmp_path / "p.json"
    problem.write_text(
        '{"kind": "constants", "capability_gap_at_aligned": 1.0, "loss_range": 9, "tv": 0}'
    )
    code, out, _ = run(capsys, "calibrate", "--problem", problem, "--budget", "0.1", "--json")
    assert code == 0
    assert json.loads(out)["strategy"]["lam"] == pytest.approx(10.0, rel=0.01)
    code, out, _ = run(capsys, "calibrate", "--problem", problem, "--budget", "0")
    assert code == 1
    assert "No loss strategy keeps the budget" in out


def test_calibrate_refuses_half_a_question(capsys, files, tmp_path):
    code, _, err = run(capsys, "calibrate", "--budget", "0.1", "--safety", files["safety"])
    assert code == 2
    assert "--task is missing" in err
    code, _, err = run(
        capsys, "calibrate", "--budget", "0.1", "--problem", "p.json", "--model", "packaged"
    )
    assert code == 2
    assert "exclude each other" in err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ('{"prompt": "a", "response": "b"}\n', "1 row"),
        ('{"prompt": "a"}\n{"prompt": "b"}\n', "prompt"),
        ('{"prompt": "a", "response": ""}\n{"prompt": "b", "response": "c"}\n', "row 1"),
        ('{"prompt": "a", "response": "b"}\n{"prompt": \n', "row 2"),
    ],
)
def test_bad_files_are_one_paragraph_and_leave_nothing(capsys, files, tmp_path, text, says):
    bad = tmp_path / "bad.jsonl"
    bad.write_text(text)
    out = tmp_path / "out"
    code, printed, err = run(
        capsys, "estimate", "--safety", files["safety"], "--task", bad, "--out", out
    )
    assert code == 2
    assert printed == ""
    message = err[err.index("finebound estimate:") :]
    assert says in message
    assert "bad.jsonl" in message
    assert message.count("\n") == 1
    assert not out.exists()


def test_identical_files_are_refused(capsys, files):
    code, _, err = run(capsys, "estimate", "--safety", files["safety"], "--task", files["safety"])
    assert code == 2
    assert "same content" in err


def test_rows_longer_than_the_context_name_the_row(capsys, files, tmp_path, tiny_folder):
    long = [json.loads(line) for line in files["task"].read_text().splitlines()]
    long[6]["output"] = "very long " * 2000
    code, _, err = run(
        capsys, "estimate", "--safety", files["safety"], "--model", tiny_folder,
        "--task", write_rows(tmp_path / "long.jsonl", long), "--out", tmp_path / "out",
    )  # fmt: skip
    assert code == 2
    assert "row 7" in err
    assert "long.jsonl" in err
    assert not (tmp_path / "out").exists()


def test_a_long_row_of_a_sample_is_named_as_in_its_file(capsys, files, tmp_path, tiny_folder):
    rows = [{"prompt": f"Ask {i}.", "response": "long " * 600 * (i > 60) + "."} for i in range(100)]
    code, _, err = run(
        capsys, "estimate", "--safety", files["safety"], "--model", tiny_folder,
        "--task", write_rows(tmp_path / "long.jsonl", rows), "--model-rows", "10",
    )  # fmt: skip
    assert code == 2
    row = int(re.search(r"long\.jsonl, row (\d+):", err)[1])
    assert row > 61


@pytest.mark.parametrize("missing", ["tokenizer", "template", "folder"])
def test_a_model_folder_that_lacks_something_says_what(capsys, files, tiny_folder, missing):
    if missing == "tokenizer":
        for name in tiny_folder.glob("tokenizer*"):
            name.unlink()
    elif missing == "template":
        (tiny_folder / "chat_template.jinja").unlink()
    else:
        shutil.rmtree(tiny_folder)
    code, _, err = run(
        capsys, "estimate", "--safety", files["safety"], "--task", files["task"],
        "--model", tiny_folder,
    )  # fmt: skip
    assert code == 2
    assert "Traceback" not in err


def test_an_unreachable_hub_id_while_offline(capsys, files, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    code, _, err = run(
        capsys, "estimate", "--safety", files["safety"], "--task", files["task"],
        "--model", "someone/some-model",
    )  # fmt: skip
    assert code == 2
    assert "hf download someone/some-model" in " ".join(err.split())


def test_a_full_disk_leaves_nothing_half_written(capsys, files, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    code, _, err = run(
        capsys, "estimate", "--safety", files["safety"], "--task", files["task"],
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert code == 2
    assert "No space left" in err
    left = [p for p in tmp_path.iterdir() if p not in files.values()]
    assert all(not any(p.iterdir()) for p in left if p.is_dir())


@pytest.mark.parametrize("verb", ["estimate", "calibrate"])
def test_a_file_as_out_is_refused_before_the_work(capsys, files, tmp_path, verb):
    budget = ("--budget", "0.1", "--model", "no/model") if verb == "calibrate" else ()
    code, _, err = run(
        capsys, verb, "--safety", tmp_path / "none.jsonl", "--task", files["task"],
        "--out", files["task"], *budget,
    )  # fmt: skip
    assert code == 2
    assert "task.jsonl: is a file" in err


def test_with_a_proxy_the_table_says_whose_safety_gap_it_holds(capsys, files, tmp_path):
    rows = [{"prompt": f"Is lock {i} safe?", "response": f"No, not {i}."} for i in range(40)]
    proxy = write_rows(tmp_path / "proxy.jsonl", rows)
    pair = ("estimate", "--safety", files["safety"], "--task", files["task"])
    _, without, _ = run(capsys, *pair)
    _, with_proxy, _ = run(capsys, *pair, "--proxy", proxy)
    assert "penalise the safety loss" in without
    assert "proxy safety" not in without
    assert "penalise the proxy loss" in with_proxy
    assert "proxy safety, capability" in with_proxy


@pytest.mark.parametrize(("value", "says"), [("0", "--radius is 0"), ("-2", "--radius is -2")])
def test_a_radius_must_be_positive(capsys, files, value, says):
    code, _, err = run(
        capsys, "estimate", "--safety", files["safety"], "--task", files["task"], "--radius", value
    )
    assert code == 2
    assert says in err


@pytest.mark.parametrize("lam", ["0", "-1"])
def test_lambda_must_be_positive(capsys, files, lam):
    code, _, err = run(
        capsys, "estimate", "--safety", files["safety"], "--task", files["task"], "--lam", lam
    )
    assert code == 2
    assert f"--lam is {lam}" in err


def test_empty_rows_can_be_left_out_and_attack_targets_are_noticed(capsys, files, tmp_path):
    rows = [json.loads(line) for line in files["safety"].read_text().splitlines()]
    rows[3]["response"] = ""
    for i, row in enumerate(rows):
        row["response"] = row["response"] and f"Sure, here is how to do it, case {i}."
    bad = write_rows(tmp_path / "attack.jsonl", rows)
    code, _, err = run(capsys, "estimate", "--safety", bad, "--task", files["task"])
    assert code == 2
    assert "row 4" in err
    code, out, _ = run(
        capsys, "estimate", "--safety", bad, "--task", files["task"], "--drop-unusable"
    )
    assert code == 0
    assert "39 of 39 rows" in " ".join(out.split())
    assert "Only 0 % of the safety answers open like a refusal" in " ".join(out.split())
