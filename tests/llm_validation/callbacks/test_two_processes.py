"""Under two processes every callback finds and does what it does under one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from other_trainers import REFUSAL, words

from finebound.trl import (
    ProxyLoss,
    RadiusConstraint,
    SafetyBudget,
    SafetyForecast,
    SafetyMonitor,
)
from llm_validation.callbacks.answers import write_answers

WORKER = """
import json, os, sys
from pathlib import Path
from datetime import timedelta
sys.path[:0] = sys.argv[1:3]
from test_of_two import callbacks_on
from other_trainers import trainer_of

answers, folder, out = map(Path, sys.argv[3:6])
trainer = trainer_of("plain", callbacks_on(answers), folder, out,
                     per_device_train_batch_size=2, logging_steps=1)
trainer.train()
if trainer.args.process_index == 0:
    (out / "log.json").write_text(json.dumps(trainer.state.log_history))
"""


def callbacks_on(answers: Path) -> list:
    """Every callback at once."""
    from llm_validation.data.dataset import Dataset

    proxy = Dataset.of([(p, REFUSAL) for p in words(7, 7)], name="proxy")
    return [
        RadiusConstraint(0.05),
        ProxyLoss(proxy, lam=0.5, batch_size=5),
        SafetyMonitor(answers, every=2),
        SafetyForecast(answers, at=(0.5,)),
        SafetyBudget(answers, budget=0.5, every=3),
    ]


@pytest.mark.slow
def test_two_processes_log_what_one_does(make_trainer, answers, refusing, tmp_path):
    file = tmp_path / "answers.json"
    write_answers(answers, file, asked={})
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "test_of_two.py").symlink_to(__file__)
    builders = Path(__file__).parents[2] / "builders"
    out = tmp_path / "two"
    processes = []
    for rank in range(2):
        environment = {
            **os.environ,
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(20000 + os.getpid() % 20000),
            "OMP_NUM_THREADS": "1",
            "ACCELERATE_USE_CPU": "true",
        }
        command = [sys.executable, "-c", WORKER, modules, builders, file, refusing, out]
        processes.append(
            subprocess.Popen(
                command, env=environment, cwd=Path(__file__).parents[3], stderr=subprocess.PIPE
            )
        )
    try:
        for process in processes:
            _, errors = process.communicate(timeout=600)
            assert process.returncode == 0, errors.decode()[-3000:]
    finally:
        for process in processes:
            process.kill()
    one = make_trainer("plain", callbacks_on(file), logging_steps=1)
    one.train()
    found = json.loads((out / "log.json").read_text())
    ours = ("safety/", "radius/", "proxy/", "budget/", "forecast_ESTIMATED/")
    expected = [e for e in one.state.log_history if any(n.startswith(ours) for n in e)]
    made = [e for e in found if any(n.startswith(ours) for n in e)]
    assert len(made) == len(expected) > 12
    for entry, other in zip(made, expected, strict=True):
        assert entry == pytest.approx(other, rel=1e-3, abs=1e-4)
    records = [
        json.loads((folder / "safety_budget" / "budget.json").read_text())
        for folder in (out, tmp_path / "out")
    ]
    assert records[0]["accepted"] == records[1]["accepted"]
