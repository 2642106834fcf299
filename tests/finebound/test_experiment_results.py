"""An experiment's records are read and written as the same bytes, sealed, rejected by name."""

import json
import shutil
from pathlib import Path

import pytest

from finebound.base.errors import InputError
from finebound.base.integrity import Damaged
from finebound.results.comparison import BoundCounts, ComparisonResult
from finebound.results.experiment import DoneRun, ExperimentResult
from finebound.results.registry import KINDS, load
from finebound.results.run import RunResult

SMOKE = Path(__file__).parent / "smoke_experiment"
RUN = "general_hybrid-lam1-r0.1_original_lora_s0"
RECORDS = {
    ExperimentResult: SMOKE / "validate.json",
    ComparisonResult: SMOKE / "comparison.json",
    RunResult: SMOKE / "runs" / RUN / "record.json",
}


@pytest.fixture
def out(tmp_path):
    return shutil.copytree(SMOKE, tmp_path / "smoke")


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.kind)
def test_a_record_is_read_and_saved_as_the_same_bytes(kind, tmp_path):
    found = kind.load(RECORDS[kind])
    assert found.save(tmp_path).read_bytes() == RECORDS[kind].read_bytes()


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.kind)
def test_any_record_is_known_by_its_content(kind, tmp_path):
    renamed = shutil.copyfile(RECORDS[kind], tmp_path / "renamed.json")
    assert isinstance(load(renamed), kind)


def test_a_folder_is_the_result_that_it_holds():
    alone = load(SMOKE / "validate.json")
    assert alone.compared is None
    whole = load(SMOKE)
    assert len(whole.compared) == 33
    assert whole.model_copy(update={"compared": None, "model": alone.model}) == alone
    assert whole.model == "SmolLM2-135M-Instruct"
    assert isinstance(load(SMOKE / "runs" / RUN), RunResult)
    files = [kind.file for kind in KINDS]
    # A choice of options is told from theory's search by what it holds.
    assert [file for file in files if files.count(file) > 1] == ["calibrate.json"] * 2


def test_the_audit_of_a_task_s_rows_is_a_result_of_its_own():
    found = ExperimentResult.load(RECORDS[ExperimentResult])
    audit = found.audit["general"]
    assert audit.harmful_rows.of == audit.rows == found.sets["task.general"].rows
    assert audit.said("note")
    with pytest.raises(InputError, match=r"audit\.general\.harm: Extra inputs"):
        ExperimentResult.of(found.to_dict() | {"audit": {"general": audit.to_dict() | {"harm": 1}}})


@pytest.mark.parametrize("text", ["{}", "[]", "3", "{", '{"runs": []}'])
def test_what_is_no_record_is_rejected(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InputError):
        load(tmp_path / "x.json")


def test_a_sealed_record_that_was_changed_is_damaged(out):
    for kind in (ExperimentResult, RunResult):
        file = out / RECORDS[kind].relative_to(SMOKE)
        content = json.loads(file.read_text())
        first = next(iter(content))
        content[first] = content[first][:-1]
        with pytest.raises(Damaged, match="content_sha256"):
            kind.of(content)
        file.write_text(json.dumps(content))
        with pytest.raises(Damaged, match="content_sha256"):
            kind.load(file)


def test_files_beside_a_record_are_checked(out):
    (out / "comparison.json").write_text("[]\n")
    with pytest.raises(Damaged, match=r"comparison\.json"):
        ExperimentResult.load(out)
    shutil.copyfile(SMOKE / "comparison.json", out / "comparison.json")
    (out / "runs" / RUN / "steps.json").write_text("{}")
    with pytest.raises(Damaged, match=r"steps\.json"):
        RunResult.load(out / "runs" / RUN)


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("surprise",), 1, "surprise: Extra"),
        (("compared",), [], "compared.*: Extra"),
        (("runs", 0, "surprise"), 1, "runs.0.done.surprise: Extra"),
        (("runs", 0, "safety_gap"), "large", "runs.0.done.safety_gap"),
        (("runs", 1, "tightest", "a priori", "unit"), 3, "runs.1.done.tightest.a priori.unit"),
        (("bounds", "held"), 1.5, "bounds.held"),
    ],
)
def test_what_the_reader_does_not_know_is_rejected_by_name(path, value, named):
    content = json.loads((SMOKE / "validate.json").read_text())
    del content["content_sha256"]
    *way, last = path
    place = content
    for step in way:
        place = place[step]
    place[last] = value
    with pytest.raises(InputError, match=f"'experiment' in version 1: {named}"):
        ExperimentResult.of(content)


def test_the_counts_are_those_of_the_entries():
    found = ExperimentResult.load(SMOKE)
    assert BoundCounts.of(found.compared) == found.bounds


def test_a_run_is_read_with_what_its_files_hold():
    found = RunResult.load(SMOKE / "runs" / RUN)
    entry = ExperimentResult.load(SMOKE).done[1]
    assert found.measured.entry == entry
    assert {c.run for c in found.measured.compared} == {RUN}
    assert len(found.measured.curves["task_loss"]) == entry.steps
    assert "curves" not in found.to_json()


def test_summaries_name_what_was_found():
    found = ExperimentResult.load(SMOKE)
    assert "2 of 2 runs done" in repr(found)
    assert "2 finished runs pass every gate" in found.summary()
    assert "It passes every gate" in RunResult.load(SMOKE / "runs" / RUN).summary()


def test_the_schema_names_every_entry_and_nothing_that_is_beside():
    for kind in (ExperimentResult, RunResult):
        properties = json.loads(kind.json_schema())["properties"]
        assert set(kind.load(RECORDS[kind]).to_dict()) == set(properties)
    assert set(DoneRun.model_fields) == set(ExperimentResult.load(SMOKE).done[0].to_dict())
