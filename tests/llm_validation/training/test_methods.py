"""Every method in the registry: it trains, stays in its ball, is saved, tells where it began."""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from finebound.base.errors import InputError
from finebound.base.records import to_json
from llm_validation.data.dataset import Dataset
from llm_validation.data.encoding import encode
from llm_validation.experiments.config import Method as MethodConfig
from llm_validation.forecast.gradient_rows import gradient_rows
from llm_validation.forecast.world import World, prepared
from llm_validation.measure.losses import measure_losses
from llm_validation.models.adapters import load_adapter
from llm_validation.models.quantisation import NOTE, FourBit, quantise
from llm_validation.training.displacement import displacement_of
from llm_validation.training.evaluation import write_evaluation
from llm_validation.training.methods import (
    IA3,
    METHODS,
    FullWeights,
    Lora,
    PromptTuning,
    PTuning,
    QLora,
    attach,
    make_method,
    method_as_dict,
)
from llm_validation.training.parameter_constraint import fisher_diagonal
from llm_validation.training.plan import Dpo, TrainingPlan, plan_from_dict
from llm_validation.training.record import TRAIN_PROXY, TRAIN_TASK
from llm_validation.training.strategies import TokenConstraint
from theory.strategy import Hybrid, LossConstraint

PLAN = TrainingPlan(
    strategy=LossConstraint(lam=0.5),
    steps=6,
    learning_rate=1e-2,
    batch_size=4,
    checkpoint_every=0,
    evaluate_at=(),
)
PLANS = {
    "qlora": replace(PLAN, method=QLora(rank=4, alpha=8)),
    "ia3": replace(PLAN, method=IA3(), learning_rate=3e-2),
    "prompt": replace(PLAN, method=PromptTuning(tokens=5), learning_rate=3e-2),
    "text": replace(
        PLAN, method=PromptTuning(5, "text", "the right key"), learning_rate=3e-2, weight_decay=0.1
    ),
    "p-tuning": replace(PLAN, method=PTuning(tokens=5)),
}
VIRTUAL = ("prompt", "text", "p-tuning")
every_method = pytest.mark.parametrize("name", PLANS)


@pytest.fixture(scope="module")
def run_of(shared_bench):
    """The finished run of a plan by name; each is made once."""
    runs = {}

    def run(name):
        if name not in runs:
            runs[name] = shared_bench.run(PLANS[name])
        return runs[name]

    return run


def losses_of(model, loaded, data):
    rows = encode(data, loaded.tokenizer, max_length=512)
    return measure_losses(model, rows, pad_id=loaded.tokenizer.pad_token_id)


def plain_loss(model, loaded, data) -> float:
    """Nats per token by transformers' own loss, row by row."""
    total, tokens = 0.0, 0
    for row in encode(data, loaded.tokenizer, max_length=512):
        ids = torch.from_numpy(row.input_ids.astype(np.int64))[None]
        labels = torch.where(torch.from_numpy(row.supervised)[None], ids, -100)
        with torch.no_grad():
            mean = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels).loss
        total += float(mean) * int(row.supervised.sum())
        tokens += int(row.supervised.sum())
    return total / tokens


# The registry


def test_the_json_of_full_and_lora_plans_is_what_it_was():
    # Run folders and caches are keyed by it.
    lora = {"kind": "lora", "rank": 8, "alpha": 16, "targets": ["q_proj", "v_proj"]}
    for method, plain, digest in (
        (FullWeights(), {"kind": "full"}, "e874567f9181bc0c"),
        (Lora(), lora, "019c3fcc28afded4"),
    ):
        found = TrainingPlan(method=method).as_dict()
        assert "objective" not in found
        assert found["method"] == plain
        assert list(found["method"]) == list(plain)
        assert hashlib.sha256(to_json(found).encode()).hexdigest()[:16] == digest


def test_a_configured_lora_or_full_method_is_dumped_as_it_was():
    # The measured constants of an experiment are keyed by it.
    plain = {"rank": 8, "alpha": 16.0, "targets": ["q_proj", "v_proj"], "learning_rate": None}
    assert MethodConfig().model_dump(mode="json") == {"kind": "lora", **plain}
    assert MethodConfig(kind="full").model_dump(mode="json") == {"kind": "full", **plain}


@pytest.mark.parametrize("method", [made() for made in METHODS.values()], ids=list(METHODS))
@pytest.mark.parametrize("objective", [None, Dpo(0.3)])
def test_every_method_survives_json(method, objective):
    plan = TrainingPlan(method=method, objective=objective)
    again = plan_from_dict(json.loads(to_json(plan.as_dict())))
    assert again == plan
    assert ("objective" in plan.as_dict()) is (objective is not None)
    assert make_method(**method_as_dict(method)) == method


TEXT = ("text", "a")


@pytest.mark.parametrize(
    ("configured", "method", "objective"),
    [
        ({"kind": "qlora", "rank": 4}, QLora(rank=4), None),
        ({"kind": "ia3"}, IA3(), None),
        ({"kind": "prompt-tuning", "init": "text", "text": "a"}, PromptTuning(20, *TEXT), None),
        ({"kind": "p-tuning", "tokens": 3, "learning_rate": 0.1}, PTuning(3), None),
        ({"kind": "full", "objective": "dpo", "beta": 0.3}, FullWeights(), Dpo(0.3)),
    ],
)  # fmt: skip
def test_a_configured_method_is_the_plans(configured, method, objective):
    config = MethodConfig.model_validate(configured)
    plan = plan_from_dict(config.as_plan())
    assert (plan.method, plan.objective) == (method, objective)
    again = MethodConfig.model_validate_json(config.model_dump_json())
    assert again.as_plan() == config.as_plan()


# Training


@every_method
def test_it_trains_and_says_how_far_it_went(run_of, name):
    run = run_of(name)
    assert run.result["objective"]["rise"] < -0.05
    moved, budget = run.result["displacement"], run.result["optimiser_budget"]
    assert moved["norm"] == PLANS[name].method.norm
    assert 0 < moved["coordinates"] <= budget["coordinates_radius"]
    assert 0 < moved["end"] <= budget["weights_radius"]
    if name != "qlora":
        assert moved["end"] == pytest.approx(moved["coordinates"])
        assert budget["weights_radius"] == budget["coordinates_radius"]
    assert run.result["starts_at_theta_s"] is (name == "ia3")


@every_method
def test_the_displacement_is_that_of_its_own_numbers(tiny_model, name):
    method = PLANS[name].method
    model = attach(tiny_model.model, method, seed=0, tokenizer=tiny_model.tokenizer)
    displacement = displacement_of(model)
    trained = [p for p in model.parameters() if p.requires_grad]
    assert {p.dtype for p in trained} == {torch.float32}
    assert displacement.norm() == 0.0
    with torch.no_grad():
        for p in trained:
            p.add_(0.1)
    squared = 0.01 * sum(p.numel() for p in trained)
    assert displacement.coordinates_norm() == pytest.approx(squared**0.5, rel=1e-5)
    if name != "qlora":
        assert displacement.norm() == pytest.approx(squared**0.5, rel=1e-5)


@every_method
def test_every_step_ends_inside_the_ball(shared_bench, run_of, name):
    radius = 0.2 * run_of(name).result["displacement"]["end"]
    run = shared_bench.run(replace(PLANS[name], strategy=Hybrid(lam=0.5, radius=radius)))
    assert (run.steps["displacement"] <= radius).all()
    assert run.result["displacement"]["end"] == pytest.approx(radius, rel=1e-3)
    assert run.steps["displacement_before_projection"].max() > radius


@every_method
def test_the_cut_of_a_step_changes_nothing(shared_bench, run_of, name):
    cut = shared_bench.run(replace(PLANS[name], gradient_accumulation=8))
    whole = run_of(name)
    for column in ("task_loss", "proxy_loss", "grad_norm", "displacement"):
        np.testing.assert_allclose(
            cut.steps[column], whole.steps[column], rtol=2e-5, atol=1e-6, err_msg=column
        )


@every_method
def test_an_interrupted_run_goes_on_on_the_same_trajectory(shared_bench, run_of, name, tmp_path):
    def interrupt(items, doing):
        for item in items:
            if doing == "fine-tuning" and item == 5:
                raise KeyboardInterrupt
            yield item

    out, plan = tmp_path / "run", replace(PLANS[name], checkpoint_every=2)
    with pytest.raises(KeyboardInterrupt):
        shared_bench.run(plan, out=out, progress=interrupt)
    assert (out / "checkpoints" / "checkpoint-4").is_dir()
    resumed, whole = shared_bench.run(plan, out=out), run_of(name)
    for column in ("task_loss", "displacement"):
        np.testing.assert_allclose(
            resumed.steps[column], whole.steps[column], rtol=1e-5, err_msg=column
        )
    np.testing.assert_allclose(
        resumed.end["safety"].token_sum, whole.end["safety"].token_sum, rtol=1e-5
    )


# Losses, with and without virtual tokens


@every_method
def test_losses_are_transformers_own(shared_bench, run_of, name):
    run, loaded = run_of(name), shared_bench.load()
    model = run.model.model
    expected = plain_loss(model, loaded, shared_bench.safety)
    assert run.end["safety"].per_token == pytest.approx(expected, rel=1e-5)
    # What is minimised in a step is what is measured: four rows of the task, one step.
    rows = Dataset.of(shared_bench.task.examples[:4], name="four")
    one = shared_bench.run(replace(PLANS[name], strategy=None, steps=1), task=rows)
    assert one.steps["task_loss"][0] == pytest.approx(one.start[TRAIN_TASK].per_token, rel=1e-6)


@pytest.mark.parametrize("name", VIRTUAL)
def test_virtual_tokens_start_away_from_theta_s_and_the_record_has_both(shared_bench, run_of, name):
    run, loaded = run_of(name), shared_bench.load()
    assert set(run.reference) == {"safety", TRAIN_TASK, TRAIN_PROXY}
    theta_s = losses_of(loaded.model, loaded, shared_bench.safety)
    np.testing.assert_allclose(run.reference["safety"].token_sum, theta_s.token_sum, rtol=1e-6)
    assert np.abs(run.start["safety"].token_sum - theta_s.token_sum).max() > 0.1
    at_start = attach(loaded.model, PLANS[name].method, seed=0, tokenizer=loaded.tokenizer)
    init_only = losses_of(at_start, loaded, shared_bench.safety)
    np.testing.assert_allclose(run.start["safety"].token_sum, init_only.token_sum, rtol=1e-6)


def test_the_fisher_information_with_virtual_tokens(tiny_model, shared_bench):
    model = attach(tiny_model.model, PromptTuning(tokens=5), seed=0)
    rows = encode(shared_bench.safety, tiny_model.tokenizer, max_length=512)
    pad = tiny_model.tokenizer.pad_token_id
    (found,) = fisher_diagonal(model, rows, pad_id=pad).values()
    (weight,) = [p for p in model.parameters() if p.requires_grad]
    expected = torch.zeros_like(weight)
    for row in rows:
        ids = torch.from_numpy(row.input_ids.astype(np.int64))[None]
        labels = torch.where(torch.from_numpy(row.supervised)[None], ids, -100)
        loss = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels).loss
        (gradient,) = torch.autograd.grad(loss * int(row.supervised.sum()), weight)
        expected += gradient.square()
    expected /= sum(int(row.supervised.sum()) for row in rows)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-8)


def test_a_text_is_where_the_prompt_starts(tiny_model):
    loaded = tiny_model
    ids = loaded.tokenizer("the right key", add_special_tokens=False)["input_ids"]
    embeddings = loaded.model.get_input_embeddings().weight.detach().clone()
    tokens = len(ids) + 2
    model = attach(
        loaded.model, PromptTuning(tokens, "text", "the right key"), seed=0,
        tokenizer=loaded.tokenizer,
    )  # fmt: skip
    (prompt,) = [p for p in model.parameters() if p.requires_grad]
    torch.testing.assert_close(prompt.detach(), embeddings[[*ids, *ids[:2]]])


def test_the_seed_decides_a_random_start(shared_bench):
    def start(method, seed):
        model = attach(shared_bench.load().model, method, seed=seed)
        return torch.cat([p.detach().flatten() for p in model.parameters() if p.requires_grad])

    torch.manual_seed(5)
    expected = float(torch.rand(()))
    torch.manual_seed(5)
    for method in (PromptTuning(tokens=5), PTuning(tokens=5)):
        torch.testing.assert_close(start(method, 1), start(method, 1), rtol=0, atol=0)
        assert not torch.equal(start(method, 1), start(method, 2))
    assert float(torch.rand(())) == expected


# Saving


@every_method
def test_a_saved_adapter_gives_the_same_losses(shared_bench, run_of, name):
    run, loaded = run_of(name), shared_bench.load()
    finished = shared_bench.run(PLANS[name], out=run.folder)
    base = loaded.model
    if name == "qlora":
        base = quantise(base, FourBit())
    for model in (finished.model.model, load_adapter(base, run.weights)):
        found = losses_of(model, loaded, shared_bench.safety)
        np.testing.assert_allclose(
            found.token_sum, run.end["safety"].token_sum, rtol=1e-5, atol=1e-5
        )
    assert not list(run.folder.rglob("*.bin"))


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")
@every_method
def test_a_saved_adapter_loads_in_plain_peft(shared_bench, run_of, name):
    run, loaded = run_of(name), shared_bench.load()
    base = loaded.model
    if name == "qlora":
        base = four_bit(shared_bench.model_folder)
    model = PeftModel.from_pretrained(base, run.weights).eval()
    expected = run.end["safety"].per_token
    assert plain_loss(model, loaded, shared_bench.safety) == pytest.approx(expected, rel=1e-5)


# QLoRA


def four_bit(folder):
    """The model as transformers quantises it."""
    config = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True
    )
    model = AutoModelForCausalLM.from_pretrained(
        folder, quantization_config=config, dtype=torch.float32, device_map={"": "cpu"}
    )
    for module in model.modules():
        # A path for evaluation that multiplies in bfloat16.
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return model.eval()


def test_the_start_of_a_qlora_is_the_quantised_base(shared_bench, run_of):
    run, loaded = run_of("qlora"), shared_bench.load()
    exact = losses_of(loaded.model, loaded, shared_bench.safety)
    rounded = losses_of(four_bit(shared_bench.model_folder), loaded, shared_bench.safety)
    np.testing.assert_allclose(run.start["safety"].token_sum, rounded.token_sum, rtol=1e-5)
    assert np.abs(run.start["safety"].token_sum - exact.token_sum).max() > 0.01
    recorded = run.document["model"]["base_quantisation"]
    assert recorded == {"double_quant": True, "compute": "fp32", "kind": "nf4"}
    assert json.loads((run.weights / NOTE).read_text()) == recorded


@pytest.mark.parametrize("name", ["qlora", "prompt"])
def test_a_start_measured_elsewhere_is_refused(shared_bench, run_of, name, tmp_path):
    write_evaluation(tmp_path / "evaluations", 0, run_of(name).reference)
    with pytest.raises(ValueError, match="has to measure its own: it does not start at theta_s"):
        shared_bench.run(PLANS[name], out=tmp_path)


def test_training_and_evaluation_of_a_rounded_base_are_the_same_arithmetic(tiny_model):
    model = quantise(tiny_model.model, FourBit())
    ids = torch.arange(2, 20)[None]
    with torch.no_grad():
        evaluated = model.eval()(input_ids=ids).logits
        trained = model.train()(input_ids=ids).logits
    torch.testing.assert_close(trained, evaluated, rtol=0, atol=0)


def test_a_qlora_adapter_is_refused_by_any_other_base(shared_bench, run_of):
    folder = run_of("qlora").weights
    with pytest.raises(InputError, match=r"trained on a base in 4-bit NF4.*is not quantised"):
        load_adapter(shared_bench.load().model, folder)
    other = quantise(shared_bench.load().model, FourBit(double_quant=False))
    with pytest.raises(InputError, match=r"with double quantisation.*this one is in 4-bit NF4,"):
        load_adapter(other, folder)
    with pytest.raises(InputError, match="quantised already"):
        quantise(other, FourBit())


def test_without_bitsandbytes_the_fallback_is_named(shared_bench, monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(InputError, match=r"needs bitsandbytes.*use the method lora"):
        shared_bench.run(PLANS["qlora"])


def test_another_method_on_a_rounded_base_is_refused(tiny_model):
    model = quantise(tiny_model.model, FourBit())
    for method in (Lora(), FullWeights(), IA3(), PTuning()):
        with pytest.raises(InputError, match=f"quantised, and the method {method.kind}"):
            attach(model, method, seed=0)


# What is refused


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({"kind": "ia3", "targets": ["q_proj"]}, "feedforward modules down_proj are none"),
        ({"kind": "ia3", "targets": [], "feedforward": []}, "IA3 has no targets"),
        ({"kind": "ia3", "rank": 4}, "method ia3 cannot be read.*'rank'"),
        ({"kind": "prompt-tuning", "tokens": 0}, "tokens is 0"),
        ({"kind": "prompt-tuning", "init": "text"}, "has none"),
        ({"kind": "prompt-tuning", "text": "be good"}, "starts at random and has a text"),
        ({"kind": "prompt-tuning", "init": "vocabulary"}, "init is 'vocabulary'"),
        ({"kind": "p-tuning", "hidden": -1}, "hidden is -1"),
        ({"kind": "qlora", "double_quant": "yes"}, "double_quant is 'yes'"),
        ({"kind": "dora"}, "no method 'dora'.*Use one of full, lora, qlora, ia3"),
    ],
)
def test_wrong_settings_are_refused(values, names):
    with pytest.raises(InputError, match=names):
        plan_from_dict({"method": values})


@pytest.mark.parametrize(
    ("method", "names"),
    [
        (IA3(targets=("c_attn", "q_proj"), feedforward=()), "no module called c_attn.*q_proj"),
        (QLora(targets=("c_attn",)), "no module called c_attn"),
        (Lora(targets=("mlp",)), r"LoRA does not fit the model.*down_proj, gate_proj"),
        (PromptTuning(512), "512 virtual tokens leave no place in .* 512 tokens"),
        (PromptTuning(500), "The row has .* tokens, and the limit is 12"),
    ],
)
def test_a_model_that_a_method_does_not_fit_is_refused(shared_bench, method, names):
    with pytest.raises(InputError, match=names):
        shared_bench.run(replace(PLAN, method=method))


def test_virtual_tokens_need_input_embeddings(tiny_model, monkeypatch):
    model = tiny_model.model
    monkeypatch.setattr(type(model), "get_input_embeddings", lambda self: None)
    for method in (PromptTuning(), PTuning()):
        with pytest.raises(InputError, match=r"need a model with input embeddings.*model, lm_head"):
            attach(model, method, seed=0)


def test_weights_of_16_bits_are_not_trained_in_full(tiny_model):
    model = tiny_model.model.to(torch.bfloat16)
    with pytest.raises(InputError, match=r"to be trained are torch.bfloat16.*float32"):
        attach(model, FullWeights(), seed=0)


@pytest.mark.parametrize("name", ["ia3", "prompt"])
def test_an_adapter_with_a_missing_key_is_refused(shared_bench, run_of, name, tmp_path):
    source = run_of(name).weights
    for file in source.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    tensors.pop(sorted(tensors)[0])
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    with pytest.raises(InputError, match=r"1 of the adapter's keys are missing"):
        load_adapter(shared_bench.load().model, tmp_path)


def test_p_tuning_cannot_go_on_from_its_adapter(shared_bench, run_of):
    with pytest.raises(InputError, match="not the encoder that made them"):
        load_adapter(shared_bench.load().model, run_of("p-tuning").weights, trainable=True)


# Forecasts


@pytest.mark.parametrize(("name", "kind"), [("ia3", "IA3"), ("qlora", "LoRA")])
def test_a_forecast_is_made_in_the_methods_coordinates(tiny_model, name, kind):
    before = {key: t.clone() for key, t in tiny_model.model.state_dict().items()}
    with prepared(tiny_model, PLANS[name]) as (model, coordinates):
        assert coordinates.name == kind
        assert coordinates.dimension == sum(
            p.numel() for p in model.parameters() if p.requires_grad
        )
    after = tiny_model.model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[key], tensor) for key, tensor in before.items())


@pytest.mark.parametrize(
    ("plan", "names"),
    [
        (PLANS["prompt"], "no forecast of prompt-tuning from gradients"),
        (PLANS["p-tuning"], "no forecast of p-tuning from gradients"),
        (replace(PLAN, objective=Dpo()), "no forecast of DPO from gradients"),
        (replace(PLAN, strategy=TokenConstraint()), "no forecast of constrained-sft"),
    ],
)
def test_there_is_no_forecast_where_none_would_be_one(shared_bench, plan, names):
    world = World(shared_bench.load(), shared_bench.safety, shared_bench.task)
    with pytest.raises(InputError, match=names):
        gradient_rows(world, plan, "task", 2)
