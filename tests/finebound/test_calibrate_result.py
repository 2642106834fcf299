"""A calibrated strategy: its record, its words, its table."""

import json

import pytest

from finebound.cli import main
from finebound.results import registry
from finebound.results.calibrate import CalibrateResult


@pytest.mark.parametrize(
    ("budget", "code", "says"),
    [
        ("0.1", 0, "loss constraint, lam "),
        ("0", 1, "No loss strategy keeps the budget of 0 nats: the strictest of the range"),
    ],
)
def test_the_record_is_read_written_and_shown(capsys, tmp_path, budget, code, says):
    problem = tmp_path / "problem.json"
    content = {"kind": "constants", "capability_gap_at_aligned": 1.0, "loss_range": 9, "tv": 0}
    problem.write_text(json.dumps(content))
    arguments = ["calibrate", "--problem", str(problem), "--budget", budget]
    assert main([*arguments, "--out", str(tmp_path)]) == code
    printed = capsys.readouterr().out
    result = registry.load(tmp_path / "calibrate.json")
    assert isinstance(result, CalibrateResult)
    assert (result.to_json() + "\n").encode() == (tmp_path / "calibrate.json").read_bytes()
    assert printed == result.summary() + "\n"
    assert says in printed
    assert result.table().rows[-1] == ("budget", float(budget))
    assert sum(value for _, value in result.table().rows[:-2]) == pytest.approx(result.reached)
    assert result.plot().axes
    assert "<table>" in result._repr_html_()
