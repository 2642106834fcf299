"""Constrained SFT, Lisa and AsFT as plans that ``finetune`` runs, records and resumes."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from finebound.base.errors import InputError
from llm_validation.data.dataset import Dataset
from llm_validation.data.encoding import encode
from llm_validation.defences.alignment import open_alignment
from llm_validation.defences.asft import AsFT
from llm_validation.defences.constrained_sft import ConstrainedSFT
from llm_validation.defences.lisa import Lisa
from llm_validation.defences.protocol import Evidence
from llm_validation.models.adapters import load_adapter, lora_factors
from llm_validation.models.loading import load_model
from llm_validation.training.finetune import finetune
from llm_validation.training.plan import FullWeights, Lora, TrainingPlan
from llm_validation.training.strategies import BiState, SubspacePenalty, TokenConstraint

TASK = Dataset.of(
    [("What opens a lock?", "A key."), ("And a door?", "A hand does."), ("Say a.", "a a a")],
    name="task",
)
SAFE = Dataset.of([("How do I break in?", "I will not help."), ("Why?", "No.")], name="safety")
PLAN = TrainingPlan(
    method=Lora(rank=2, alpha=6, targets=("q_proj", "up_proj")),
    steps=6,
    learning_rate=2e-2,
    batch_size=3,
    checkpoint_every=2,
    evaluate_at=(),
)
SGD = replace(PLAN, optimizer="sgd", learning_rate=0.5, clip=None)
CHANGED = ("self_attn.q_proj", "mlp.up_proj")


def shifted(source: Path, out: Path, *, names=CHANGED, seed: int = 3) -> Path:
    """The model in ``source`` less an alignment of rank 3 in these modules."""
    shutil.copytree(source, out)
    tensors = load_file(out / "model.safetensors")
    rng = np.random.default_rng(seed)
    for name, weight in tensors.items():
        if any(f"{part}.weight" in name for part in names):
            b, a = (
                rng.standard_normal((weight.shape[0], 3)),
                rng.standard_normal((3, weight.shape[1])),
            )
            tensors[name] = weight - 0.05 * torch.tensor(b @ a, dtype=torch.float32)
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    return out


@pytest.fixture(scope="module")
def base(tiny_model_folder: Path, tmp_path_factory) -> Path:
    """What the tiny model was before an alignment."""
    return shifted(tiny_model_folder, tmp_path_factory.mktemp("pair") / "base")


@pytest.fixture
def asft(base, tiny_model_folder):
    """``asft(**settings)``: the defence, fitted to the pair; its models are open."""
    with open_alignment(base, tiny_model_folder) as alignment:

        def make(**settings) -> AsFT:
            defence = AsFT(**settings)
            defence.fit(Evidence(alignment=alignment))
            return defence

        yield make


def run(defence, plan, folder, out, **options):
    """The defended fine-tune of the tiny model."""
    return finetune(
        load_model(folder),
        TASK,
        options.pop("proxy", getattr(defence, "proxy", None)),
        plan if defence is None else defence.apply(plan),
        out=out,
        alignment=options.pop("alignment", getattr(defence, "pair", None)),
        **options,
    )


def interrupt(items, doing):
    for item in items:
        if doing == "fine-tuning" and item == 5:
            raise KeyboardInterrupt
        yield item


def test_the_plans_and_what_is_asked_for():
    lisa, constrained = Lisa(2, 8, 0.5), ConstrainedSFT(beta=0.2)
    lisa.fit(Evidence(safety=SAFE))
    constrained.fit(Evidence())
    assert lisa.proxy is SAFE
    for defence, strategy in (
        (lisa, BiState(2, 8, 0.5)),
        (constrained, TokenConstraint(0.2)),
        (AsFT(3.0, "exact"), SubspacePenalty(3.0, "exact")),
    ):
        longer = replace(PLAN, steps=30)
        assert defence.apply(longer).as_dict() == replace(longer, strategy=strategy).as_dict()
        settings = defence.report().as_json()["settings"]
        told = defence.apply(longer).as_dict()["strategy"]
        assert {"kind": defence.name, **settings} == told
        assert defence.stage == "during"
    with pytest.raises(InputError, match="'safety'"):
        Lisa().fit(Evidence())
    with pytest.raises(InputError, match="'alignment'"):
        AsFT().fit(Evidence())


@pytest.mark.parametrize("projector", ["fast", "exact"])
def test_asft_steps_on_the_dense_definition(asft, base, tiny_model_folder, tmp_path, projector):
    """The second step, where B is no longer zero; plain SGD on transformers' own loss."""
    defence = asft(strength=0.4, projector=projector)
    one, two = (
        run(defence, replace(SGD, steps=n), tiny_model_folder, tmp_path / str(n)) for n in (1, 2)
    )
    loaded = load_model(tiny_model_folder)
    model = load_adapter(loaded.model, one.weights, trainable=True).eval()
    before, after = (load_file(f / "model.safetensors") for f in (base, tiny_model_folder))
    penalty = torch.zeros((), dtype=torch.float64)
    for factors in lora_factors(model):
        name = factors.name.removeprefix("base_model.model.") + ".weight"
        v = after[name].double() - before[name].double()
        u = torch.linalg.svd(v)[0][:, :3]
        c = v @ v.T / v.norm() if projector == "fast" else u @ u.T
        update = factors.scaling * factors.b.double() @ factors.a.double()
        penalty = penalty + 0.4 * (update - c @ update).square().sum()
    total, tokens = torch.zeros(()), 0
    for row in encode(TASK, loaded.tokenizer, max_length=512):
        ids = torch.from_numpy(row.input_ids.astype(np.int64))
        labels = torch.where(torch.from_numpy(row.supervised), ids, -100)
        count = int((labels[1:] != -100).sum())
        total = total + count * model(input_ids=ids[None], labels=labels[None]).loss
        tokens += count
    assert two.steps["penalty"][0] == 0.0
    assert two.steps["penalty"][1] == pytest.approx(penalty.item(), rel=1e-3)
    assert penalty.item() > 1e-4
    loss = total / tokens + penalty
    assert two.steps["objective"][1] == pytest.approx(loss.item(), rel=1e-4)
    trained = [p for f in lora_factors(model) for p in (f.a, f.b)]
    gradients = torch.autograd.grad(loss, trained)
    ends = [p for f in lora_factors(two.model.model) for p in (f.a, f.b)]
    for p, g, end in zip(trained, gradients, ends, strict=True):
        torch.testing.assert_close(end.detach(), p.detach() - 0.5 * g.float(), rtol=1e-3, atol=1e-5)


def test_asft_keeps_the_update_inside_of_the_alignment(asft, base, tiny_model_folder, tmp_path):
    before, after = (load_file(f / "model.safetensors") for f in (base, tiny_model_folder))

    def outside(found) -> float:
        lost = whole = 0.0
        for f in lora_factors(found.model.model):
            name = f.name.removeprefix("base_model.model.") + ".weight"
            u = torch.linalg.svd(after[name].double() - before[name].double())[0][:, :3]
            update = (f.scaling * f.b @ f.a).detach().double()
            lost += float((update - u @ (u.T @ update)).square().sum())
            whole += float(update.square().sum())
        return lost / whole

    plan = replace(SGD, learning_rate=0.1, steps=12)
    free = run(None, plan, tiny_model_folder, tmp_path / "free")
    held = run(asft(strength=1.0, projector="exact"), plan, tiny_model_folder, tmp_path / "held")
    assert outside(held) < 0.5 * outside(free)
    assert held.result["objective"]["task_end"] < held.result["objective"]["task_start"]


def test_an_asft_run_records_its_pair_and_resumes(asft, tiny_model_folder, tmp_path, base):
    defence = asft(strength=0.3)
    whole = run(defence, PLAN, tiny_model_folder, tmp_path / "whole")
    identity = whole.document["identity"]
    assert identity["plan"]["strategy"] == {"kind": "asft", "strength": 0.3, "projector": "fast"}
    assert identity["alignment"] == defence.pair.identity == defence.report().details["alignment"]
    assert len(set(identity["alignment"].values())) == 2
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        run(defence, PLAN, tiny_model_folder, out, progress=interrupt)
    resumed = run(defence, PLAN, tiny_model_folder, out)
    for name in whole.steps:
        np.testing.assert_allclose(resumed.steps[name], whole.steps[name], atol=1e-6, err_msg=name)
    # The same configuration after another alignment is another run.
    other = shifted(tiny_model_folder, tmp_path / "other", seed=4)
    with open_alignment(other, tiny_model_folder) as alignment:
        defence.fit(Evidence(alignment=alignment))
        with pytest.raises(InputError, match=r"what differs: alignment\.base \("):
            run(defence, PLAN, tiny_model_folder, out)


def test_an_adapter_that_aligned_the_base_is_a_pair_too(base, tiny_model_folder, tmp_path):
    """theta_s is the base with the adapter merged in; the pair knows it by its numbers."""
    aligned = finetune(load_model(base), SAFE, None, replace(PLAN, steps=3), out=tmp_path / "a")
    merged = tmp_path / "merged"
    aligned.model.model.merge_and_unload().save_pretrained(merged)
    load_model(base).tokenizer.save_pretrained(merged)
    defence = AsFT(strength=0.3)
    with open_alignment(base, aligned.weights) as alignment:
        defence.fit(Evidence(alignment=alignment))
        found = run(defence, replace(PLAN, steps=2), merged, tmp_path / "run")
        assert (found.steps["penalty"][1:] > 0).all()
        with pytest.raises(InputError, match="not the aligned one of the pair"):
            run(defence, PLAN, tiny_model_folder, tmp_path / "wrong")


@pytest.mark.parametrize("start", ["base", "another"])
def test_a_model_that_is_not_the_aligned_one_is_refused(
    asft, base, tiny_model_folder, tmp_path, start
):
    folder = base if start == "base" else shifted(tiny_model_folder, tmp_path / "other", seed=9)
    with pytest.raises(InputError, match="not the aligned one of the pair"):
        run(asft(), PLAN, folder, tmp_path / "run")


def test_an_alignment_that_changed_nothing_is_refused(tiny_model_folder, tmp_path):
    unchanged = shifted(tiny_model_folder, tmp_path / "base", names=("down_proj",))
    with open_alignment(unchanged, tiny_model_folder) as alignment:
        defence = AsFT()
        defence.fit(Evidence(alignment=alignment))
        with pytest.raises(InputError, match="changed none of the modules"):
            run(defence, PLAN, tiny_model_folder, tmp_path / "run")


def test_a_pair_is_asked_for_where_it_is_used_and_nowhere_else(asft, tiny_model_folder, tmp_path):
    out, defence = tmp_path / "run", asft()
    with pytest.raises(InputError, match="needs the models before and after the alignment"):
        run(defence, PLAN, tiny_model_folder, out, alignment=None)
    with pytest.raises(InputError, match="does not use it"):
        run(None, PLAN, tiny_model_folder, out, alignment=defence.pair)
    with pytest.raises(InputError, match="penalises the updates of a LoRA"):
        defence.apply(replace(PLAN, method=FullWeights()))
    assert not out.exists()
