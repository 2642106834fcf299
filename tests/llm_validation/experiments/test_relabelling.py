"""Records of another version of the detector's rules are labelled anew, and no model is asked."""

from __future__ import annotations

import json
import shutil

import pytest

from finebound.results.evaluation import EvaluationResult
from llm_validation.evaluation.refusal import detectors
from llm_validation.evaluation.refusal.labels import Label
from llm_validation.experiments import behaviour as room
from llm_validation.experiments.config import expand, experiment_of
from llm_validation.experiments.prepare import read_prepared
from llm_validation.experiments.relabelling import relabel
from llm_validation.experiments.run import is_done, run_folder


@pytest.fixture(scope="module")
def done(methods_content, tmp_path_factory):
    """One fine-tune with behaviour, finished; not to be changed."""
    from llm_validation.experiments.validation import validate

    one = {"lora": methods_content["methods"]["lora"]}
    folder = tmp_path_factory.mktemp("relabelling")
    experiment = experiment_of({**methods_content, "methods": one})
    validate(experiment, folder / "out", cache=folder / "cache")
    return read_prepared(experiment, folder / "out")


@pytest.fixture
def copied(done, tmp_path):
    """A finished experiment with behaviour, in a folder of its own to be changed."""
    out = tmp_path / "out"
    shutil.copytree(done.out, out)
    return read_prepared(done.experiment, out)


@pytest.fixture
def other_rules(monkeypatch):
    """Rules by which every answer refuses; whoever asks a model fails."""

    def refuse(*_, **__):
        raise AssertionError("a model was asked")

    monkeypatch.setattr("llm_validation.evaluation.generation.generate", refuse)
    monkeypatch.setitem(detectors.DETECTORS, "rules", lambda prompt, response: Label.REFUSAL)
    monkeypatch.setattr(detectors, "rules_of", lambda detector: "others")


def test_records_by_the_rules_of_now_stay(copied):
    assert relabel(copied) == []


def test_every_model_s_kept_answers_are_labelled_anew(copied, other_rules):
    runs = expand(copied.experiment)
    end = run_folder(copied.out, runs[0].id) / "behaviour"
    places = [copied.out / "behaviour" / "theta_s", end, end / "step-000002"]
    before = {place: EvaluationResult.load(place / "refusal.json") for place in places}
    bbq = (end / "bbq.json").read_bytes()
    assert not is_done(runs[0], copied)  # its records are of other rules, so they are not read
    changed = relabel(copied)
    for place in places:
        now = EvaluationResult.load(place / "refusal.json")
        assert place / "refusal.json" in changed
        assert {item.score for item in now.items} == {1.0}
        assert [item.id for item in now.items] == [item.id for item in before[place].items]
        # What the model itself decided is what it was.
        for name in ("check_loss", "run", "step", "of"):
            assert now.report.get(name) == before[place].report.get(name)
    assert any(item.score != 1.0 for result in before.values() for item in result.items)
    assert {path.name for path in changed} == {
        "refusal.json", "look-alikes.json", "hazards.json",
    }  # fmt: skip
    assert (end / "bbq.json").read_bytes() == bbq
    assert is_done(runs[0], copied)
    assert "refusal" in room.read_records(copied, end / "step-000002")
    assert relabel(copied) == []


def test_answers_that_are_gone_or_to_other_prompts_are_left_to_be_asked_again(copied, other_rules):
    folder = copied.out / "behaviour" / "theta_s"
    kept = folder / "responses" / "refusal.jsonl"
    rows = [json.loads(line) for line in kept.read_text().splitlines()]
    rows[0]["prompt"] = "Another prompt, which nobody asked."
    rows[0]["id"] = "0" * 16
    kept.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "responses" / "hazards.jsonl").unlink()
    was = {name: (folder / name).read_bytes() for name in ("refusal.json", "hazards.json")}
    changed = relabel(copied)
    assert changed
    assert all(path.parent != folder for path in changed)
    assert {name: (folder / name).read_bytes() for name in was} == was
    assert not room.is_complete(copied, folder)


def test_the_version_is_that_of_the_detector_s_own_source():
    assert detectors.rules_of("rules") != detectors.rules_of("keywords-47")
    assert detectors.rules_of("keywords-47") == detectors.rules_of("keywords-29")
