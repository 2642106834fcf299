"""The paths of docs/architecture.md lead somewhere: every field and every function is there."""

import re
from importlib import import_module
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`([a-z_.]+):([A-Za-z_]+)`", PAGE)))
SECTIONS = re.findall(r"^### .*\(`([a-z_.]+):(\w+)`\)\n(.*?)(?=^#|\Z)", PAGE, re.M | re.S)


@pytest.mark.parametrize(("module", "name"), NAMED)
def test_a_named_function_is_there(module, name):
    assert callable(getattr(import_module(module), name))


@pytest.mark.parametrize(("module", "name", "body"), SECTIONS)
def test_a_named_field_is_one_of_its_result(module, name, body):
    fields = getattr(import_module(module), name).model_fields
    named = re.findall(r"^\|[^|]+\| `(\w+)` \|", body, re.M)
    assert len(named) >= 5
    assert set(named) <= set(fields)
