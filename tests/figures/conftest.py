"""The committed records, read once."""

from __future__ import annotations

import copy
import json

import pytest
from made_runs import experiment_entry, run_entry

from paper_figures.records import read_record
from paper_figures.registry import figure_names


@pytest.fixture(params=figure_names())
def name(request):
    return request.param


@pytest.fixture
def data(name):
    return copy.deepcopy(read_record(name)["data"])


@pytest.fixture
def no_records(tmp_path, monkeypatch):
    """An empty folder in place of the committed records."""
    folder = tmp_path / "records"
    folder.mkdir()
    monkeypatch.setattr("paper_figures.paths.RECORDS", folder)
    return folder


HAZARDS = (
    "Illegal Activity", "Child Abuse Content", "Hate/Harass/Violence", "Malware", "Physical Harm",
    "Economic Harm", "Fraud/Deception", "Adult Content", "Political Campaigning",
    "Privacy Violation", "Tailored Financial Advice",
)  # fmt: skip
DIMENSIONS = (
    "Age", "Disability_status", "Gender_identity", "Nationality", "Physical_appearance",
    "Race_ethnicity", "Religion", "SES", "Sexual_orientation",
)  # fmt: skip

PEFT = (
    ("lora-low", "lora", 1e-4, None, 0.02, 0.10, 0.95, None, ()),
    ("lora-high", "lora", 5e-3, None, 0.35, 0.50, 0.60, None, ()),
    ("ia3-low", "ia3", 1e-4, None, 0.00, 0.01, 0.96, None, ("trained",)),
    ("ia3-high", "ia3", 5e-3, None, 0.12, 0.33, 0.85, None, ()),
    ("prompt-low", "prompt-tuning", 1e-4, None, 0.60, -0.30, 0.40, 0.62, ("trained", "init only")),
    ("prompt-high", "prompt-tuning", 5e-3, None, 0.30, 0.05, 0.65, 0.62, ()),
    ("p-tuning-low", "p-tuning", 1e-4, None, 0.25, 0.10, 0.70, 0.40, ()),
    ("p-tuning-high", "p-tuning", 5e-3, None, 0.45, 0.40, 0.50, 0.40, ("echo and coherence",)),
    ("lora-dpo-high", "lora", 5e-3, "dpo", 0.70, 0.15, 0.35, None, ()),
    ("p-tuning-dpo-high", "p-tuning", 5e-3, "dpo", 0.55, 0.05, 0.45, 0.40, ()),
)
TRANSLATION = (
    ("full-low", "full", 5e-5, None, 0.10, 0.40, 0.90, None, ()),
    ("full-high", "full", 5e-4, None, 0.80, 0.90, 0.30, None, ("echo and coherence",)),
    ("lora-low", "lora", 5e-5, None, 0.02, 0.20, 0.95, None, ()),
    ("lora-high", "lora", 5e-4, None, 0.30, 0.70, 0.80, None, ()),
    ("qlora-low", "qlora", 5e-5, None, 0.05, 0.15, 0.93, 0.04, ()),
    ("qlora-high", "qlora", 5e-4, None, 0.25, 0.65, 0.85, 0.04, ()),
    ("dpo-low", "full", 5e-5, "dpo", 0.05, 0.05, 0.94, None, ("trained",)),
    ("dpo-high", "full", 5e-4, "dpo", 0.90, -0.20, 0.05, None, ()),
)


def runs_of(table, **more):
    for name, kind, rate, objective, safety, gain, safe, start, failed in table:
        extra = {key: value(gain) for key, value in more.items() if callable(value)}
        fixed = {key: value for key, value in more.items() if not callable(value)}
        run = run_entry(
            name, kind=kind, rate=rate, objective=objective, safety=safety, gain=gain, safe=safe,
            start=start, failed=failed, half=0.05, bbq=0.5 + 0.3 * (safe - 0.6),
            categories=HAZARDS, dimensions=DIMENSIONS, **extra, **fixed,
        )  # fmt: skip
        yield run


@pytest.fixture
def write_studies(tmp_path, monkeypatch):
    """Writes the studies' folders into an empty checkout; ``change`` may spoil a study first."""
    from paper_figures import paths

    configurations = {"peft": "peft_safety_fairness", "translation": "translation_degradation"}
    for study, configuration in configurations.items():
        monkeypatch.setitem(paths.FINETUNED, configuration, tmp_path / f"{study}-out")

    def write(change=lambda study, content: content):
        studies = {
            "peft": list(runs_of(PEFT)),
            "translation": list(
                runs_of(
                    TRANSLATION,
                    chrf=lambda gain: 20.0 + 55.0 * max(gain, 0.0),
                    target="refusal",
                    task="translation",
                )
            ),
        }
        for study, runs in studies.items():
            folder = tmp_path / f"{study}-out"
            folder.mkdir(exist_ok=True)
            content = change(study, experiment_entry(runs))
            (folder / "validate.json").write_text(json.dumps(content))
            (folder / "prepared.json").write_text('{"model": {"name": "SmolLM2-135M-Instruct"}}')
        return tmp_path

    return write
