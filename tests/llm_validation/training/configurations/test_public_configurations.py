"""Configurations as people publish them: what is understood of each, and what is named as not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from finebound.base.errors import InputError
from llm_validation.training.configurations import plan_for, read_training

FOLDER = Path(__file__).with_name("public")
KINDS = {
    file.stem: yaml.safe_load(file.read_text(encoding="utf-8")) for file in FOLDER.glob("*.yaml")
}
INFO = KINDS["llama_factory"]["info"]
KINDS["llama_factory"] = KINDS["llama_factory"]["cases"]
CASES = [
    pytest.param(kind, case, id=f"{kind}: {name}")
    for kind, cases in sorted(KINDS.items())
    for name, case in cases.items()
]
ROWS = 1_000


def written(kind: str, case: dict[str, Any], folder: Path) -> Path:
    """The case's files in ``folder``."""
    if kind == "llama_factory":
        (folder / "data").mkdir()
        (folder / "data" / "dataset_info.json").write_text(json.dumps(INFO))
    if "adapter" in case:
        (folder / "adapter_config.json").write_text(json.dumps(case["adapter"]))
    as_json = case.get("as") == "json"
    file = folder / f"train.{'json' if as_json else 'yaml'}"
    text = json.dumps(case["file"]) if as_json else yaml.safe_dump(case["file"], sort_keys=False)
    file.write_text(text, encoding="utf-8")
    return file


def understood(file: Path, folder: Path) -> dict[str, Any]:
    training = read_training(file)
    plan = plan_for(training, ROWS)
    method = plan.method
    return {
        "format": training.format,
        "model": training.model,
        "tasks": [task.replace(f"{folder}/", "") for task in training.tasks],
        "template": training.template,
        "method": training.value("method.kind"),
        "rank": getattr(method, "rank", None),
        "alpha": getattr(method, "alpha", None),
        "targets": list(getattr(method, "targets", ())),
        "objective": "dpo" if plan.objective else "sft",
        "steps": plan.steps,
        "batch": plan.batch_size,
        "rate": plan.learning_rate,
        "schedule": plan.schedule,
        "warmup": plan.warmup,
        "clip": plan.clip,
        "precision": plan.precision,
        "turns": training.value("turns"),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_there_are_a_dozen_of_each_kind(kind):
    assert len(KINDS[kind]) >= 12


@pytest.mark.parametrize(("kind", "case"), CASES)
def test_what_is_understood_and_what_is_not(kind, case, tmp_path):
    file = written(kind, case, tmp_path)
    if "error" in case:
        with pytest.raises(InputError, match=case["error"]) as error:
            read_training(file)
        assert error.value.file == str(file)
        assert error.value.remedy
        return
    found = understood(file, tmp_path)
    assert {name: found[name] for name in case["reads"]} == case["reads"]
    training = read_training(file)
    assert sorted(key.name for key in training.not_modelled) == sorted(case.get("changes", []))
    unknown = [key.name for key in training.unread if "is no key of" in key.what]
    assert sorted(unknown) == sorted(case.get("unknown", []))
    assert set(case.get("assumed", ())) <= {key.name for key in training.assumed}
    # Each key says what it may change, in a whole sentence.
    assert all(key.what.endswith(".") and len(key.what) > 20 for key in training.not_modelled)
