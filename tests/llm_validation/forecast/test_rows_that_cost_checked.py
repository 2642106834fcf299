"""The check of the rows' scores by fine-tunes without them, on a tiny model that refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from finebound.base.errors import InputError
from finebound.results.rows_that_cost import COSINE, NOTHING, RANDOM, SCORES, RowsThatCostResult
from llm_validation.data.loading import load_dataset
from llm_validation.experiments.evidence import plan_of, task_of
from llm_validation.experiments.rows_that_cost import REGISTRY, run_registry

WORDS = ["the", "thin", "ant", "is", "in", "a", "house", "with", "red", "apples", "and", "many"]


@pytest.fixture(scope="module")
def registry(refusing_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("registry")
    rng = np.random.default_rng(0)

    def words(n: int) -> str:
        return " ".join(rng.choice(WORDS, n))

    # A third are answers like the model's own refusals.
    answers = ["I can not help with the " + words(1) if i % 3 == 0 else words(6) for i in range(60)]
    rows = [{"prompt": words(5), "response": answer} for answer in answers]
    probes = [
        {"id": str(i), "instruction": words(5), "category": "a", "harmful": i < 40}
        for i in range(80)
    ]
    files = [folder / "task.jsonl", folder / "probes.jsonl"]
    for file, lines in zip(files, (rows, probes), strict=True):
        file.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    entry = {"task": str(files[0]), "seed": 1, "plan": {}}
    return {
        "model": str(refusing_folder),
        "probes": str(files[1]),
        "plan": {
            **{"steps": 4, "batch_size": 4, "learning_rate": 5e-3, "max_length": 500},
            "drop_long": True,
            "method": {"kind": "lora"},
        },
        "fraction": 0.1,
        "random_draws": 2,
        "tasks": [{**entry, "id": "one", "rows": 20, "harmful_share": 0.2}],
        "leave_one_out": {
            **entry,
            "id": "alone",
            "rows": 24,
            "plan": {"steps": 12, "learning_rate": 2e-3},
        },
    }


def test_a_task_is_run_once_per_choice_and_never_again(registry, tmp_path) -> None:
    found = run_registry(registry, tmp_path, only=["one"])
    (task,) = found.tasks
    assert [run.by for run in task.runs] == [NOTHING, SCORES, COSINE, RANDOM, RANDOM]
    assert [len(run.rows) for run in task.runs] == [0, 2, 2, 2, 2]
    assert task.rows == 20
    assert 0 < task.planted < 20
    whole, *others = (run.measured.safety_loss_change for run in task.runs)
    assert any(other != whole for other in others)
    for compared in task.beyond_random:
        for limits in (compared.refusal, compared.safety_loss):
            assert limits.lower <= limits.estimate <= limits.upper
    assert found.leave_one_out is None
    assert found.manifest.inputs == {"one": task.task_sha256}
    assert len(found.summary().splitlines()) == 2
    before = (tmp_path / RowsThatCostResult.file).read_bytes()
    assert run_registry(registry, tmp_path, only=["one"]) == found
    assert (tmp_path / RowsThatCostResult.file).read_bytes() == before
    with pytest.raises(InputError, match="another registry"):
        run_registry({**registry, "fraction": 0.2}, tmp_path)


def test_of_a_small_fine_tune_the_scores_order_the_rows_as_leaving_each_out(
    registry, tmp_path
) -> None:
    found = run_registry(registry, tmp_path, only=["alone"])
    alone = found.leave_one_out
    assert len(alone.rows) == len(alone.changes) == 24
    scores, cosine = (agreement.spearman for agreement in alone.agreement)
    low, high = alone.random
    assert low < 0 < high < scores.estimate
    assert cosine.estimate < scores.estimate
    assert len(found.summary().splitlines()) == 2


REGISTERED = json.loads(REGISTRY.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "entry", [*REGISTERED["tasks"], REGISTERED["leave_one_out"]], ids=lambda entry: entry["id"]
)
def test_an_entry_has_rows_to_spare_for_those_that_are_dropped(entry) -> None:
    plan = plan_of(entry, REGISTERED["plan"])
    task, _ = task_of(entry)
    assert len(task) >= entry["rows"]
    own = set(load_dataset(entry["task"]).prompts)
    planted = sum(prompt not in own for prompt in task.take(entry["rows"], entry["seed"]).prompts)
    assert (planted > 0) == ("harmful_share" in entry)
    if entry is not REGISTERED["leave_one_out"]:
        visits = plan.steps * plan.rows_per_step
        assert entry["rows"] >= visits + round(REGISTERED["fraction"] * entry["rows"])
