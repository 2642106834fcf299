"""Figures of the defences: taken from a comparison's record, and told as it came out."""

from __future__ import annotations

import copy
import json

import pytest
from made_runs import experiment_entry

from finebound.base.errors import InputError
from paper_figures import defences_depth, defences_plane, paths
from paper_figures.records import read_record


@pytest.fixture
def plane():
    return copy.deepcopy(read_record("defences_plane")["data"])


@pytest.fixture
def depth():
    return copy.deepcopy(read_record("defences_depth")["data"])


@pytest.mark.parametrize("module", [defences_depth, defences_plane])
def test_without_a_comparison_the_command_that_makes_it_is_named(module, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "DEFENDED", tmp_path)
    with pytest.raises(InputError, match="finebound defend --compare"):
        module.record(0)


def test_the_depth_is_that_of_the_default_strength(depth, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "DEFENDED", tmp_path)

    def layers(method, strength):
        modules = [m | {"score": 7.0} for m in depth["modules"]]
        return {"id": "r+x", "method": method, "strength": strength, "modules": modules}

    content = {
        "experiment": "e",
        "model": {"name": "m"},
        "task": "t",
        "unit": "nats/token",
        "places": [],
        "reference": {"gain": 0.0, "rise": 0.0},
        "scores": [],
        "frontiers": [],
        "not_applicable": [],
        "aligned_answers": None,
        "layers": [layers("splora", "keep 0.5"), layers("safe-lora", "keep 0.8")],
        "faithfulness": {},
        "notes": [],
        "manifest": experiment_entry([])["manifest"],
    }
    (tmp_path / "defences.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="no layers of splora"):
        defences_depth.record(0)
    content["layers"].append(layers("splora", "keep 0.8"))
    (tmp_path / "defences.json").write_text(json.dumps(content))
    made = defences_depth.record(0)
    assert made["run"] == "r"
    assert {m["score"] for m in made["modules"]} == {7.0}


def test_scores_that_follow_the_size_are_told(depth):
    direction, _ = defences_depth.claims(depth)
    assert direction.holds
    for module in depth["modules"]:
        module["score"] = module["distance"]
    direction, _ = defences_depth.claims(depth)
    assert not direction.holds
    assert "+1.00 with the distance" in direction.evidence


def test_pruned_middle_blocks_are_counted(depth):
    for module in depth["modules"]:
        module["changed"] = ".14." in module["name"] or ".15." in module["name"]
    middle = defences_depth.claims(depth)[1]
    assert "4 of 4 pruned modules are in the middle half of 30 blocks" in middle.evidence
    # Of 60 modules 30 or 32 are in the middle: 4 of 4 by chance about one time in fifteen.
    assert not middle.holds
    for module in depth["modules"]:
        module["changed"] = any(f".{block}." in module["name"] for block in range(10, 20))
    assert defences_depth.claims(depth)[1].holds


def front_claim(data):
    (found,) = [c for c in defences_plane.claims(data) if c.statement.startswith("T16")]
    return found


def test_models_below_the_front_are_counted(plane):
    (front,) = [curve for curve in plane["frontiers"] if curve["form"] == "front"]
    front["rise"] = [rise - 1.0 for rise in front["rise"]]
    assert front_claim(plane).holds
    front["rise"] = [rise + 5.0 for rise in front["rise"]]
    found = front_claim(plane)
    counted = sum(place["counts"] for place in plane["places"])
    assert not found.holds
    assert f"{counted} of the {counted} coherent models" in found.evidence


def test_a_front_that_ends_before_the_models_says_nothing_of_them(plane):
    (front,) = [curve for curve in plane["frontiers"] if curve["form"] == "front"]
    for name in ("gain", "rise"):
        front[name] = [0.0, 1e-6]
    assert not front_claim(plane).holds


def test_the_caption_names_the_curves_with_their_status(plane):
    told = defences_plane.shows(plane)
    assert "T10's limit on every policy on these rows (vacuous: they force nothing" in told
    assert "displacement (estimated)" in told
    plane["frontiers"][0]["forces"] = True
    assert "force nothing" not in defences_plane.shows(plane)
