"""The experiments that the figures of methods and behaviour are recorded from."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from finebound.base.errors import InputError
from finebound.base.records import file_sha256
from finebound.results.experiment import ExperimentResult
from finebound.views.behaviour.common import study_of
from paper_figures import paths
from paper_figures.finetuned import read_part

Study = Literal["peft", "translation"]
CONFIGURATIONS: dict[Study, str] = {
    "peft": "peft_safety_fairness",
    "translation": "translation_degradation",
}


def read_studies(*names: Study) -> dict[str, dict[str, Any]]:
    """The finished experiments of the named studies; see ``read_study``."""
    folders = {"peft": paths.PEFT, "translation": paths.TRANSLATED}
    return {
        name: read_study(
            folders[name],
            remedy=f"Make it with `finebound validate {CONFIGURATIONS[name]} "
            f"--out {folders[name].name}`.",
        )
        for name in names
    }


def read_study(folder: Path, *, remedy: str) -> dict[str, Any]:
    """The finished experiment in a folder: what made it, and its runs.

    Raises InputError where it is not finished or was made without behaviour.
    """
    files = {name: folder / name for name in ("validate.json", "prepared.json")}
    found, prepared = (read_part(file, remedy) for file in files.values())
    result = ExperimentResult.of(found, file=files["validate.json"])
    if not result.done or result.behaviour is None:
        raise InputError("holds no run with its behaviour.", remedy=remedy, file=folder)
    study = study_of(result, prepared["model"]["name"])
    study["experiment"] |= {
        "files": {name: file_sha256(file) for name, file in files.items()},
        "manifest": found["manifest"],
    }
    return study
