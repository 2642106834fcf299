"""What callbacks find reaches the loggers that the Trainer reports to.

TensorBoard is the real one, its event file is read. For the others the package stands in, and
transformers' own integration is real: it is what calls them.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from unittest.mock import MagicMock

import pytest

from finebound.trl import RadiusConstraint, SafetyMonitor


def found_by_step(trainer, name):
    return {e["step"]: e[name] for e in trainer.state.log_history if name in e}


def test_tensorboard_has_every_number(make_trainer, answers, tmp_path, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "events"))
    callbacks = [SafetyMonitor(answers, every=0.5), RadiusConstraint(0.05)]
    trainer = make_trainer("plain", callbacks, report_to=["tensorboard"])
    trainer.train()
    events = EventAccumulator(str(tmp_path / "events"))
    events.Reload()
    tags = events.Tags()["scalars"]
    names = {
        n for e in trainer.state.log_history for n in e if n.startswith(("safety/", "radius/"))
    }
    assert len(names) >= 8
    for name in names:
        assert f"train/{name}" in tags
        found = {e.step: e.value for e in events.Scalars(f"train/{name}")}
        assert found == pytest.approx(found_by_step(trainer, name), rel=1e-6)
    assert {e.step for e in events.Scalars("train/safety/refusal_rate")} == {0, 3, 6}
    assert {e.step for e in events.Scalars("train/loss")} == {2, 4, 6}


@pytest.mark.parametrize(
    ("package", "method", "before"),
    [("wandb", "log", "train/"), ("trackio", "log", "train/"), ("mlflow", "log_metrics", "")],
)
def test_the_other_loggers_are_told(make_trainer, answers, monkeypatch, package, method, before):
    module = MagicMock()
    module.__spec__, module.__version__ = ModuleSpec(package, None), "3.0.0"
    module.utils.validation.MAX_PARAM_VAL_LENGTH = 500
    module.utils.validation.MAX_PARAMS_TAGS_PER_BATCH = 100
    told = []
    getattr(module, method).side_effect = lambda *given, **named: told.append((given, named))
    monkeypatch.setitem(sys.modules, package, module)
    for inside in ("sdk", "sdk.lib", "sdk.lib.config_util"):  # where W&B's integration looks
        monkeypatch.setitem(sys.modules, f"{package}.{inside}", MagicMock(ConfigError=KeyError))
    monkeypatch.setenv("WANDB_WATCH", "false")
    monitor = SafetyMonitor(answers, every=0.5)
    trainer = make_trainer("plain", [monitor], report_to=[package], max_steps=2)
    trainer.train()
    found = {}
    for given, named in told:
        values = named["metrics"] if package == "mlflow" else given[0]
        step = named["step"] if package == "mlflow" else values["train/global_step"]
        if f"{before}safety/refusal_rate" in values:
            found[step] = values[f"{before}safety/refusal_rate"]
    assert found == found_by_step(trainer, "safety/refusal_rate")
    assert list(found) == [0, 1, 2]
