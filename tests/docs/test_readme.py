"""What the README's first screen says was forecast and measured is what the record holds."""

import json
import re
from pathlib import Path

import pytest

from paper_figures.drawing import draw_figures

ROOT = Path(__file__).parents[2]
FIGURE = "forecast_ranking"


@pytest.fixture(scope="module")
def readme():
    return " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())


@pytest.fixture(scope="module")
def data():
    file = ROOT / "paper_figures" / "records" / f"{FIGURE}.json"
    return json.loads(file.read_text(encoding="utf-8"))["data"]


def told(value, interval):
    low, high = map(float, interval)
    return f"{value:+.2f}", f"({low:.2f} to {high:.2f})"


@pytest.mark.parametrize("run", ["general_none_lora_s0", "general_loss-lam1_original_lora_s0"])
def test_a_run_is_told_with_its_numbers(readme, data, run):
    (entry,) = (
        f for f in data["forecasts"] if f["run"] == run and f["name"] == "coarse unroll (T20)"
    )
    said, said_interval = told(entry["said"], entry["interval"])
    measured, measured_interval = told(entry["measured"], entry["measured_interval"])
    pattern = (
        rf"forecast {re.escape(said)} (nats/token of safety loss )?{re.escape(said_interval)}, "
        rf"measured {re.escape(measured)} {re.escape(measured_interval)}"
    )
    assert re.search(pattern, readme), pattern


def test_the_ranking_and_the_cost_are_those_of_the_record(readme, data):
    (row,) = (row for row in data["ranking"] if row["name"] == "coarse unroll (T20)")
    rho = row["spearman"]
    assert f"{rho['estimate']:.2f} ({rho['lower']:.2f} to {rho['upper']:.2f})" in readme
    assert row["runs"] == 11
    assert 0.09 < row["cost"] < 0.11  # "a tenth of its cost"
    ours = [f for f in data["forecasts"] if f["name"] == "coarse unroll (T20)"]
    holding_zero = [f for f in ours if float(f["interval"][0]) < 0 < float(f["interval"][1])]
    assert len(holding_zero) > len(ours) / 2  # "most of them contain 0"


def test_the_picture_is_the_figure_of_the_record(tmp_path):
    draw_figures([FIGURE], tmp_path)
    shown = ROOT / "docs" / "images" / f"{FIGURE}.png"
    assert (tmp_path / shown.name).read_bytes() == shown.read_bytes()
