"""An experiment keeps to its minutes on a slower machine, and to what it chose once."""

from __future__ import annotations

import json

import pytest

from finebound.base.errors import InputError
from llm_validation.experiments import sizing
from llm_validation.experiments.config import expand, experiment_of, read_experiment
from llm_validation.experiments.sizing import SHARES, SIZE, Speed, fitted, resized, seconds_of
from llm_validation.experiments.validation import validate


class FakeClock:
    """A machine on which everything that is timed takes so many seconds."""

    def __init__(self, seconds):
        self.now, self.seconds, self.readings = 0.0, seconds, 0

    def __call__(self):
        self.readings += 1
        self.now += self.seconds
        return self.now


@pytest.fixture
def timed(content):
    return experiment_of(
        {
            **content,
            "rows": {"safety": 40, "task": 40, "proxy": 40, "held_out": 20},
            "alignment": {"steps": 60, "learning_rate": 0.01, "batch_size": 4, "warmup": 10},
            "training": {**content["training"], "steps": 40},
            "fit_minutes": 2,
        }
    )


def test_a_fast_machine_changes_nothing(timed, tmp_path, capsys):
    found = fitted(timed, tmp_path, clock=FakeClock(1e-4))
    assert found == timed.model_copy(update={"fit_minutes": None})
    assert capsys.readouterr().err == ""
    assert json.loads((tmp_path / SIZE).read_text())["share"] == 1.0
    assert [r.sha256 for r in expand(found)] == [r.sha256 for r in expand(timed)]


def test_a_slow_machine_makes_fewer_steps_of_fewer_rows_and_says_so(timed, tmp_path, capsys):
    # A step of 3 rows in half a second.
    found = fitted(timed, tmp_path, clock=FakeClock(0.5))
    record = json.loads((tmp_path / SIZE).read_text())
    share = record["share"]
    assert 0.05 < share < 0.9
    assert record["seconds_foreseen"] <= 120 < record["seconds_foreseen"] / share * 1.5
    assert record["measured"]["step"] == 0.5
    assert found == resized(timed, share)
    assert found.training["steps"] == int(40 * share)
    assert found.alignment["steps"] == int(60 * share)
    assert found.alignment["warmup"] == int(10 * share)
    assert found.rows.task == max(4, int(40 * share))
    assert [r.id for r in expand(found)] == [r.id for r in expand(timed)]
    told = " ".join(capsys.readouterr().err.split())
    assert "This machine takes 0.5 s a step: to keep to 2 minutes" in told
    assert f"40 steps of a run become {int(40 * share)}" in told


def test_what_was_chosen_is_kept_whatever_the_machine(timed, tmp_path, capsys):
    chosen = fitted(timed, tmp_path, clock=FakeClock(0.5))
    capsys.readouterr()
    fast = FakeClock(1e-4)
    assert fitted(timed, tmp_path, clock=fast) == chosen
    assert fast.readings == 0
    assert capsys.readouterr().err == ""
    other = timed.model_copy(update={"fit_minutes": 50})
    assert fitted(other, tmp_path, clock=fast) == chosen


def test_a_folder_that_was_begun_in_full_stays_so(timed, tmp_path):
    (tmp_path / "prepared.json").write_text("{}")
    slow = FakeClock(100.0)
    assert fitted(timed, tmp_path, clock=slow).training["steps"] == 40
    assert slow.readings == 0


def test_one_that_cannot_be_smaller_says_how_long_it_takes(timed, tmp_path, capsys):
    found = fitted(timed, tmp_path, clock=FakeClock(500.0))
    assert found == resized(timed, SHARES[-1])
    assert (found.rows.safety, found.rows.held_out) == (4, 4)
    assert found.training["steps"] == 2
    assert "cannot be smaller, and will take about" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "{}", '{"share": 2}', '{"share": null}', "[1]"])
def test_a_damaged_choice_is_one_paragraph(timed, tmp_path, text):
    (tmp_path / SIZE).write_text(text)
    with pytest.raises(InputError, match="size that the experiment began with") as caught:
        fitted(timed, tmp_path)
    assert caught.value.file == str(tmp_path / SIZE)


def test_twice_the_seconds_are_foreseen_of_a_machine_half_as_fast(timed):
    tokens = dict.fromkeys(
        ("safety", "safety.held-out", "task.general", "task.general.held-out", "proxy.original",
         "proxy.same-teacher"), 50.0,
    )  # fmt: skip
    speed = Speed(load=1.0, step=1.0, train=0.01, read=0.003)
    half = Speed(load=2.0, step=2.0, train=0.02, read=0.006)
    whole = seconds_of(timed, tokens, speed)
    assert seconds_of(timed, tokens, half) == pytest.approx(2 * whole)
    shares = [seconds_of(resized(timed, share), tokens, speed) for share in SHARES]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] < 0.4 * whole


def test_an_experiment_is_made_and_resumed_in_the_size_that_was_chosen(
    content, tmp_path, monkeypatch
):
    small = {
        **content, "fit_minutes": 1, "landscape": None, "forecast": None, "generations": None,
        "alignment": None, "grid": [{"tasks": ["general"], "unconstrained": True}],
        "training": {**content["training"], "steps": 30},
        "rows": {"safety": 30, "task": 30, "proxy": 10, "held_out": 8},
    }  # fmt: skip
    slow = FakeClock(2.0)
    monkeypatch.setattr(
        sizing.fitted, "__kwdefaults__", {**sizing.fitted.__kwdefaults__, "clock": slow}
    )
    out = tmp_path / "out"
    found = validate(experiment_of(small), out)
    share = json.loads((out / SIZE).read_text())["share"]
    assert share < 1.0
    (run,) = found.runs
    assert run.steps == max(2, int(30 * share)) < 30
    readings = slow.readings
    again = validate(experiment_of(small), out)
    assert slow.readings == readings
    assert again.runs == found.runs
    # The written configuration is the one that was made: it fits no second time.
    written = json.loads((out / "experiment.json").read_text())
    assert written["fit_minutes"] is None
    assert written["training"]["steps"] == run.steps


def test_the_presets_for_small_machines_name_their_minutes():
    assert read_experiment("smoke").fit_minutes == 2
    assert read_experiment("small").fit_minutes == 25
    assert read_experiment("paper_orca").fit_minutes is None


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--minutes", "0"), "--minutes is 0"),
        (("--minutes", "3", "--full-size"), "both given"),
        (("--memory", "-1"), "--memory is -1"),
    ],
)
def test_a_wrong_size_is_refused(options, word, capsys, tmp_path):
    from finebound.cli import main

    assert main(["validate", "smoke", "--out", str(tmp_path / "out"), *options]) == 2
    assert word in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
