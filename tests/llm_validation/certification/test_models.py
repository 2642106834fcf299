"""A tiny model and its adapters are asked: the answers, the order, the scale, what is rejected.

The tiny model is random and never refuses: it has answers to look-alikes to lose, and no refusals.
"""

import json
import shutil

import numpy as np
import pytest
import torch
from architectures import write_lora
from safetensors.torch import load_file, save_file

import finebound as fb
from finebound.base.errors import InputError
from llm_validation.certification.checkpoints import checkpoints_in
from llm_validation.certification.scaling import (
    ADAPTER,
    at_scale,
    checked_scales,
    split_probes,
    worth_asking,
)
from llm_validation.defences.lora_file import read_adapter
from llm_validation.evaluation.hazards.probes import builtin_pairs
from llm_validation.models.loading import load_model
from llm_validation.models.tuned import with_adapter

BUDGET = "over-refusal=40"


def logits(model):
    with torch.no_grad():
        return model(torch.arange(3, 20)[None]).logits


def test_adapters_are_tested_in_the_given_order(tiny_model_folder, adapter, tmp_path):
    other = write_lora(tiny_model_folder, tmp_path / "other", seed=6)
    found = fb.certify(
        base=tiny_model_folder,
        adapters=[adapter, other],
        budget=BUDGET,
        rows=20,
        out=tmp_path / "o",
    )
    assert found.accepted == ("tuned", "other")
    assert found.chosen == "other"
    assert [test.n for test in found.tests] == [20, 20]
    assert found.adapter is None
    assert fb.load(tmp_path / "o") == found
    assert not (tmp_path / "o" / ADAPTER).exists()
    assert any("temperature 1" in text for text in found.assumptions)


def test_a_scale_is_chosen_and_its_adapter_is_the_model_that_was_asked(
    tiny_model_folder, adapter, tmp_path
):
    out = tmp_path / "out"
    found = fb.certify(
        base=tiny_model_folder,
        adapters=adapter,
        path="scale",
        budget=BUDGET,
        scales=[0.0, 0.25, 0.5, 1.0],
        rows=25,
        task="builtin:task-code",
        out=out,
    )
    assert found.certified
    assert set(found.accepted) == set(found.capability)
    assert found.chosen == max(found.capability, key=found.capability.get)
    assert [check.candidate for check in found.stored] == ["scale 0.25", "scale 0.5", "scale 1"]
    assert {check.candidate for check in found.stored if check.asked} == set(found.candidates)
    assert all(0 <= c.safe_lower <= c.safe_estimate <= 1 for c in found.stored)
    assert (found.stored[0].n, found.tests[0].n) == (5, 20)
    assert "From stored answers alone" in (out / "report.html").read_text()
    scale = float(found.chosen.removeprefix("scale "))
    written = with_adapter(load_model(tiny_model_folder), out / ADAPTER)
    tuned = with_adapter(load_model(tiny_model_folder), adapter)
    whole = logits(tuned.model)
    with at_scale(tuned, scale):
        assert torch.allclose(logits(written.model), logits(tuned.model), atol=1e-6)
    assert torch.equal(logits(tuned.model), whole)
    for mine, theirs in zip(
        read_adapter(out / ADAPTER).modules, read_adapter(adapter).modules, strict=True
    ):
        assert mine.scaling == pytest.approx(scale * theirs.scaling)
        assert torch.equal(mine.b, theirs.b)


def test_the_update_at_a_scale_is_a_share_of_the_whole(tiny_model_folder, adapter):
    tuned = with_adapter(load_model(tiny_model_folder), adapter)
    base = logits(load_model(tiny_model_folder).model)
    with at_scale(tuned, 1e-8):
        assert torch.allclose(logits(tuned.model), base, atol=1e-5)
    with pytest.raises(KeyError), at_scale(tuned, 0.5):
        raise KeyError
    assert not torch.allclose(logits(tuned.model), base, atol=1e-2)


def test_at_temperature_0_every_scale_is_asked_and_a_note_says_why(tiny_model_folder, adapter):
    found = fb.certify(
        base=tiny_model_folder,
        adapters=adapter,
        path="scale",
        budget=BUDGET,
        scales=[0.5, 1.0],
        rows=12,
        temperature=0.0,
    )
    assert found.candidates == ("scale 0.5", "scale 1")
    assert found.stored == ()
    assert found.tests[0].n == 12
    assert any("T21" in note and "T22" in note for note in found.notes)


def test_checkpoints_in_the_order_of_their_steps(tiny_model_folder, adapter, tmp_path):
    for step in (200, 30, 1000):
        shutil.copytree(adapter, tmp_path / f"checkpoint-{step}")
    (tmp_path / "runs").mkdir()
    assert [f.name for f in checkpoints_in(tmp_path)] == [
        "checkpoint-30", "checkpoint-200", "checkpoint-1000",
    ]  # fmt: skip
    shutil.rmtree(tmp_path / "checkpoint-1000")
    found = fb.certify(
        base=tiny_model_folder, adapters=tmp_path, path="checkpoints", budget=BUDGET, rows=12
    )
    assert found.accepted == ("checkpoint-30", "checkpoint-200")
    assert found.chosen == "checkpoint-200"


def test_testing_ends_with_the_first_that_is_not_accepted(tiny_model_folder, adapter, tmp_path):
    copies = [adapter, shutil.copytree(adapter, tmp_path / "copy")]
    found = fb.certify(base=tiny_model_folder, adapters=copies, budget="over-refusal=5", rows=12)
    assert found.certified is None
    assert found.candidates == ("tuned",)
    assert found.probes_needed == 59
    assert any("1 more were not asked" in note for note in found.notes)


def test_probes_that_steer_certify_nothing():
    probes = builtin_pairs().probes
    steering, certifying = split_probes(probes)
    assert not {p.id for p in steering} & {p.id for p in certifying}
    assert len(steering) + len(certifying) == len(probes)
    assert sum(p.harmful for p in steering) == sum(not p.harmful for p in steering) == 35


@pytest.mark.parametrize(
    ("losses", "asked"),
    [
        ([0, 0.2, 0.4, 0.9, 3], [1, 2, 3, 4]),
        ([0, 0, 0, 0, 0], [4]),
        ([2, 3, 4, 5, 6], [0]),
        ([0.1, 0.6, 0.3, 2, 3], [0, 2, 3]),
    ],
)
def test_which_scales_are_worth_asking(losses, asked):
    assert worth_asking(np.array(losses)) == asked


@pytest.mark.parametrize("scales", [[0.5, 0.2], [-0.1, 1.0], [0.0], [0.5, float("nan")]])
def test_scales_rise_from_0(scales):
    with pytest.raises(InputError, match="rising"):
        checked_scales(scales)


def test_an_adapter_of_another_base_is_told_before_anything_is_asked(
    tiny_model_folder, adapter, tmp_path
):
    other = shutil.copytree(adapter, tmp_path / "other")
    (other / "base_model.json").write_text(json.dumps({"name": "another", "sha256": "0" * 64}))
    with pytest.raises(InputError, match="another model"):
        fb.certify(base=tiny_model_folder, adapters=other, budget=BUDGET, rows=12)


def test_weights_that_are_not_finite_are_told(tiny_model_folder, adapter, tmp_path):
    broken = shutil.copytree(adapter, tmp_path / "broken")
    weights = load_file(broken / "adapter_model.safetensors")
    save_file(
        {k: v * float("nan") for k, v in weights.items()}, broken / "adapter_model.safetensors"
    )
    for path, said in (("given", "broken gives no answer"), ("scale", "not finite")):
        with pytest.raises(InputError, match=said):
            fb.certify(base=tiny_model_folder, adapters=broken, path=path, budget=BUDGET, rows=8)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"adapters": ()}, "`adapter` is missing"),
        ({"candidates": "x.jsonl"}, "`candidate` is for files"),
        ({"reference": "x.jsonl"}, "either `reference` or `base`"),
        ({"path": "checkpoints"}, "no checkpoint in this folder"),
        ({"scales": [0.5]}, "`scales` are for"),
        ({"temperature": -1.0}, "`temperature` is -1"),
        ({"rows": 0}, "`rows` is 0"),
        ({"rows": 10_000}, "`rows` is 10000"),
        ({"confidence": 1.0}, "`confidence` is 1"),
        ({"budget": "refusal=5"}, "nothing to lose"),
    ],
)
def test_what_does_not_belong_together(change, said, tiny_model_folder, adapter, tmp_path):
    asked = {"base": tiny_model_folder, "adapters": adapter, "budget": BUDGET, "rows": 8} | change
    out = tmp_path / "out"
    with pytest.raises(InputError, match=said):
        fb.certify(**asked, out=out)
    assert not out.exists()
