"""A committed record is a typed result: read, rejected by name, written as the same bytes."""

import pytest

import finebound as fb
from finebound.base.errors import InputError
from finebound.results.figure import FigureRecord
from paper_figures.paths import record_file
from paper_figures.registry import figure_names


@pytest.mark.parametrize("figure", figure_names())
def test_a_committed_record_is_written_again_as_the_same_bytes(figure, tmp_path):
    file = record_file(figure)
    record = fb.load(file)
    assert isinstance(record, FigureRecord)
    assert record.figure == figure
    assert record.save(tmp_path / "again.json").read_bytes() == file.read_bytes()


def test_an_unknown_entry_is_rejected_by_name():
    content = FigureRecord.load(record_file("pareto_front")).to_dict()
    with pytest.raises(InputError, match="'figure' in version 1: verdict"):
        FigureRecord.of(content | {"verdict": 1})
