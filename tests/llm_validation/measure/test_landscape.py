from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from finebound.results.estimate import LoraShapes
from llm_validation.data.encoding import Encoded
from llm_validation.measure.coordinates import adapted_weights, cosine
from llm_validation.measure.curvature import CurvatureProduct, quadratic_form
from llm_validation.measure.gradients import gradient_mismatch, loss_and_gradient
from llm_validation.measure.landscape import measure_landscape, subsample, window


@pytest.fixture
def datasets(llama_rows):
    """Safety, task and proxy rows: permuted tokens give losses with other gradients."""
    return [
        [Encoded((row.input_ids * factor) % 268, row.supervised) for row in llama_rows]
        for factor in (1, 3, 5)
    ]


def test_landscape_holds_what_the_measures_give(tiny_model, datasets):
    found = measure_landscape(tiny_model, *datasets, seed=4, rows_for_curvature=9)
    model = tiny_model.model
    coordinates = adapted_weights(model)
    pad_id = tiny_model.tokenizer.pad_token_id
    safety, task, proxy = (
        loss_and_gradient(model, coordinates, rows, pad_id=pad_id) for rows in datasets
    )
    assert found.gradient_norms["safety"] == safety.estimate
    assert found.mismatch == gradient_mismatch(safety, proxy)
    assert found.cosines["safety_task"] == cosine(safety.gradient, task.gradient)
    kept = found.losses["task"]
    assert sum(kept.token_sum) / sum(kept.token_count) == pytest.approx(task.losses.per_token)
    product = CurvatureProduct(model, coordinates, datasets[0], pad_id=pad_id)
    along = quadratic_form(product, task.gradient / task.norm)
    assert found.curvatures["safety"].along_start == pytest.approx(along, rel=1e-4)
    assert set(found.curvatures) == {"safety", "task", "mismatch"}
    assert found.dimension == coordinates.dimension
    assert found.parameter_norm == pytest.approx(coordinates.parameter_norm)
    assert found.coordinates == "weights of q_proj, v_proj"
    assert found.lora == LoraShapes(rank=8, alpha=16, shapes=[(32, 32), (16, 32)] * 2)
    dense = [p.detach() for p in coordinates.split(task.gradient)]
    expected = sum(float(torch.linalg.svdvals(p)[:8].square().sum()) for p in dense) ** 0.5
    assert found.task_descent == pytest.approx(expected, rel=1e-3)
    assert found.task_descent < task.norm
    assert found.logit_lipschitz.value > 0.0


@pytest.mark.parametrize("where", ["adapter", "all"])
def test_the_model_leaves_as_it_came_and_the_result_is_json(
    tiny_model, datasets, where, fingerprint
):
    tiny_model.model.requires_grad_(False)
    before = fingerprint(tiny_model.model)
    found = measure_landscape(tiny_model, *datasets, where=where, lanczos_steps=2)
    assert fingerprint(tiny_model.model) == before
    text = json.dumps(found.to_dict(), allow_nan=False)
    assert json.loads(text)["dimension"] == found.dimension
    assert measure_landscape(tiny_model, *datasets, where=where, lanczos_steps=2) == found


def test_a_failure_half_way_leaves_the_model_as_it_came(tiny_model, datasets, fingerprint):
    before = fingerprint(tiny_model.model)

    def fail(items, doing):
        raise RuntimeError(doing)

    with pytest.raises(RuntimeError, match="gradients on safety"):
        measure_landscape(tiny_model, *datasets, progress=fail)
    assert fingerprint(tiny_model.model) == before


def test_the_safety_data_as_proxy_have_no_mismatch(tiny_model, datasets):
    safety, task, _ = datasets
    found = measure_landscape(
        tiny_model, safety, task, safety, rows_for_gradient=3, rows_for_curvature=2
    )
    assert found.mismatch.value == 0.0
    assert found.cosines["safety_proxy"] == pytest.approx(1.0)
    assert found.curvatures["mismatch"].norm == 0.0
    assert len(found.losses["safety"].rows) == 3


def test_without_a_proxy_its_entries_are_missing(tiny_model, datasets):
    safety, task, _ = datasets
    found = measure_landscape(tiny_model, safety, task, None, lanczos_steps=1)
    assert found.mismatch is None
    assert set(found.losses) == set(found.gradient_norms) == {"safety", "task"}
    assert set(found.curvatures) == {"safety", "task"}
    assert set(found.cosines) == {"safety_task"}
    with pytest.raises(ValueError, match="adapter or all"):
        measure_landscape(tiny_model, safety, task, None, where="head")


def test_subsample_is_seeded_and_skips_rows_without_a_supervised_token(llama_rows):
    silent = Encoded(np.arange(4, dtype=np.int32), np.zeros(4, dtype=bool))
    rows = [silent, *llama_rows, silent]
    assert subsample(rows, 99, seed=0) == [1, 2, 3, 4, 5]
    assert subsample(rows, 2, seed=0) == subsample(rows, 2, seed=0)
    draws = {tuple(subsample(rows, 2, seed=seed)) for seed in range(30)}
    assert len(draws) == 10
    assert all(first < second for first, second in draws)


@pytest.mark.parametrize(
    ("length", "answer", "start", "end"),
    [(6, 3, 0, 6), (20, 3, 0, 8), (20, 10, 6, 14), (20, 18, 12, 20), (20, 4, 0, 8)],
)
def test_window_reaches_the_answer(length, answer, start, end):
    row = Encoded(np.arange(length, dtype=np.int32), np.arange(length) >= answer, 7)
    cut = window(row, 8)
    assert cut.input_ids.tolist() == list(range(start, end))
    assert cut.supervised[1:].any()
    assert cut.supervised.tolist() == [place >= answer for place in range(start, end)]
    assert cut.row == 7
