"""``estimate`` end to end, on text and with a tiny random model."""

import dataclasses
import json

import numpy as np
import pytest

from finebound.base.errors import InputError
from llm_validation.data.builtin import builtin_dataset
from llm_validation.estimation.advice import advice
from llm_validation.estimation.costs import budget_radius, costs
from llm_validation.estimation.pipeline import coordinated_sample, measure
from llm_validation.estimation.request import Request
from llm_validation.estimation.result import result_of, straight_steps
from llm_validation.measure.overlap_measure import tightest_upper
from llm_validation.measure.texts import normalise
from theory.bound import Status


def by_kind(made, kind):
    return [row for row in costs(made) if row.strategy.kind == kind]


def test_text_alone_gives_what_the_data_force(text_measured):
    assert text_measured.model is None
    assert text_measured.shared.conflicting == 40
    loss = by_kind(text_measured, "loss")
    capability = [row.forced_capability for row in loss]
    assert capability == sorted(capability)  # grows with lambda (T2)
    for row in loss:
        # The exact price on the rows stays below what T15 allows for the prompts' images.
        assert row.forced_capability <= row.contested_capability.value
        assert row.contested_capability.status == Status.HIGH_PROBABILITY
        # T15 counts all answers as different: answers that agree would not lower it.
        assert row.contested_capability.remedy
        assert "agree" not in row.contested_capability.remedy
        assert row.safety is None
    assert by_kind(text_measured, "parameter") == []
    said = " ".join(advice(text_measured))
    assert "40 of them with other answers" in said
    assert "another teacher" in said
    # T5's floor for a self-generated proxy is the aligned model's gap, not 0 (proxy_floor).
    assert "that model's own" in said


def test_agreeing_targets_and_code_force_nothing():
    for task in ("builtin:task-general-agreeing", "builtin:task-code"):
        made = measure(Request(safety="builtin:safety", task=task))
        assert made.shared.conflicting == 0
        assert np.all(made.front.safety_gap == 0)
        if made.shared.shared == 0:
            # The least of several limits at p = 0.05 each fails more often than one of them.
            limit = tightest_upper(made.overlap)
            sure = 1 - limit.failure_probability
            assert f"at most {limit.value:.2f} with probability {sure:g}" in advice(made)[1]


def test_what_the_rows_force_is_of_every_row_where_overlap_is_of_a_sample(monkeypatch):
    monkeypatch.setattr("llm_validation.estimation.pipeline.TEXT_ROWS", 40)
    few = measure(Request(safety="builtin:safety", task="builtin:task-general"))
    assert {name: len(dataset) for name, dataset in few.datasets.items()} == {
        "safety": 40,
        "task": 40,
    }
    assert few.audit.rows == few.rows_of["task"] > 40
    monkeypatch.undo()
    whole = measure(Request(safety="builtin:safety", task="builtin:task-general"))
    assert few.shared.shared == whole.shared.shared
    assert np.array_equal(few.front.safety_gap, whole.front.safety_gap)


def test_a_model_adds_bounds_in_its_coordinates(model_measured):
    assert model_measured.model is not None
    assert budget_radius(model_measured).value > 0
    parameter = by_kind(model_measured, "parameter")
    assert [row.strategy.radius for row in parameter] == [1e-3, 0.1, 1e3]
    rises = [row.safety.value for row in parameter]
    assert rises == sorted(rises)  # a larger radius allows more
    assert parameter[0].safety.status == Status.ESTIMATED  # estimated constants never certify
    assert parameter[-1].safety.vacuous
    assert len(by_kind(model_measured, "hybrid")) == 6
    for e in model_measured.bounds:
        assert e.basis != "model" or e.bound.statement == "T13" or e.bound.status not in (
            Status.CERTIFIED,
            Status.EXACT,
        )  # fmt: skip
        assert not np.isnan(e.bound.value)


def test_hybrid_bounds_tighten_with_lambda_and_radius(model_measured):
    values = {
        (row.strategy.radius, row.strategy.lam): row.safety.value
        for row in by_kind(model_measured, "hybrid")
    }
    assert values[0.1, 2.0] <= values[0.1, 0.5]
    assert values[1e-3, 0.5] <= values[0.1, 0.5]


def test_the_straight_step_is_what_the_losses_do(model_measured):
    """The forecast at a small radius against the constants it is made of: slope, not curvature."""
    side = model_measured.model
    small = straight_steps(model_measured)[0]
    slope = side.landscape.gradient_norms["task"].value
    assert small.task_change == pytest.approx(-1e-3 * slope, rel=0.1)


def test_terms_add_up_and_json_is_plain(model_measured):
    content = json.loads(result_of(model_measured, given={}).to_json())
    assert {"datasets", "advice", "table", "overlap", "model", "constants", "bounds"} <= set(
        content
    )
    for b in content["bounds"]:
        assert b["unit"] or b["quantity"] == "radius"
        if b["terms"] and b["value"] not in ("inf", None):
            assert sum(b["terms"].values()) == pytest.approx(b["value"], rel=1e-9, abs=1e-12)
    assert content["constants"]["gradient_norm_task"]["known"] == "estimated"
    assert content["model"]["losses"]["safety"]["rows"] == 48


def test_the_same_request_gives_the_same_numbers(text_measured):
    again = measure(text_measured.request)
    first, second = (result_of(made, given={}).to_json() for made in (text_measured, again))
    assert first == second


def test_a_sample_keeps_matched_prompts_together():
    safety, proxy = builtin_dataset("safety"), builtin_dataset("proxy-same-teacher")
    one, other = (coordinated_sample(d, 200, seed=3) for d in (safety, proxy))
    assert len(one) == len(other) == 200

    def shared(a, b):
        return len({*map(normalise, a.prompts)} & {*map(normalise, b.prompts)})

    # Of 120 shared prompts a share like the sampling rate stays; independent draws keep its square.
    assert shared(one, other) >= 0.8 * shared(safety, proxy) * min(200 / 528, 200 / 480)
    assert coordinated_sample(safety, 200, seed=3).sha256 == one.sha256
    assert coordinated_sample(safety, 200, seed=4).sha256 != one.sha256
    assert coordinated_sample(safety, 10_000, seed=3) is safety


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"lam": (0.0,)}, "`lam` is 0"),
        ({"lam": (-1.0, 1.0)}, "`lam` is -1"),
        ({"lam": ()}, "`lam` is empty"),
        ({"radius": (float("nan"),)}, "`radius` is nan"),
        ({"failure_probability": 1.0}, "`failure_probability` is 1"),
        ({"rows": 1}, "`rows` is 1"),
        ({"model_rows": 0}, "`model_rows` is 0"),
        ({"steps": 0}, "`steps` is 0"),
        ({"learning_rate": 0.0}, "`learning_rate` is 0"),
        ({"batch_size": 0}, "`batch_size` is 0"),
        ({"forecast": True}, "`forecast` needs `model`"),
        ({"budget": ("refusal=5",)}, "no model is given"),
        ({"drop_long": True, "truncate": True}, "`drop_long` and `truncate`"),
    ],
)
def test_requests_out_of_range_are_rejected_by_the_arguments_name(change, says):
    with pytest.raises(InputError, match=says):
        Request(safety="a", task="b", **change)


def test_the_training_file_is_read_once(tmp_path):
    for name in ("safety", "task"):
        rows = [{"prompt": f"The {name} of {i}?", "response": f"It is {i}."} for i in range(8)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    training = tmp_path / "training.json"
    given = {"per_device_train_batch_size": 4, "max_steps": 7, "packing": True}
    training.write_text(json.dumps(given))
    made = measure(
        Request(
            safety=str(tmp_path / "safety.jsonl"),
            task=str(tmp_path / "task.jsonl"),
            training=str(training),
        )
    )
    training.unlink()
    result = result_of(made, given={})
    told = {setting.name: setting.value for setting in result.plan}
    assert (told["steps"], told["batch_size"]) == (7, 4) == (made.plan.steps, made.plan.batch_size)
    assert any("packing is True" in note for note in result.plan_notes)


def test_identical_datasets_are_refused(text_measured):
    same = dataclasses.replace(text_measured.request, task="builtin:safety", proxy=None)
    with pytest.raises(InputError, match="same content"):
        measure(same)
    lazy = dataclasses.replace(text_measured.request, proxy="builtin:task-general")
    with pytest.raises(InputError, match="proxy and the task data are the same"):
        measure(lazy)


def test_a_forecast_without_memory_is_left_out_by_name(monkeypatch, tiny_model_folder):
    from llm_validation.models.memory import NeedsMemory

    def short(*_, **__):
        raise NeedsMemory("A training needs about 30 GB.", remedy="Raise --memory.")

    monkeypatch.setattr("llm_validation.estimation.forecast._forecast", short)
    made = measure(
        Request(
            safety="builtin:safety",
            task="builtin:task-code",
            model=str(tiny_model_folder),
            forecast=True,
            model_rows=8,
            rows=16,
        )
    )
    assert made.forecasts == ()
    assert "30 GB" in made.left_out[0]
    assert made.left_out[0] in advice(made)
    assert result_of(made, given={}).left_out == list(made.left_out)
