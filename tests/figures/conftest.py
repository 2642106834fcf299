"""The committed records, read once."""

from __future__ import annotations

import copy

import pytest

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
