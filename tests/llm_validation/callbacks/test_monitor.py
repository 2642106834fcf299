"""The monitor reads stored answers while another trainer trains, and changes nothing."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from other_trainers import KINDS, Logged

from finebound.base.errors import InputError
from finebound.trl import SafetyMonitor, base_answers
from llm_validation.callbacks.reporting import calling_trainer
from llm_validation.callbacks.schedule import check_every, steps_due
from llm_validation.data.dataset import Dataset


@pytest.mark.parametrize("kind", KINDS)
def test_every_logger_gets_it(kind, make_trainer, answers):
    logged = Logged()
    held_out = Dataset.of([("the ant", "is in a house"), ("a thin", "house")], name="held out")
    monitor = SafetyMonitor(answers, every=0.5, held_out=held_out)
    trainer = make_trainer(kind, [monitor, logged.callback()])
    trainer.train()
    assert list(logged.of("safety/refusal_rate")) == [0, 3, 6]
    # Its entries are its own: the Trainer's are all there, at the same steps too.
    assert list(logged.of("loss")) == [2, 4, 6]
    for entry in trainer.state.log_history:
        assert not {"loss", "safety/refusal_rate"} <= entry.keys()
    for name in ("safety/loss_change", "capability/gain"):
        assert logged.of(name)[0] == pytest.approx(0.0, abs=1e-6)
    assert logged.of("safety/refusal_rate")[0] == answers.refused[answers.harmful].mean()
    assert logged.of("safety/loss_change")[6] > 0.001
    for step, rate in logged.of("safety/refusal_rate").items():
        assert logged.of("safety/refusal_rate_at_least")[step] <= rate
        assert 0 < logged.of("safety/effective_share")[step] <= 1 + 1e-9
    assert "safety/over_refusal_rate_at_most" in trainer.state.log_history[0]
    assert not logged.of("safety/refusal_rate_asked")


def test_the_training_is_what_it_was_without(make_trainer, answers):
    watched, plain = Logged(), Logged()
    trainers = [
        make_trainer("plain", [SafetyMonitor(answers, every=2, ask=True), watched.callback()]),
        make_trainer("plain", [plain.callback()]),
    ]
    for trainer in trainers:
        trainer.train()
    assert watched.of("loss") == plain.of("loss")
    for name, p in trainers[0].model.named_parameters():
        assert (p == trainers[1].model.get_parameter(name)).all(), name
    assert list(watched.of("safety/refusal_rate_asked")) == [2, 4, 6]


def test_answers_of_another_model_are_rejected(make_trainer, answers):
    other = replace(answers, log_likelihood=answers.log_likelihood + 5.0)
    with pytest.raises(InputError, match="not the one that gave the stored answers"):
        make_trainer("plain", [SafetyMonitor(other)]).train()


def test_answers_are_asked_once_and_read_again(refusing, answers, tmp_path):
    file = tmp_path / "answers.json"
    probes = tmp_path / "probes.jsonl"
    rows = [{"prompt": p.prompt, "harmful": p.harmful} for p in answers.probes[12:20]]
    probes.write_text("\n".join(map(json.dumps, rows)))
    asked = base_answers(str(refusing), probes, file=file)
    again = base_answers(str(refusing), probes, file=file)
    assert again.probes == tuple(replace(p, origin=None) for p in asked.probes)
    assert again.answers == asked.answers
    for name in ("refused", "harmful", "log_likelihood"):
        np.testing.assert_array_equal(getattr(again, name), getattr(asked, name))
    for row, other in zip(again.rows, asked.rows, strict=True):
        np.testing.assert_array_equal(row.input_ids, other.input_ids)
        np.testing.assert_array_equal(row.supervised, other.supervised)
    with pytest.raises(InputError, match="asked otherwise: another seed"):
        base_answers(str(refusing), probes, file=file, seed=1)
    file.write_text(file.read_text().replace("true", "false"))
    with pytest.raises(InputError, match=r"stored|damaged|written"):
        SafetyMonitor(file)


def test_outside_of_a_trainer_there_is_nowhere_to_log():
    with pytest.raises(InputError, match=r"no transformers\.Trainer calls"):
        calling_trainer()


@pytest.mark.parametrize(
    ("every", "steps", "due"),
    [(0.1, 20, {2, 4, 6, 8, 10, 12, 14, 16, 18, 20}), (0.3, 10, {3, 6, 9, 10}), (4, 9, {4, 8, 9})],
)
def test_the_last_step_is_always_due(every, steps, due):
    assert steps_due(every, steps) == due


def test_a_share_of_nothing_is_rejected():
    for every in (0.0, -1.0, 1.5, float("nan")):
        with pytest.raises(InputError, match="every is"):
            check_every(every)
