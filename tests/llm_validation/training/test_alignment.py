"""theta_s: made once, kept by content, with what is known of it."""

from __future__ import annotations

import multiprocessing
from dataclasses import replace

import numpy as np
import pytest

from finebound.base.errors import InputError
from finebound.base.writing import _machine
from llm_validation.data.encoding import encode
from llm_validation.measure.coordinates import all_weights
from llm_validation.measure.gradients import loss_and_gradient
from llm_validation.measure.losses import measure_losses
from llm_validation.training import alignment
from llm_validation.training.alignment import align
from llm_validation.training.methods import IA3, PromptTuning, QLora
from llm_validation.training.plan import Dpo, FullWeights, Lora, TrainingPlan
from theory.strategy import ParameterConstraint

PLAN = TrainingPlan(method=Lora(rank=4, alpha=8), steps=15, learning_rate=1e-2, batch_size=6)


def losses_of(loaded, data):
    encoded = encode(data, loaded.tokenizer, max_length=512)
    return measure_losses(loaded.model, encoded, pad_id=loaded.tokenizer.pad_token_id)


@pytest.mark.parametrize("method", [PLAN.method, FullWeights()])
def test_theta_s_has_a_lower_safety_loss_and_known_constants(bench, tmp_path, method):
    before = losses_of(bench.load(), bench.safety).per_token
    plan = replace(PLAN, method=method)
    aligned = align(
        bench.load(), bench.safety, plan, cache=tmp_path, monitors={"held-out": bench.proxy}
    )
    assert aligned.safety_loss_before == pytest.approx(before, rel=1e-6)
    assert aligned.safety_loss_after < before - 0.1
    # Read from disk as a plain model without an adapter: merged, and the same to rounding.
    measured = losses_of(aligned.model, bench.safety).per_token
    assert measured == pytest.approx(aligned.safety_loss_after, rel=1e-5)
    assert not hasattr(aligned.model.model, "peft_config")
    old, new = aligned.held_out["held-out"]
    assert old == pytest.approx(losses_of(bench.load(), bench.proxy).per_token)
    assert new == pytest.approx(losses_of(aligned.model, bench.proxy).per_token, rel=1e-5)
    gradient = loss_and_gradient(
        aligned.model.model,
        all_weights(aligned.model.model),
        encode(bench.safety, aligned.model.tokenizer, max_length=512),
        pad_id=aligned.model.tokenizer.pad_token_id,
    )
    assert aligned.gradient_norm == pytest.approx(gradient.norm, rel=1e-3)
    assert aligned.gradient_norm_upper > aligned.gradient_norm > 0


def test_it_is_made_once(bench, tmp_path, monkeypatch):
    first = align(bench.load(), bench.safety, PLAN, cache=tmp_path)
    monkeypatch.setattr(alignment, "finetune", None)
    again = align(bench.load(), bench.safety, PLAN, cache=tmp_path)
    assert again.folder == first.folder
    assert again.model.sha256 == first.model.sha256
    assert again.safety_loss_after == first.safety_loss_after
    with pytest.raises(TypeError):  # another plan is another model
        align(bench.load(), bench.safety, replace(PLAN, seed=1), cache=tmp_path)


def test_a_damaged_theta_s_is_named_and_made_again(bench, tmp_path, capsys):
    first = align(bench.load(), bench.safety, PLAN, cache=tmp_path)
    flipped = bytearray((first.folder / "model.safetensors").read_bytes())
    flipped[-5] ^= 1
    record = first.folder.parent / "alignment.json"
    changed = record.read_text().replace('"gradient_norm": ', '"gradient_norm": 1')
    for file, content in (
        (first.folder / "model.safetensors", bytes(flipped)),
        (first.folder / "model.safetensors", bytes(flipped[:-100])),
        (record, changed.encode()),
        (record, changed[:50].encode()),
    ):
        file.write_bytes(content)
        again = align(bench.load(), bench.safety, PLAN, cache=tmp_path)
        assert f"{file}: " in capsys.readouterr().err
        assert again.model.sha256 == first.model.sha256
        assert again.gradient_norm == first.gradient_norm


def test_a_disk_full_of_theta_s_and_what_a_killed_process_left(bench, tmp_path, monkeypatch):
    from safetensors import SafetensorError
    from transformers import PreTrainedModel

    def full(self, folder, **_):
        (folder / "model.safetensors").write_bytes(b"half")
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    with monkeypatch.context() as patched:
        patched.setattr(PreTrainedModel, "save_pretrained", full)
        with pytest.raises(InputError, match=r"cannot be written.*No space left.*Free some space"):
            align(bench.load(), bench.safety, PLAN, cache=tmp_path)
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    assert {path.name for path in folder.iterdir()} == {"run"}
    dead = folder / f".model.{_machine()}-999999999-1-{'0' * 8}.tmp"
    dead.mkdir()
    (dead / "model.safetensors").write_bytes(b"half")
    align(bench.load(), bench.safety, PLAN, cache=tmp_path)
    assert not dead.exists()


def test_an_interrupted_alignment_goes_on(bench, tmp_path):
    def interrupt(items, doing):
        for item in items:
            if doing == "fine-tuning" and item == 9:
                raise KeyboardInterrupt
            yield item

    plan = replace(PLAN, checkpoint_every=4)
    with pytest.raises(KeyboardInterrupt):
        align(bench.load(), bench.safety, plan, cache=tmp_path / "a", progress=interrupt)
    resumed = align(bench.load(), bench.safety, plan, cache=tmp_path / "a")
    whole = align(bench.load(), bench.safety, plan, cache=tmp_path / "b")
    assert resumed.safety_loss_after == pytest.approx(whole.safety_loss_after, rel=1e-6)
    np.testing.assert_allclose(resumed.gradient_norm, whole.gradient_norm, rtol=1e-5)


def test_two_who_want_the_same_one_do_not_make_it_at_once(tmp_path):
    folder = tmp_path / "aligned"
    context = multiprocessing.get_context("fork")
    inside = context.Event()

    def want_it() -> None:
        with alignment._alone(folder):
            inside.set()

    with alignment._alone(folder):
        other = context.Process(target=want_it, daemon=True)
        other.start()
        assert not inside.wait(0.5)
    assert inside.wait(10)


def test_several_processes_share_what_one_made(bench, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="without torchrun"):
        align(bench.load(), bench.safety, PLAN, cache=tmp_path)
    monkeypatch.delenv("WORLD_SIZE")
    one = align(bench.load(), bench.safety, PLAN, cache=tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "2")
    again = align(bench.load(), bench.safety, PLAN, cache=tmp_path)
    assert again.model.sha256 == one.model.sha256


def test_a_constraint_or_a_failed_alignment_is_refused(bench, tmp_path):
    with pytest.raises(InputError, match="its plan has a strategy"):
        align(
            bench.load(),
            bench.safety,
            replace(PLAN, strategy=ParameterConstraint(1.0)),
            cache=tmp_path,
        )
    ruined = replace(PLAN, method=FullWeights(), learning_rate=1.0, steps=2)
    with pytest.raises(InputError, match="did not lower the safety loss"):
        align(bench.load(), bench.safety, ruined, cache=tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"method": PromptTuning(tokens=2)},
        {"method": IA3(targets=("q_proj",), feedforward=())},
        {"method": QLora(rank=2)},
        {"objective": Dpo()},
    ],
)
def test_only_a_method_that_leaves_one_plain_model_makes_theta_s(bench, tmp_path, change):
    with pytest.raises(InputError, match="cannot make theta_s"):
        align(bench.load(), bench.safety, replace(PLAN, **change), cache=tmp_path)
    assert not list(tmp_path.iterdir())
