"""Constants in the coordinates that a run moves in; the self-generated proxy; a run's record."""

import json

import numpy as np
import pytest
from finished_experiments import finish

from finebound.base.errors import InputError
from llm_validation.data.builtin import builtin_dataset
from llm_validation.evaluation.self_generated import answer_with
from llm_validation.experiments.config import Method
from llm_validation.experiments.landscape import changed_weights, read_side
from llm_validation.experiments.run import influence, monitored
from llm_validation.measure.coordinates import norm
from llm_validation.measure.losses import Losses


def test_the_displacement_is_the_norm_in_these_coordinates(finished, tiny_model_folder):
    """What a LoRA run records is how far the adapted modules' merged weights moved."""
    import torch

    from llm_validation.models.adapters import load_adapter

    m = next(m for m in finished.measured if m.run.proxy == "same-teacher")
    method = finished.prepared.experiment.methods["lora"]
    start = finished.prepared.load_aligned().model
    end = load_adapter(finished.prepared.load_aligned().model, m.finetuned.weights)
    end = end.merge_and_unload()
    before, after = changed_weights(start, method), changed_weights(end, method)
    assert before.names == after.names
    pairs = zip(after.parameters, before.parameters, strict=True)
    moved = [a.detach() - b.detach() for a, b in pairs]
    distance = norm(torch.cat([part.reshape(-1) for part in moved]))
    assert distance == pytest.approx(m.displacement(m.last), rel=1e-4)
    whole = sum(
        float((a - b).detach().double().square().sum())
        for a, b in zip(end.parameters(), start.parameters(), strict=True)
    )
    assert distance == pytest.approx(whole**0.5, rel=1e-6)


def test_the_slope_predicts_a_small_step(finished):
    """A tiny straight step in these coordinates lowers the task loss by slope times length."""
    from llm_validation.experiments.prepare import losses_on

    prepared = finished.prepared
    side = read_side(prepared, "general", None, "lora")
    loaded = prepared.load_aligned()
    weights = changed_weights(loaded.model, prepared.experiment.methods["lora"])
    from llm_validation.data.encoding import encode
    from llm_validation.measure.gradients import loss_and_gradient

    rows = encode(prepared.sets["task.general"], loaded.tokenizer, max_length=512)
    pad = loaded.tokenizer.pad_token_id
    gradient = loss_and_gradient(loaded.model, weights, rows, pad_id=pad).gradient
    slope = side.landscape.gradient_norms["task"].value
    assert slope == pytest.approx(norm(gradient), rel=1e-4)
    step = 0.02
    with weights.displaced(gradient / norm(gradient), step):
        up = losses_on(loaded, prepared.sets["task.general"]).per_token
    with weights.displaced(gradient / norm(gradient), -step):
        down = losses_on(loaded, prepared.sets["task.general"]).per_token
    assert (up - down) / (2 * step) == pytest.approx(slope, rel=0.01)


def test_full_fine_tunes_have_all_weights(tiny_model):
    model = tiny_model.model
    coordinates = changed_weights(model, Method(kind="full"))
    assert coordinates.dimension == sum(p.numel() for p in model.parameters())
    linear = changed_weights(model, Method(targets=("all-linear",)))
    assert not any("lm_head" in name or "embed" in name for name in linear.names)
    with pytest.raises(InputError, match="no linear module called w_pack"):
        changed_weights(model, Method(targets=("w_pack",)))


def test_the_model_answers_its_own_proxy(tiny_model):
    prompts = builtin_dataset("proxy-same-teacher").take(16, seed=0)
    answered = answer_with(tiny_model, prompts, max_new_tokens=200, seed=3)
    assert answered.sha256 == answer_with(tiny_model, prompts, max_new_tokens=200, seed=3).sha256
    assert answered.sha256 != answer_with(tiny_model, prompts, max_new_tokens=200, seed=4).sha256
    assert 2 <= len(answered) < 16  # a random model seldom stops: cut answers are left out
    assert set(answered.prompts) <= set(prompts.prompts)
    assert all(response.strip() for response in answered.responses)
    assert "<|im_end|>" not in "".join(answered.responses)


def test_too_few_finished_answers_are_refused(tiny_model):
    prompts = builtin_dataset("proxy-same-teacher").take(4, seed=0)
    with pytest.raises(InputError, match="of 4 answers within 1 tokens"):
        answer_with(tiny_model, prompts, max_new_tokens=1, seed=0)


def test_influence_values_average_to_the_change_of_the_ratio():
    rng = np.random.default_rng(0)
    tokens = rng.integers(1, 30, 50)
    start = Losses(rng.gamma(2.0, 1.0, 50) * tokens, tokens)
    end = Losses(rng.gamma(2.0, 1.2, 50) * tokens, tokens)
    assert influence(end, start).mean() == pytest.approx(end.per_token - start.per_token)


def test_a_record_holds_what_makes_the_run_again(finished):
    last = finished.measured[-1]
    folder = last.finetuned.folder
    record = json.loads((folder / "record.json").read_text())
    assert record["given"]["steps"] == 4
    assert record["plan"]["betas"] == [0.9, 0.999]
    run = json.loads((folder / "run.json").read_text())
    assert {"versions", "code", "machine", "seed"} <= set(run["manifest"])
    assert run["model"]["chat_template_sha256"]
    assert run["result"]["device"]
    assert run["result"]["peak_memory_bytes"] > 0
    assert set(record["sets"]) >= set(monitored(last.run))


def test_unconstrained_runs_are_measured_on_every_proxy(finished):
    free = next(m for m in finished.measured if m.run.plan.strategy is None)
    assert free.change("proxy.same-teacher") is not None
    # The original proxy is the safety rows.
    assert free.change("proxy.original") == free.change("safety")


def test_populations_are_kept_apart(finished):
    for m, run in zip(finished.measured, finished.result.done, strict=True):
        population = run.safety_population_interval
        assert run.safety_gap == pytest.approx(m.change("safety.held-out"))
        assert run.training_sets["safety_gap"] == pytest.approx(m.change("safety"))
        assert run.safety.lower <= run.safety_gap <= run.safety.upper
        assert population.lower <= population.upper


def test_training_sets_at_the_ends_leave_only_held_out_rows_between(content, tmp_path):
    few = {
        **content,
        "training": {
            **content["training"], "training_sets_at": "ends", "evaluate_at": [0, 0.25, 0.5, 1]
        },
        "grid": [{"tasks": ["general"], "unconstrained": True}],
        "landscape": None,
        "forecast": None,
        "generations": None,
    }  # fmt: skip
    found = finish(few, tmp_path / "out", cache=tmp_path / "cache")
    (run,), (measured,) = found.result.done, found.measured
    held_out = {"safety.held-out", "task.general.held-out"}
    assert measured.steps == [0, 1, 2, 4]
    assert set(measured.losses[1]) == set(measured.losses[2]) == held_out
    assert {"safety", "task.general", "proxy.original", *held_out} <= set(measured.losses[4])
    assert measured.change("safety") == pytest.approx(run.training_sets["safety_gap"])
    assert {c.step for c in found.result.compared if c.what == "displacement"} == {1, 2, 4}
    assert found.result.forecasts is None
    assert found.prepared.document["aligned"]["answers"] == {"before": None, "after": None}
    for fit in (run.onset.displacement, run.onset.time):
        assert fit is None or fit.used + fit.left_out == 3
