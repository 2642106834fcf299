"""What the README's first screen says was forecast and measured is what the record holds."""

import json
from pathlib import Path

import pytest

from paper_figures.drawing import draw_figures

ROOT = Path(__file__).parents[2]
FIGURE = "refusals_forecast"


@pytest.fixture(scope="module")
def readme():
    return " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())


@pytest.fixture(scope="module")
def data():
    file = ROOT / "paper_figures" / "records" / f"{FIGURE}.json"
    return json.loads(file.read_text(encoding="utf-8"))["data"]


@pytest.fixture(scope="module")
def skill(data):
    return {
        (row["quantity"], row["name"], row["calibrated"]): row
        for row in data["skill"]["predictors"]
    }


def percent(share):
    return f"{100 * share:.0f} %"


@pytest.mark.parametrize("run", ["reviews-lora-1e-3", "general-lora-5e-4", "agreeing-lora-1e-3"])
def test_a_fine_tune_is_told_with_its_numbers(readme, data, run):
    (one,) = (entry["refusals"] for entry in data["fine_tunes"] if entry["id"] == run)
    interval = f"({100 * one['lower']:.0f} to {100 * one['upper']:.0f})"
    assert f"{percent(one['said'])} {interval}, measured {percent(one['measured'])}" in readme
    assert f"It refused {percent(one['before'])} of harmful probes" in readme


def test_the_worst_forecast_is_the_worst(data):
    errors = {
        one["id"]: abs(one["refusals"]["said"] - one["refusals"]["measured"])
        for one in data["fine_tunes"]
    }
    assert max(errors, key=errors.get) == "agreeing-lora-1e-3"
    assert len(errors) == 12  # "of the twelve"


def test_the_skill_is_that_of_the_record(readme, data, skill):
    mine, raw = (
        skill["refusals", "coarse unroll (T20)", calibrated] for calibrated in (True, False)
    )
    climatology = skill["refusals", "climatology", True]
    rho = mine["spearman"]
    assert f"{rho['estimate']:.2f} ({rho['lower']:.2f} to {rho['upper']:.2f})" in readme
    assert f"{percent(mine['within_ten']['estimate'])} are right to 10 points" in readme
    assert f"{percent(mine['covered']['estimate'])} of the intervals held" in readme
    assert f"{100 * mine['width']:.0f} points wide on average ({100 * raw['width']:.0f}" in readme
    less = 1 - mine["interval_score"] / climatology["interval_score"]
    assert f"{percent(less)} less of Winkler's interval score" in readme
    pairs, fine_tunes = data["skill"]["pairs"], data["skill"]["fine_tunes"]
    assert f"{fine_tunes} fine-tunes of a packaged aligned model in {pairs} pairs" in readme


def test_the_picture_is_the_figure_of_the_record(tmp_path):
    draw_figures([FIGURE], tmp_path)
    shown = ROOT / "docs" / "images" / f"{FIGURE}.png"
    assert (tmp_path / shown.name).read_bytes() == shown.read_bytes()
