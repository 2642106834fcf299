"""The figure of harmful shares says what the runs say, whichever way they came out."""

from __future__ import annotations

import json

import pytest
from made_runs import experiment_entry, run_entry

from finebound.views import style
from paper_figures import harmful_share, paths

SHARES = {"benign": 0.0, "harmful-10": 0.1, "harmful-100": 1.0}


def run(task, rise, strategy=None, proxy=None, failed=()):
    entry = run_entry(str(rise), rate=2e-4, task=task, safety=rise, half=0.05, failed=failed)
    return entry | {"proxy": proxy, "strategy": strategy or {"kind": "none"}}


@pytest.fixture
def record(tmp_path, monkeypatch):
    monkeypatch.setitem(paths.FINETUNED, "defence_regimes", tmp_path)

    def write(*runs):
        found = experiment_entry(list(runs))
        found["manifest"]["given"]["tasks"] = {
            name: {"benign": "a", "harmful": "b", "share": share} for name, share in SHARES.items()
        }
        rows = {"source": "s", "sha256": "0", "rows": 2, "loss_at_theta_s": 1.0, "tokens": 8}
        found["sets"] = {"safety": rows, "safety.held-out": rows}
        files = {
            "validate.json": found,
            "comparison.json": [],
            "prepared.json": {"model": {"name": "tiny"}, "vocabulary": 100},
        }
        for name, content in files.items():
            (tmp_path / name).write_text(json.dumps(content))
        return harmful_share.record(0)

    return write


LISA = {"kind": "lisa", "alignment_steps": 2, "task_steps": 8, "rho": 1.0}


def test_each_run_is_at_its_share_and_its_defence_is_told(record):
    data = record(run("benign", 0.1), run("harmful-10", 0.2, LISA, "same-teacher"))
    assert [r["share"] for r in data["runs"]] == [0.0, 0.1]
    assert data["runs"][1]["settings"] == "safety steps 2, task steps 8, rho 1"


@pytest.mark.parametrize(("rise", "holds"), [(0.4, True), (0.12, False)])
def test_harmful_rows_cost_more_only_where_the_intervals_are_apart(record, rise, holds):
    (claim,) = harmful_share.claims(record(run("benign", 0.1), run("harmful-100", rise)))
    assert claim.holds is holds
    assert "100 %" in claim.evidence


@pytest.mark.parametrize(("rise", "holds"), [(0.1, True), (0.28, False), (0.6, False)])
def test_a_defence_is_set_beside_the_undefended_run_of_its_share(record, rise, holds):
    data = record(
        run("benign", 0.0), run("harmful-10", 0.3), run("harmful-10", rise, LISA, "same-teacher")
    )
    claim = harmful_share.claims(data)[1]
    assert claim.holds is holds
    assert "Lisa (safety steps 2, task steps 8, rho 1, same-teacher proxy)" in claim.statement


def test_a_defended_run_behind_a_failed_gate_is_not_called_safer(record):
    broken = run("harmful-10", 0.0, LISA, "same-teacher", failed=("echo and coherence",))
    claim = harmful_share.claims(record(run("benign", 0.0), run("harmful-10", 0.5), broken))[1]
    assert not claim.holds
    assert "behind the failed gate echo and coherence" in claim.evidence


def test_a_run_behind_a_failed_gate_is_hollow_and_said_to_be(record):
    sound = record(run("benign", 0.1), run("harmful-100", 0.5))
    broken = record(run("benign", 0.1), run("harmful-100", 0.5, failed=("echo and coherence",)))
    assert "Hollow" not in harmful_share.shows(sound)
    assert "Hollow" in harmful_share.shows(broken)
    with style.paper_style():
        legends = [
            [text.get_text() for text in harmful_share.draw(data).legends[0].get_texts()]
            for data in (sound, broken)
        ]
    assert [any("hollow" in label for label in labels) for labels in legends] == [False, True]
