"""``finebound evaluate loss``: the model's loss as ``measure_losses`` has it, with intervals."""

from __future__ import annotations

import json

import pytest

from finebound.cli import main

ROWS = [
    {"prompt": f"Ask {k}?", "response": "word " * (1 + k % 5) + "end.", "category": "AB"[k % 2]}
    for k in range(24)
]


def run(capsys, *arguments):
    code = main(["evaluate", "loss", *(str(a) for a in arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def data(tmp_path):
    file = tmp_path / "data.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return file


def test_the_loss_is_the_measured_one(capsys, data, tiny_model_folder, tiny_model, tmp_path):
    from finebound.results.evaluation import EvaluationResult
    from llm_validation.data.encoding import encode
    from llm_validation.data.loading import load_dataset
    from llm_validation.measure.losses import measure_losses

    encoded = encode(load_dataset(str(data)), tiny_model.tokenizer, max_length=512)
    losses = measure_losses(tiny_model.model, encoded, pad_id=tiny_model.tokenizer.pad_token_id)
    out = tmp_path / "out"
    code, printed, _ = run(
        capsys, "--model", tiny_model_folder, "--data", data, "--json", "--out", out
    )
    assert code == 0
    found = json.loads(printed)
    assert found["per_token"] == pytest.approx(losses.per_token, rel=1e-6)
    assert found["mean_over_rows"] == pytest.approx(
        (losses.token_sum / losses.token_count).mean(), rel=1e-6
    )
    low, high = found["per_token_interval"]
    assert low < found["per_token"] < high
    wide_low, wide_high = found["population_interval"]
    assert wide_low < low
    assert wide_high > high
    record = EvaluationResult.load(out / "loss.json")
    assert [item.score for item in record.items] == pytest.approx(
        list(losses.token_sum / losses.token_count), rel=1e-6
    )
    assert [item.category for item in record.items[:3]] == ["A", "B", "A"]


def test_a_sample_says_of_how_many(capsys, data, tiny_model_folder):
    code, printed, _ = run(capsys, "--model", tiny_model_folder, "--data", data, "--rows", "8")
    assert code == 0
    assert "8 of 24 rows" in printed
    assert "nats per token" in printed
    assert "with probability 0.95 (T14" in printed


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--rows", "25"), "has 24 rows"),
        (("--rows", "0"), "--rows is 0"),
        (("--failure-probability", "1"), "--failure-probability is 1"),
        (("--max-length", "4"), "row 1"),
    ],
)
def test_wrong_options_are_refused(capsys, data, tiny_model_folder, tmp_path, arguments, says):
    out = tmp_path / "out"
    code, printed, err = run(
        capsys, "--model", tiny_model_folder, "--data", data, "--out", out, *arguments
    )
    assert code == 2
    assert printed == ""
    assert says in err
    assert not out.exists()
