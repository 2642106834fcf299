"""A tiny experiment, run once; and finished runs made of numbers alone."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from finished_experiments import finish
from made_runs import experiment_entry, run_entry


def tiny_content(model_folder) -> dict:
    return {
        "name": "tiny",
        "model": str(model_folder),
        "safety": "builtin:safety",
        "tasks": {"general": "builtin:task-general"},
        "proxies": {"original": "safety", "same-teacher": "builtin:proxy-same-teacher"},
        "methods": {"lora": {"rank": 2, "targets": ["q_proj", "v_proj"]}},
        "rows": {"safety": 10, "task": 10, "proxy": 10, "held_out": 6},
        "alignment": {"steps": 4, "learning_rate": 0.01, "batch_size": 4},
        "training": {
            "steps": 4, "learning_rate": 0.01, "batch_size": 3, "evaluate_at": [0.0, 0.5, 1.0]
        },
        "grid": [
            {"tasks": ["general"], "unconstrained": True, "radius": [0.05]},
            {"tasks": ["general"], "proxies": ["original", "same-teacher"], "lam": [2.0]},
        ],
        "landscape": {
            "rows_for_curvature": 2, "lanczos_steps": 2, "tokens_a_curvature_row": 48
        },
        "forecast": {"share": 0.9, "gradient_rows": 3},
        "generations": {"prompts": 4, "max_new_tokens": 6},
    }  # fmt: skip


@pytest.fixture(scope="session")
def content(tiny_model_folder) -> dict:
    """A whole configuration; copy it before changing it."""
    return tiny_content(tiny_model_folder)


@pytest.fixture(scope="session")
def finished(content, tmp_path_factory):
    """The tiny experiment, finished in a folder that is not to be changed."""
    folder = tmp_path_factory.mktemp("experiment")
    return finish(content, folder / "out", cache=folder / "cache")


BEHAVIOUR = {
    "refusal": {"rows": 4, "max_new_tokens": 4},
    "hazards": {"a_category": 1, "harmless": 0, "max_new_tokens": 4},
    "bbq": {"a_cell": 1},
    "translation": {"data": "general", "rows": 3, "max_new_tokens": 4},
    "checkpoints": {"at": [0.5], "parts": ["refusal", "translation"]},
}


@pytest.fixture(scope="session")
def methods_content(content):
    """Five ways to train a tiny model on preference pairs, and what is asked of them."""
    return {
        **content,
        "name": "methods",
        "tasks": {"general": "builtin:preferences-general"},
        "proxies": {},
        "methods": {
            "lora": {"kind": "lora", "rank": 2, "learning_rate": 0.01},
            "prompt-low": {"kind": "prompt-tuning", "tokens": 2, "learning_rate": 1e-7},
            "prompt-high": {"kind": "prompt-tuning", "tokens": 2, "learning_rate": 0.5},
            "ia3": {"kind": "ia3", "learning_rate": 0.05},
            "dpo": {"kind": "lora", "rank": 2, "learning_rate": 0.01, "objective": "dpo"},
        },
        "grid": [{"tasks": ["general"], "unconstrained": True}],
        "landscape": None,
        "forecast": None,
        "behaviour": BEHAVIOUR,
    }


def losses_of(values, tokens=1):
    from llm_validation.measure.losses import Losses

    values = np.asarray(values, dtype=np.float64)
    return Losses(values * tokens, np.full(len(values), tokens, dtype=np.int64))


@pytest.fixture
def make_run(content):
    """A finished run of made-up losses: changes of named sets from theta_s to the end."""
    from llm_validation.experiments.config import expand, experiment_of
    from llm_validation.experiments.run import Measured

    def make(
        strategy: dict,
        *,
        task="general",
        proxy=None,
        seed=0,
        rise=0.0,
        gain=0.0,
        proxy_rise=0.0,
        rows=40,
        noise=0.0,
        displacement=1.0,
        largest=None,
    ):
        block = {"tasks": [task], "seeds": [seed], "proxies": [proxy] if proxy else []} | strategy
        proxies = {
            "same-teacher": "a.jsonl", "other-teacher": "b.jsonl", "self-generated": "c.jsonl"
        }  # fmt: skip
        tasks = {name: f"{name}.jsonl" for name in ("general", "code", "agreeing")}
        changed = {**content, "grid": [block], "tasks": tasks, "proxies": proxies}
        (run,) = expand(experiment_of(changed))
        rng = np.random.default_rng(len(run.id) + seed)
        common = np.random.default_rng(1).normal(0.0, 1.0, rows)

        def moved(amount: float):
            start = 3.0 + common
            end = start + amount + noise * rng.normal(0.0, 1.0, rows)
            return losses_of(start, 7), losses_of(end, 7)

        sets = {
            "safety": rise, "safety.held-out": rise, f"task.{task}": -gain,
            f"task.{task}.held-out": -gain,
        }  # fmt: skip
        for role in [proxy] if proxy else proxies:
            sets[f"proxy.{role}"] = proxy_rise
        pairs = {name: moved(amount) for name, amount in sets.items()}
        steps = run.plan.steps
        finetuned = SimpleNamespace(
            steps_done=steps,
            document={"identity": {"model": "theta_s"}},
            steps={"displacement": np.linspace(displacement / steps, displacement, steps)},
            result={
                "rates_match_plan": True,
                "displacement": {"largest": largest or displacement},
                "optimiser_budget": {"weights_radius": 50.0},
            },
        )
        losses = {
            0: {name: pair[0] for name, pair in pairs.items()},
            steps: {name: pair[1] for name, pair in pairs.items()},
        }
        return Measured(run, finetuned, {}, losses)

    return make


@pytest.fixture(scope="session")
def made_run():
    """A finished run's entry of ``validate.json``, made of numbers."""
    return run_entry


@pytest.fixture(scope="session")
def made_experiment():
    """``validate.json`` of such runs."""
    return experiment_entry
