"""A tiny Llama aligned on made-up refusals, and worlds of tasks and proxies around it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from llm_validation.data.dataset import Dataset
    from llm_validation.forecast.world import World
    from llm_validation.models.loading import LoadedModel
    from llm_validation.training.plan import TrainingPlan

WORDS = ["the", "thin", "ant", "is", "in", "a", "house", "with", "red", "apples", "and", "many"]


def make_rows(name: str, n: int, answer: Callable[[np.random.Generator], str]) -> Dataset:
    """Prompts of five random words; ``answer`` draws what is answered."""
    from llm_validation.data.dataset import Dataset

    rng = np.random.default_rng(len(name) + n)
    return Dataset.of([(" ".join(rng.choice(WORDS, 5)), answer(rng)) for _ in range(n)], name=name)


@pytest.fixture(scope="session")
def datasets() -> dict[str, Dataset]:
    return {
        "safety": make_rows(
            "safety", 36, lambda rng: "I can not help with the " + rng.choice(WORDS)
        ),
        "task": make_rows("task", 48, lambda rng: " ".join(rng.choice(WORDS, 6))),
        "other": make_rows("other", 30, lambda rng: "sorry no the " + rng.choice(WORDS)),
    }


@pytest.fixture(scope="session")
def theta_folder(
    tiny_model_folder: Path, datasets: dict[str, Dataset], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """theta_s: the tiny model after 60 steps on the safety rows."""
    from llm_validation.forecast.optimiser import train
    from llm_validation.forecast.world import World
    from llm_validation.models.loading import load_model
    from llm_validation.training.plan import FullWeights, TrainingPlan
    from llm_validation.training.streams import TASK, Stream, Streams

    loaded = load_model(tiny_model_folder)
    world = World(loaded, datasets["safety"], datasets["safety"])
    rows = tuple(world.encoded("safety"))
    rates = np.full(60, 3e-3)
    plan = TrainingPlan(method=FullWeights(), steps=60)
    loaded.model.requires_grad_(True)
    train(loaded.model, plan, Streams(Stream(TASK, rows, 12, 0)), rates, pad_id=world.pad_id)
    folder = tmp_path_factory.mktemp("theta")
    loaded.model.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def refusing_folder(
    theta_folder: Path, datasets: dict[str, Dataset], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The tiny model after 200 steps more on refusals: it refuses whatever it is asked."""
    from llm_validation.forecast.optimiser import train
    from llm_validation.forecast.world import World
    from llm_validation.models.loading import load_model
    from llm_validation.training.plan import FullWeights, TrainingPlan
    from llm_validation.training.streams import TASK, Stream, Streams

    loaded = load_model(theta_folder)
    rows = tuple(World(loaded, datasets["safety"], datasets["safety"]).encoded("safety"))
    loaded.model.requires_grad_(True)
    plan = TrainingPlan(method=FullWeights(), steps=200)
    streams = Streams(Stream(TASK, rows, 12, 0))
    train(loaded.model, plan, streams, np.linspace(4e-3, 0, 200), pad_id=loaded.pad_id)
    folder = tmp_path_factory.mktemp("refusing")
    loaded.model.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def theta(theta_folder: Path) -> LoadedModel:
    from llm_validation.models.loading import load_model

    return load_model(theta_folder)


@pytest.fixture
def world_of(theta: LoadedModel, datasets: dict[str, Dataset]) -> Callable[..., World]:
    """``world_of(proxy=None, task="task", ...)`` with the datasets by name."""
    from llm_validation.forecast.world import World

    known: dict[Any, Any] = {}

    def make(proxy: str | None = None, *, task: str = "task", **options: Any) -> World:
        named = None if proxy is None else datasets[proxy]
        return World(theta, datasets["safety"], datasets[task], named, known=known, **options)

    return make


@pytest.fixture
def small_plan() -> Callable[..., TrainingPlan]:
    """A LoRA plan of 12 short steps unless told otherwise."""
    from llm_validation.training.plan import Lora, TrainingPlan

    def make(**settings: Any) -> TrainingPlan:
        common = {
            "method": Lora(rank=4, alpha=8),
            "steps": 12,
            "learning_rate": 2e-3,
            "batch_size": 4,
            "checkpoint_every": 0,
            "evaluate_at": (0.0, 1.0),
        }
        return TrainingPlan(**{**common, **settings})

    return make


@pytest.fixture
def imprint() -> Callable[[LoadedModel], dict[str, Any]]:
    """Every weight's bytes, flag, gradient, and every module's type and mode."""

    def of(loaded: LoadedModel) -> dict[str, Any]:
        model = loaded.model
        return {
            "bytes": {n: t.detach().numpy().tobytes() for n, t in model.state_dict().items()},
            "places": {n: p.data_ptr() for n, p in model.named_parameters()},
            "flags": {n: p.requires_grad for n, p in model.named_parameters()},
            "gradients": {n: p.grad for n, p in model.named_parameters()},
            "modes": {n: m.training for n, m in model.named_modules()},
            "types": {n: type(m) for n, m in model.named_modules()},
        }

    return of
