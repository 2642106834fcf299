"""The figures of methods and behaviour: the finished experiments that each is recorded from."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from finebound.views.behaviour.common import study_of
from paper_figures.finetuned import read_experiment

STUDIES = {
    "bbq_dots": ("peft",),
    "behaviour_loss": ("peft", "translation"),
    "hazard_heatmap": ("peft",),
    "init_only": ("peft", "translation"),
    "learning_rates": ("translation",),
    "method_tradeoff": ("peft",),
    "refusal_chrf": ("translation",),
}
"""By the figure's name, which is its module's in ``ROOM``."""
ROOM = "finebound.views.behaviour"
_CONFIGURATIONS = {"peft": "peft_safety_fairness", "translation": "translation_degradation"}


def record(figure: str) -> dict[str, Any]:
    """The figure's data. Raises InputError where a study is not finished or has no behaviour."""
    studies = {name: _read(_CONFIGURATIONS[name]) for name in STUDIES[figure]}
    return import_module(f"{ROOM}.{figure}").data_of(studies)


def _read(configuration: str) -> dict[str, Any]:
    """A finished experiment: what made it, and its runs."""
    read = read_experiment(configuration, "validate.json", "prepared.json")
    study = study_of(read.result, folder=read.folder, remedy=read.remedy)
    study["experiment"] |= {"files": read.files, "manifest": read.result.manifest.to_dict()}
    return study
