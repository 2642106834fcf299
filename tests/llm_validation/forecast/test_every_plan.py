"""The forecast of every kind of plan: DPO, virtual tokens, QLoRA, IA3, schedules, architectures."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from finebound.base.errors import InputError
from llm_validation.data.dataset import Dataset
from llm_validation.data.encoding import encode
from llm_validation.estimation.options import scaled_change
from llm_validation.estimation.outlook import Asked, ask_model, look_ahead
from llm_validation.evaluation.hazards.layouts import Probe
from llm_validation.forecast.optimiser import train
from llm_validation.forecast.outcome import outcome
from llm_validation.forecast.stored_answers import kept_answers
from llm_validation.forecast.unroll import PATH_FLOOR, PATH_ROWS, CoarseUnroll
from llm_validation.forecast.world import FORWARD_ONLY, World, prepared
from llm_validation.measure.losses import measure_losses
from llm_validation.models.loading import LoadedModel
from llm_validation.training.dpo import PairStream, encode_pairs, log_ratio
from llm_validation.training.finetune import finetune
from llm_validation.training.methods import IA3, FullWeights, Lora, PromptTuning, PTuning, QLora
from llm_validation.training.plan import Dpo
from llm_validation.training.streams import PROXY, TASK, Stream, Streams
from tests.builders.architectures import TARGETS, build
from theory.strategy import LossConstraint

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

WORDS = ["the", "thin", "ant", "is", "in", "a", "house", "with", "red", "apples", "and", "many"]
REFUSAL = "I can not help with"
DPO = {"objective": Dpo(beta=0.2), "learning_rate": 1e-2}
PROMPT = {"method": PromptTuning(tokens=4), "learning_rate": 5e-2}
P_TUNING = {"method": PTuning(tokens=4), "learning_rate": 1e-2}


@pytest.fixture(scope="module")
def pairs() -> Dataset:
    """Preference rows: words are chosen, a refusal is rejected."""
    rng = np.random.default_rng(8)
    rows = [(" ".join(rng.choice(WORDS, 5)), " ".join(rng.choice(WORDS, 6))) for _ in range(40)]
    chosen = Dataset.of(rows, name="pairs").examples
    return Dataset.of(
        (replace(row, rejected=f"{REFUSAL} the {rng.choice(WORDS)}") for row in chosen),
        name="pairs",
    )


def asked_of(loaded: LoadedModel, n: int = 8) -> Asked:
    """Answers as an aligned model would have given them: it refuses every harmful probe."""
    rng = np.random.default_rng(4)

    def stored():
        probes = [
            Probe(f"{i}/{harmful}", " ".join(rng.choice(WORDS, 5)), "a category", harmful=harmful)
            for i in range(n)
            for harmful in (True, False)
        ]
        answers = [
            f"{REFUSAL} the ant" if probe.harmful else " ".join(rng.choice(WORDS, 5))
            for probe in probes
        ]
        return kept_answers(loaded, probes, answers)

    judged = stored()
    assert (judged.refused == judged.harmful).all()
    refused = {0.0: judged.refused[None], 1.0: judged.refused[None]}
    return Asked(loaded, judged, stored().safety_data, refused, seed=1)


def pair_stream(loaded: LoadedModel, pairs: Dataset, plan) -> PairStream:
    chosen, _, rejected = encode_pairs(pairs, loaded, plan)
    reference = log_ratio(
        *(measure_losses(loaded.model, side, pad_id=loaded.pad_id) for side in (chosen, rejected))
    )
    return PairStream(
        *(TASK, tuple(chosen), plan.batch_size, plan.seed),
        rejected=tuple(rejected),
        reference=reference,
    )


# The loop


@pytest.mark.parametrize(
    "settings",
    [
        DPO,
        {**DPO, "method": FullWeights(), "learning_rate": 1e-3, "gradient_accumulation": 3},
        {**DPO, "strategy": LossConstraint(lam=0.5), "gradient_accumulation": 8},
        {**DPO, **PROMPT},
        {**PROMPT, "schedule": "cosine"},
        P_TUNING,
        {"method": IA3(), "learning_rate": 2e-2},
    ],
    ids=["dpo", "dpo full", "dpo proxied", "dpo prompt", "prompt", "p-tuning", "ia3"],
)
def test_the_loop_is_the_trainers(settings, theta, pairs, datasets, small_plan, tmp_path):
    plan = small_plan(steps=5, **settings)
    other = datasets["other"] if plan.needs_proxy_rows else None
    world = World(theta, datasets["safety"], pairs, other)
    task = Stream(TASK, tuple(world.encoded("task")), plan.batch_size, plan.seed)
    if plan.objective is not None:
        task = pair_stream(theta, pairs, plan)
    proxy = None
    if other is not None:
        rows = tuple(world.encoded("proxy"))
        proxy = Stream(PROXY, rows, plan.proxy_rows_per_step, plan.seed)
    with prepared(theta, plan) as (model, coordinates):
        path = train(model, plan, Streams(task, proxy), plan.learning_rates(), pad_id=world.pad_id)
        mine = [p.detach().clone() for p in coordinates.parameters]
    run = finetune(theta, pairs, other, plan, out=tmp_path / "run")
    np.testing.assert_allclose(path.displacements, run.steps["displacement"], rtol=2e-5)
    np.testing.assert_allclose(path.objective, run.steps["objective"], rtol=1e-5)
    theirs = dict(run.model.model.named_parameters())
    for name, value in zip(coordinates.names, mine, strict=True):
        np.testing.assert_allclose(theirs[name].detach(), value, atol=4e-6)
    if plan.objective is not None and not plan.method.virtual_tokens:
        assert path.objective[0] == pytest.approx(
            np.log(2) + plan.lam * (run.steps["proxy_loss"][0] if other else 0.0), rel=1e-5
        )
        assert path.objective[-1] < path.objective[0]


def test_as_many_steps_as_the_fine_tune_are_the_fine_tune(
    theta, pairs, datasets, small_plan, tmp_path
):
    plan = small_plan(objective=DPO["objective"], steps=6, batch_size=len(pairs))
    world = World(theta, datasets["safety"], pairs, task_measured=datasets["other"])
    said = CoarseUnroll(steps=6, safety_rows=1000, task_rows=1000).predict(world, plan)
    monitors = {"safety": world.safety, "task": world.task_measured}
    run = finetune(theta, pairs, None, plan, out=tmp_path / "run", monitors=monitors)
    for name in monitors:
        change = run.end[name].per_token - run.start[name].per_token
        assert abs(change) > 1e-4
        assert getattr(said, f"{name}_change") == pytest.approx(change, abs=2e-6)
    assert said.details["displacement"] == pytest.approx(run.result["displacement"]["end"])


# DPO


def test_a_pair_costs_both_sides_and_the_reference_a_third(theta, pairs, datasets, small_plan):
    plan = small_plan(**DPO)
    world = World(theta, datasets["safety"], pairs)
    sides = [encode(data, theta.tokenizer, max_length=512) for data in (pairs, world.rejected)]
    assert len(pairs) == len(world.pairs[0]) == len(world.pairs[1])
    mean = sum(len(row) for side in sides for row in side) / len(pairs)
    whole = plan.steps * plan.batch_size * mean * (1 + FORWARD_ONLY)
    assert world.finetune_tokens(plan) == pytest.approx(whole)
    assert world.finetune_tokens(replace(plan, objective=None)) < whole / 2
    unroll = CoarseUnroll(steps=10, rows_per_step=4)
    # Every pair is seen once.
    with unroll.unrolled(world, plan) as (_, path):
        assert path.rows == len(pairs)
        assert path.tokens == pytest.approx(len(pairs) * mean * (1 + FORWARD_ONLY))
    share = CoarseUnroll.within(world, replace(plan, steps=100), share=0.2)
    cost = share.predict(world, replace(plan, steps=100)).cost_tokens
    assert cost <= 0.21 * world.finetune_tokens(replace(plan, steps=100))


def test_a_pair_with_one_long_answer_is_left_out(theta, pairs, datasets):
    lengths = [len(row) for row in encode(pairs, theta.tokenizer, max_length=512)]
    limit = int(np.median(lengths))
    world = World(theta, datasets["safety"], pairs, max_length=limit)
    chosen, rejected = world.sample_pairs(1000)
    assert 0 < len(chosen) < len(pairs)
    assert [row.row for row in chosen] == [row.row for row in rejected]
    assert max(len(row) for row in (*chosen, *rejected)) <= limit


def test_rows_without_a_rejected_answer_are_told(theta, datasets, small_plan):
    with pytest.raises(InputError, match="no rejected answer"):
        look_ahead(asked_of(theta), datasets["task"], small_plan(**DPO))


def test_dpo_is_forecast_with_its_options(theta, pairs, small_plan, imprint):
    before = imprint(theta)
    plan = small_plan(**DPO, steps=40)
    found = look_ahead(asked_of(theta), pairs, plan, budgets={"loss": 0.1})
    assert imprint(theta) == before
    # Refusals are what it trains against.
    assert found.forecast.safety_loss_change.value > 0.1
    names = {option.strategy for option in found.options}
    assert names == {"none", "lambda", "scale", "radius", "rank", "steps"}
    safe = next(o for o in found.options if (o.strategy, o.value) == ("lambda", 1.0))
    assert safe.safety_loss_change < found.forecast.safety_loss_change.value
    assert "loss on safety rows" in safe.how


# Virtual tokens


@pytest.mark.parametrize("settings", [PROMPT, P_TUNING], ids=["prompt", "p-tuning"])
def test_virtual_tokens_start_where_they_are(settings, theta, datasets, small_plan, imprint):
    before = imprint(theta)
    plan = small_plan(**settings)
    asked = asked_of(theta)
    found = look_ahead(asked, datasets["task"], plan)
    assert imprint(theta) == before
    assert {option.strategy for option in found.options} == {"none", "mix", "steps"}
    # Now is the aligned model; the start is that of the method with its seeded random numbers.
    assert found.forecast.refusal.before == 1.0
    rows = World(theta, datasets["safety"], datasets["task"]).encoded("task")[:4]
    with prepared(theta, plan) as (model, coordinates):
        start = outcome(theta, model, asked.stored, rows)
        trained = [p.numel() for p in model.parameters() if p.requires_grad]
        assert coordinates.dimension == sum(trained)
    assert found.begun is not None
    np.testing.assert_allclose(found.begun.fall, start.fall, rtol=1e-6)
    assert abs(found.begun.safety_loss_change) > 0.01
    assert "before any step, it refuses" in found.verdict.sentence
    assert imprint(theta) == before


def test_a_start_is_measured_and_is_no_error_of_the_path(theta, datasets, small_plan):
    world = World(theta, datasets["safety"], datasets["task"])
    # Steps of no length: all of the change is that of the start.
    plan = small_plan(method=PromptTuning(tokens=4), learning_rate=1e-12)
    said = CoarseUnroll(steps=3, safety_rows=36).predict(world, plan)
    with prepared(theta, plan) as (model, _):
        rows = world.encoded("safety")
        start, end = (
            measure_losses(one, rows, pad_id=world.pad_id).per_token for one in (theta.model, model)
        )
    assert said.safety_change == pytest.approx(end - start, abs=1e-5)
    scarce = np.sqrt(PATH_ROWS / said.details["rows"])
    error = np.hypot(said.details["safety_sampling_error"], scarce * PATH_FLOOR)
    assert np.diff(said.interval_90.safety)[0] == pytest.approx(2 * 1.6449 * error, rel=1e-3)
    found = look_ahead(asked_of(theta), datasets["task"], plan, with_options=False)
    np.testing.assert_array_equal(found.planned.refused[1.0], found.begun.refused[1.0])
    np.testing.assert_allclose(found.planned.fall, found.begun.fall, rtol=1e-6)


def test_virtual_tokens_take_their_places_of_the_context(theta, datasets, small_plan):
    plan = small_plan(method=PromptTuning(tokens=theta.context_length - 10))
    with pytest.raises(InputError, match="more than 10 tokens"):
        look_ahead(asked_of(theta), datasets["task"], plan)


# QLoRA, IA3, full weights; accumulation, schedules, bf16


def displacement(world, plan, steps: int = 4) -> np.ndarray:
    with CoarseUnroll(steps=steps).unrolled(world, plan) as (_, path):
        assert np.isfinite(path.objective).all()
        return path.displacements


def test_a_qlora_is_forecast_as_its_lora_and_bf16_in_float32(world_of, small_plan):
    world, plan = world_of(), small_plan()
    exact = displacement(world, plan)
    qlora = small_plan(method=QLora(rank=4, alpha=8), precision="bf16")
    np.testing.assert_array_equal(displacement(world, qlora), exact)
    cut = small_plan(gradient_accumulation=4)
    np.testing.assert_allclose(displacement(world, cut), exact, rtol=1e-4)


@pytest.mark.parametrize(
    "settings",
    [
        {"schedule": "warmup_stable_decay", "schedule_options": {"num_decay_steps": 4}},
        {"schedule": "cosine_with_min_lr", "schedule_options": {"min_lr_rate": 0.1}},
        {"schedule": "polynomial"},
        {"schedule": "inverse_sqrt"},
        {"schedule": "cosine_with_restarts"},
    ],
    ids=lambda settings: settings["schedule"],
)
def test_every_schedule_is_unrolled(settings, world_of, small_plan):
    plan = small_plan(**settings, warmup=2, precision="bf16", gradient_accumulation=2)
    whole = plan.learning_rates().sum()
    assert CoarseUnroll(steps=4).rates(plan).sum() == pytest.approx(whole, rel=1e-9)
    assert displacement(world_of(), plan)[-1] > 0


@pytest.mark.parametrize("method", [IA3(), FullWeights(), QLora(rank=4, alpha=8)])
def test_methods_have_their_options(method, theta, datasets, small_plan, imprint):
    before = imprint(theta)
    plan = small_plan(method=method, learning_rate=5e-3)
    found = look_ahead(asked_of(theta), datasets["task"], plan)
    assert imprint(theta) == before
    changes = {(o.strategy, o.value): o.safety_loss_change for o in found.options}
    named = {("none", None), ("steps", plan.steps / 2), ("scale", 0.5), ("mix", 0.1), ("mix", 0.03)}
    if isinstance(method, QLora):
        named |= {("rank", 2)}
    assert {key for key in changes if key[0] != "radius"} == named
    assert len(changes) == len(named) + 1
    assert len(set(changes.values())) == len(changes) - isinstance(method, QLora)
    # A part of the change does less than all of it.
    assert abs(changes["scale", 0.5]) < abs(changes["none", None])


def test_ia3_is_scaled_from_where_it_starts(world_of, small_plan):
    plan = small_plan(method=IA3(), learning_rate=5e-3)
    with CoarseUnroll(steps=3).unrolled(world_of(), plan) as (model, path):
        trained = [p for p in model.parameters() if p.requires_grad]
        ends = [p.detach().clone() for p in trained]
        with scaled_change(model, path, 0.25):
            for p, start, end in zip(trained, path.start, ends, strict=True):
                assert start.unique().tolist() == [1.0]
                np.testing.assert_allclose(p.detach(), 0.75 + 0.25 * end, rtol=1e-6)
        assert all(torch.equal(p, end) for p, end in zip(trained, ends, strict=True))


# Architectures


@pytest.fixture(scope="module")
def word_tokenizer() -> PreTrainedTokenizerBase:
    """A token a word, 64 of them, as many as the builders' models have."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<|im_start|>", "<|im_end|>", "[UNK]", "user", "assistant", *WORDS, *REFUSAL.split()]
    words += [f"w{i}" for i in range(64 - len(set(words)))]
    vocabulary = {word: i for i, word in enumerate(dict.fromkeys(words))}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        unk_token="[UNK]",
    )
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|> {{ m.role }} {{ m.content }} <|im_end|> {% endfor %}"
        "{% if add_generation_prompt %}<|im_start|> assistant {% endif %}"
    )
    return tokenizer


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "mixtral", "phi3", "gpt_neox", "gemma2"])
def test_architectures(architecture, word_tokenizer, datasets, small_plan, imprint):
    model = build(architecture)
    loaded = LoadedModel(model, word_tokenizer, architecture, architecture, context_length=64)
    before = imprint(loaded)
    targets = TARGETS.get(architecture, ("q_proj", "v_proj"))
    plan = small_plan(method=Lora(rank=4, alpha=8, targets=tuple(targets)), steps=20)
    found = look_ahead(asked_of(loaded), datasets["task"], plan)
    assert imprint(loaded) == before
    kinds = {option.strategy for option in found.options}
    assert kinds == {"none", "mix", "scale", "radius", "rank", "steps"}
    assert abs(found.forecast.capability_gain.value) > 1e-4
    assert np.isfinite([option.safety_loss_change for option in found.options]).all()


@pytest.mark.parametrize("architecture", ["gpt2", "gemma2"])
def test_architectures_with_virtual_tokens(
    architecture, word_tokenizer, datasets, small_plan, imprint
):
    loaded = LoadedModel(
        build(architecture), word_tokenizer, architecture, architecture, context_length=64
    )
    before = imprint(loaded)
    found = look_ahead(asked_of(loaded), datasets["task"], small_plan(**PROMPT), with_options=False)
    assert imprint(loaded) == before
    assert np.isfinite(found.forecast.safety_loss_change.value)


def test_an_untrained_architecture_refuses_nothing(word_tokenizer):
    loaded = LoadedModel(build("gpt2"), word_tokenizer, "gpt2", "gpt2", context_length=64)
    rng = np.random.default_rng(0)
    probes = [
        Probe(f"{i}/{bad}", " ".join(rng.choice(WORDS, 5)), None, harmful=bad)
        for i in range(20)
        for bad in (True, False)
    ]
    with torch.random.fork_rng(), pytest.raises(InputError, match="too little to lose"):
        ask_model(loaded, probes)
