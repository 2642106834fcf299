"""An experiment whose aligned model is the user's own: nothing is trained on the safety rows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from finished_experiments import finish

from finebound.base.errors import InputError
from finebound.results.run import RunResult
from finebound.views import experiment, run
from finebound.views.experiment_terminal import print_experiment
from llm_validation.experiments.config import expand, experiment_of
from llm_validation.experiments.gates import gates_of
from llm_validation.experiments.validation import validate
from llm_validation.models.loading import load_model
from llm_validation.models.tuned import with_adapter


@pytest.fixture(scope="module")
def as_it_is(content):
    return {
        **content,
        "alignment": None,
        "grid": [
            {"tasks": ["general"], "unconstrained": True},
            {"tasks": ["general"], "proxies": ["same-teacher"], "lam": [2.0]},
        ],
    }


@pytest.fixture(scope="module")
def found(as_it_is, tmp_path_factory):
    folder = tmp_path_factory.mktemp("as-it-is")
    return finish(as_it_is, folder / "out", cache=folder / "cache")


def test_every_run_starts_from_the_weights_that_were_given(found, tiny_model_folder):
    given = load_model(tiny_model_folder)
    assert found.prepared.aligned_sha256 == given.sha256
    own = found.prepared.load_aligned().model.state_dict()
    assert all(torch.equal(own[name], value) for name, value in given.model.state_dict().items())
    runs = [json.loads((m.finetuned.folder / "run.json").read_text()) for m in found.measured]
    assert [run["identity"]["model"] for run in runs] == [given.sha256] * 2


def test_everything_that_an_alignment_has_works_without_one(found):
    prepared = found.prepared
    aligned = prepared.document["aligned"]
    assert aligned["as_it_is"] is True
    before, after = aligned["held_out_safety_loss"]
    assert before == after == prepared.start("safety.held-out").per_token
    # Held-out rows, constants, forecasts, gates, findings, answers.
    assert len(prepared.sets["safety.held-out"]) == 6
    assert {c.statement for c in found.result.compared} >= {"T1", "T6", "T13"}
    assert not found.result.violated
    assert any(f.name.startswith("linearised") for f in found.result.forecasts.runs)
    assert aligned["answers"]["before"] is None
    assert aligned["answers"]["after"]["refusal"]["n"] > 0
    for m in found.measured:
        gates = gates_of(m, prepared, shortfall=None, equal_budget=True)
        assert gates["init only"].passed, gates["init only"].because
        assert gates["evaluated what was trained"].passed
    assert "general_none_lora_s0" in experiment.page(found.result)
    assert "<html" in run.page(RunResult.load(found.measured[0].finetuned.folder))


def test_no_alignment_is_trained_and_a_second_start_finds_everything(found, as_it_is):
    out = Path(found.prepared.out)
    assert not (out.parent / "cache").exists()
    record = out / "runs" / "general_none_lora_s0" / "record.json"
    when = record.stat().st_mtime_ns
    again = validate(experiment_of(as_it_is), out, cache=out.parent / "cache")
    assert record.stat().st_mtime_ns == when
    assert again.runs == found.result.runs


def test_the_folder_is_not_mixed_with_one_whose_model_was_aligned(found, content):
    with pytest.raises(InputError, match="its alignment differs"):
        validate(experiment_of(content), found.prepared.out)


def test_the_command_says_that_nothing_was_aligned(found, capsys):
    print_experiment(found.result, found.prepared.out)
    shown = " ".join(capsys.readouterr().out.split())
    assert "Aligned model: tiny-llama as it is, loss" in shown
    assert "before" not in shown.partition("Runs,")[0]


def test_asft_needs_the_model_before_its_alignment(as_it_is):
    block = [{"tasks": ["general"], "asft": [{"strength": 1.0}]}]
    with pytest.raises(InputError, match="starts from the model as it is"):
        experiment_of({**as_it_is, "grid": block})
    experiment_of({**as_it_is, "grid": block, "adapter": "somewhere"})


def test_an_adapter_of_the_model_s_own_is_merged_first(found, as_it_is, tmp_path):
    """The adapter of one run is the aligned model of the next experiment."""
    first = found.measured[0].finetuned
    one = {
        **as_it_is, "adapter": str(first.weights), "landscape": None, "forecast": None,
        "grid": [{"tasks": ["general"], "asft": [{"strength": 1.0}]}],
    }  # fmt: skip
    out = tmp_path / "out"
    made = finish(one, out, cache=tmp_path / "cache")
    assert [m.run.plan.strategy.strength for m in made.measured] == [1.0]
    together = with_adapter(load_model(as_it_is["model"]), first.weights)
    ids = torch.arange(20)[None]
    with torch.no_grad():
        wanted = together.model(ids).logits
        got = made.prepared.load_aligned().model(ids).logits
    assert torch.allclose(got, wanted, atol=1e-5)
    plain = load_model(as_it_is["model"]).model(ids).logits
    assert not torch.allclose(plain, wanted, atol=1e-5)


def test_an_adapter_that_no_plain_model_can_hold_is_refused(content, tiny_model, tmp_path):
    from llm_validation.training.methods import PromptTuning, attach

    attach(tiny_model.model, PromptTuning(tokens=2), seed=0).save_pretrained(tmp_path / "prompt")
    given = {**content, "alignment": None, "adapter": str(tmp_path / "prompt")}
    with pytest.raises(InputError, match="virtual tokens"):
        validate(experiment_of(given), tmp_path / "out", cache=tmp_path / "cache")
    assert not (tmp_path / "out" / "prepared.json").exists()


def test_the_hashes_of_older_configurations_are_what_they_were():
    older = {
        "name": "x", "safety": "builtin:safety", "tasks": {"general": "builtin:task-general"},
        "proxies": {"original": "safety"},
        "grid": [
            {"tasks": ["general"], "unconstrained": True, "proxies": ["original"], "lam": [1]}
        ],
    }  # fmt: skip
    hashes = [run.sha256[:16] for run in expand(experiment_of(older))]
    assert hashes == ["e6f82c0df303b3f7", "611da21203e11428"]
    new = {**older, "adapter": None, "fit_minutes": 3}
    assert [run.sha256[:16] for run in expand(experiment_of(new))] == hashes
    other = [
        run.sha256[:16]
        for entries in ({"adapter": "folder"}, {"alignment": None})
        for run in expand(experiment_of({**older, **entries}))
    ]
    assert len({*hashes, *other}) == 6
