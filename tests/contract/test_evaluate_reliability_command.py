"""The contract of ``finebound evaluate reliability``: uncertainties in, referral out, refusals."""

import json

import pytest

from finebound.cli import main


def run(capsys, *arguments):
    code = main(["evaluate", "reliability", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def rows():
    """Ten answers: the five that are right are the five least uncertain."""
    return [
        {"id": f"q{n}", "score": float(n < 5), "uncertainty": n, "confidence": 1 - n / 10}
        for n in range(10)
    ]


def test_uncertainties_measured_elsewhere(capsys, tmp_path, rows):
    path = write(tmp_path / "lora.jsonl", rows[::-1])
    code, out, _ = run(capsys, "--responses", path, "--json", "--out", tmp_path / "out")
    assert code == 0
    content = json.loads(out)
    assert content["label"] == "lora"
    assert content["uncertainty"] == {"mean": 4.5, "unit": None}
    assert [each["referred"] for each in content["referral"]] == [0.0, 0.2, 0.4, 0.6, 0.8]
    assert [each["score"] for each in content["referral"]] == pytest.approx(
        [0.5, 0.625, 5 / 6, 1.0, 1.0]
    )
    assert content["auarc"] == pytest.approx(content["auarc_oracle"])
    low, high = content["gain_interval"]
    assert 0.0 < low < content["gain"] < high
    errors = content["calibration"]["answers"]
    assert errors["width"]["error"] == pytest.approx(0.25)
    assert set(errors) == {"width", "mass"}
    assert content["calibration"]["tokens"] is None
    record = json.loads((tmp_path / "out" / "reliability.json").read_text())
    assert record["summary"] == content
    assert record["items"][0] == {
        "id": "q9", "category": None, "score": 0.0, "uncertainty": 9.0,
        "confidence": pytest.approx(0.1),
    }  # fmt: skip
    assert set(record["manifest"]["inputs"]) == {"responses"}


def test_records_can_be_compared(capsys, tmp_path, rows):
    for name in ("base", "lora"):
        write(tmp_path / f"{name}.jsonl", rows)
        code, _, _ = run(
            capsys, "--responses", tmp_path / f"{name}.jsonl", "--out", tmp_path / name
        )
        assert code == 0
        rows[7]["score"] = 0.5
    code = main(["compare", str(tmp_path / "base"), str(tmp_path / "lora"), "--json"])
    assert code == 0
    assert "reliability" in capsys.readouterr().out


def test_other_percentages_and_a_table(capsys, tmp_path, rows):
    rows[0] |= {"score": None, "uncertainty": None}
    path = write(tmp_path / "a.jsonl", rows)
    code, out, _ = run(capsys, "--responses", path, "--referral", "0", "50", "--bins", "2")
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    assert ["0", "%", "10", "0.400"] in [line[:4] for line in lines]
    assert ["50", "%", "5", "0.800"] in [line[:4] for line in lines]
    assert "1 of 10 answers failed" in out
    assert "in bins of equal mass" in out


def test_answers_are_scored_against_a_dataset(capsys, tmp_path):
    data = [{"prompt": f"Question {n}?", "response": f"word{n} and more"} for n in range(4)]
    answers = [{**row, "uncertainty": n} for n, row in enumerate(data)]
    answers[3]["response"] = "nothing like it"
    write(tmp_path / "data.jsonl", data)
    path = write(tmp_path / "answers.jsonl", answers[::-1])
    code, out, err = run(
        capsys, "--responses", path, "--data", tmp_path / "data.jsonl", "--metric", "chrf", "--json"
    )
    assert code == 0
    content = json.loads(out)
    assert content["referral"][-1]["score"] == pytest.approx(100.0)
    assert 75.0 < content["referral"][0]["score"] < 100.0
    assert content["calibration"]["answers"] is None
    assert "realigned" in err


def test_a_model_and_its_adapter(capsys, tmp_path, tiny_model_folder):
    from llm_validation.models.adapters import attach_lora
    from llm_validation.models.loading import load_model

    loaded = load_model(str(tiny_model_folder))
    wrapped = attach_lora(loaded.model, rank=2, alpha=4, targets=("q_proj",), seed=0)
    for name, weights in wrapped.named_parameters():
        if "lora_B" in name:
            weights.data.fill_(0.5)
    wrapped.save_pretrained(tmp_path / "adapter")
    data = [{"prompt": f"Say {n}.", "response": f"It is {n}."} for n in range(6)]
    asked = [
        "--model", tiny_model_folder, "--data", write(tmp_path / "data.jsonl", data),
        "--max-new-tokens", "4", "--cache", tmp_path / "cache", "--rows", "5",
    ]  # fmt: skip
    found = {}
    for name, more in (("plain", []), ("tuned", ["--adapter", tmp_path / "adapter"])):
        code, out, err = run(capsys, *asked, *more, "--json", "--out", tmp_path / name)
        assert code == 0, err
        found[name] = json.loads(out)
        assert found[name]["n"] == 5
        assert found[name]["uncertainty"]["mean"] > 0
        assert found[name]["uncertainty"]["unit"] == "nats/token"
        assert found[name]["calibration"]["tokens"]["width"]["n"] > 5
        record = json.loads((tmp_path / name / "reliability.json").read_text())
        assert len((tmp_path / name / "responses.jsonl").read_text().splitlines()) == 5
        assert ("adapter" in record["manifest"]["inputs"]) == (name == "tuned")
    assert found["plain"]["label"] == "tiny-llama"
    assert found["tuned"]["label"] == "tiny-llama + adapter"
    assert found["tuned"]["uncertainty"]["mean"] != found["plain"]["uncertainty"]["mean"]


BAD = {
    "neither": ([], "either --responses or --model"),
    "no data": (["--model", "packaged"], "--model needs --data"),
    "rows of a file": (["--responses", "a.jsonl", "--rows", "3"], "--rows is for --model"),
    "an adapter of a file": (["--responses", "a.jsonl", "--adapter", "x"], "--adapter is for"),
    "all referred": (["--responses", "a.jsonl", "--referral", "100"], "--referral is 100"),
    "no bins": (["--responses", "a.jsonl", "--bins", "0"], "--bins is 0"),
    "no score": (["--responses", "no_score.jsonl"], "no column 'score'"),
    "confidence of no probability": (["--responses", "high.jsonl"], "row 2: the confidence is 3"),
    "a missing answer": (["--responses", "no_score.jsonl", "--data", "d.jsonl"], "are missing"),
    "no such data": (["--model", "packaged", "--data", "gone.jsonl"], "no such file"),
    "no adapter there": (
        ["--model", "MODEL", "--data", "d.jsonl", "--adapter", "gone"], "there is no adapter here",
    ),
    "too many rows": (["--model", "MODEL", "--data", "d.jsonl", "--rows", "9"], "--rows is 9"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_paragraph(capsys, tmp_path, monkeypatch, rows, tiny_model_folder, case):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.jsonl", rows)
    write(tmp_path / "no_score.jsonl", [{"prompt": "One?", "response": "1", "uncertainty": 1}])
    rows[1]["confidence"] = 3
    write(tmp_path / "high.jsonl", rows)
    write(tmp_path / "d.jsonl", [{"prompt": p, "response": "x"} for p in ("One?", "Two?")])
    arguments, message = BAD[case]
    arguments = [tiny_model_folder if each == "MODEL" else each for each in arguments]
    code, out, err = run(capsys, *arguments, "--out", "out")
    assert (code, out) == (2, "")
    assert message in " ".join(err.split())
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()
