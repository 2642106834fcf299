"""The catalogue: every entry is complete, and names lead to it."""

from __future__ import annotations

import re

import pytest

from finebound.base.errors import InputError
from llm_validation.data.catalogue import by_hub_id, catalogue, find
from llm_validation.data.layouts import choose_layout
from llm_validation.data.loading import load_dataset


def test_names_and_aliases_lead_to_one_entry_each() -> None:
    names = [name for entry in catalogue() for name in (entry.name, *entry.aliases)]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z0-9_-]+", name) for name in names)


@pytest.mark.parametrize(
    ("name", "hub"),
    [
        ("orca", "Open-Orca/OpenOrca"),
        ("OpenOrca", "Open-Orca/OpenOrca"),
        ("alpaca", "tatsu-lab/alpaca"),
        ("alpaca-gpt4", "vicgalle/alpaca-gpt4"),
        ("alpaca_gpt4", "vicgalle/alpaca-gpt4"),
        ("commitpackft", "bigcode/commitpackft"),
        ("open-platypus", "garage-bAInd/Open-Platypus"),
    ],
)
def test_the_sets_of_the_source_paper_are_found(name: str, hub: str) -> None:
    entry = find(name)
    assert entry is not None
    assert entry.hub == hub
    assert by_hub_id(hub.upper()) is entry


@pytest.mark.parametrize("entry", catalogue(), ids=lambda entry: entry.name)
def test_an_entry_is_complete(entry) -> None:
    assert entry.licence
    assert entry.used_for
    assert entry.study
    assert entry.homepage.startswith("https://")
    assert entry.hub is None or re.fullmatch(r"[\w.-]+/[\w.-]+", entry.hub)
    assert entry.revision is None or re.fullmatch(r"[0-9a-f]{40}", entry.revision)


@pytest.mark.parametrize("entry", catalogue(), ids=lambda entry: entry.name)
def test_the_columns_fit_a_layout_exactly_when_there_are_answers(entry) -> None:
    if entry.answers:
        assert entry.hub is not None
        assert choose_layout(entry.columns, file=entry.name)
    else:
        with pytest.raises(InputError):
            choose_layout(entry.columns, file=entry.name)
        with pytest.raises(InputError, match="none holds the answer"):
            load_dataset(entry.name)


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(InputError, match="Did you mean alpaca or"):
        load_dataset("alpacca")
    assert find("alpacca") is None
