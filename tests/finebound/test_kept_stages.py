"""A stage that was finished is not made again, and no other one is taken for it."""

import json
import zlib

import numpy as np
import pytest

from finebound.base.kept_stages import KeptStages, _decoded, _encoded
from finebound.results.audit import RowShown, RowsOfKind
from finebound.results.strategies import StrategyEntry
from llm_validation.measure.overlap_measure import Errs, estimated_overlap
from theory.bound import Status

STRATEGY = StrategyEntry(kind="loss", lam=0.5)  # its other entries are not given


def fail():
    raise AssertionError("made again")


def test_a_finished_stage_is_taken_from_the_start_before(tmp_path, capsys):
    out = tmp_path / "out"
    first = KeptStages(out).result("model", {"a": 1}, lambda: (1.5, [2], None))
    assert KeptStages(out).result("model", {"a": 1}, fail) == first
    assert not out.exists()
    assert "model: taken from an earlier start" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "made_of"), [("model", {"a": 2}), ("other", {"a": 1})])
def test_other_inputs_or_another_stage_are_made(tmp_path, name, made_of):
    stages = KeptStages(tmp_path / "out")
    stages.result("model", {"a": 1}, lambda: 1.0)
    assert stages.result(name, made_of, lambda: 2.0) == 2.0


def test_other_code_makes_it_anew(tmp_path, monkeypatch):
    stages = KeptStages(tmp_path / "out")
    stages.result("model", {}, lambda: 1.0)
    monkeypatch.setattr("finebound.base.kept_stages._code", lambda: "other")
    assert stages.result("model", {}, lambda: 2.0) == 2.0


def test_a_damaged_file_is_made_anew(tmp_path):
    stages = KeptStages(tmp_path / "out")
    stages.result("model", {}, lambda: 1.0)
    (file,) = (tmp_path / ".out.stages").iterdir()
    whole = file.read_bytes()
    for damaged in (b"", whole[:-4], b"?" + whole[1:], zlib.compress(b"[1, 2]")):
        file.write_bytes(damaged)
        assert stages.result("model", {}, lambda: 2.0) == 2.0


def test_what_is_kept_is_gone_when_the_result_is_written(tmp_path):
    stages = KeptStages(tmp_path / "out")
    stages.result("model", {}, lambda: 1.0)
    stages.forget()
    assert list(tmp_path.iterdir()) == []


def test_without_a_folder_nothing_is_kept():
    stages = KeptStages(None)
    assert stages.result("model", {}, lambda: 1.0) == 1.0
    assert stages.result("model", {}, lambda: 2.0) == 2.0


def test_a_folder_that_cannot_be_written_costs_only_time(tmp_path):
    (tmp_path / ".out.stages").write_text("a file in the way")
    assert KeptStages(tmp_path / "out").result("model", {}, lambda: 1.0) == 1.0


def test_values_come_back_bit_for_bit():
    measure = estimated_overlap(
        "exact match",
        np.array([1, 0, 2]),
        np.array([1, 3, 0]),
        errs=Errs.NEVER_TOO_LARGE,
        why="because",
        details={"n": 1.0 / 3.0},
    )
    shown = RowShown(row=1, prompt="a", response="b", why="c")
    rows = RowsOfKind(count=1, of=2, rows=[1], by={"x": 1}, examples=[shown])
    value = ([measure], {"status": Status.EXACT, 3: float("inf")}, rows, np.float32(0.1), STRATEGY)
    again = _decoded(json.loads(json.dumps(_encoded(value))))
    assert again[2] == rows
    assert again[1] == value[1]
    assert again[3] == value[3]
    assert again[3].dtype == np.float32
    assert again[4].to_dict() == STRATEGY.to_dict()
    for name in type(measure).model_fields:
        a, b = getattr(measure, name), getattr(again[0][0], name)
        assert type(a) is type(b)
        assert np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b


@pytest.mark.parametrize(
    "name", ["os:system", "subprocess:Popen", "finebound.base.records:file_sha256", "finebound.x:Y"]
)
def test_a_file_can_name_no_other_class(name):
    with pytest.raises((ValueError, LookupError, AttributeError, ImportError)):
        _decoded({"class": name, "fields": {}})
