"""A tiny finished experiment, whose runs are defended and compared."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_grid(tiny_model_folder: Path) -> dict:
    """A configuration of a few steps: two learning rates, a radius and a proxy."""
    return {
        "name": "tiny",
        "model": str(tiny_model_folder),
        "safety": "builtin:safety",
        "tasks": {"general": "builtin:task-general"},
        "proxies": {"original": "safety"},
        "methods": {
            "lora": {"rank": 2, "targets": ["q_proj", "v_proj"]},
            "slow": {"rank": 2, "targets": ["q_proj", "v_proj"], "learning_rate": 0.002},
        },
        "rows": {"safety": 6, "task": 6, "proxy": 6, "held_out": 5, "max_length": 250},
        "alignment": {
            "steps": 4, "learning_rate": 0.01, "batch_size": 3,
            "method": {"kind": "lora", "rank": 2, "targets": ["q_proj", "v_proj"]},
        },
        "training": {
            "steps": 4, "learning_rate": 0.01, "batch_size": 3, "evaluate_at": [0.0, 0.5, 1.0]
        },
        "grid": [
            {"tasks": ["general"], "unconstrained": True},
            {"tasks": ["general"], "methods": ["lora"], "radius": [0.05]},
            {"tasks": ["general"], "methods": ["lora"], "proxies": ["original"], "lam": [2.0]},
        ],
        "landscape": None,
        "forecast": None,
        "generations": None,
    }  # fmt: skip


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tiny experiments keep their aligned model."""
    return tmp_path_factory.mktemp("aligned")


@pytest.fixture(scope="session")
def experiment(tiny_grid: dict, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished experiment; copy it before changing it."""
    from llm_validation.experiments.config import experiment_of
    from llm_validation.experiments.validation import validate

    out = tmp_path_factory.mktemp("experiment") / "out"
    validate(experiment_of(tiny_grid), out, cache=cache)
    return out
