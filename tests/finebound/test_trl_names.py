"""``finebound.trl``: each name is that of its home, and importing it loads nothing heavy."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from finebound import trl


@pytest.mark.parametrize("name", trl.__all__)
def test_every_name_is_there(name):
    value = getattr(trl, name)
    assert getattr(import_module(value.__module__), name) is value
    assert value.__doc__
    assert name in dir(trl)


def test_an_editor_sees_each_lazy_name_in_its_home():
    tree = ast.parse(Path(trl.__file__).read_text())
    (block,) = (node.body for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block for alias in node.names}
    assert seen == {n: f"llm_validation.callbacks.{home}" for n, home in trl._HOMES.items()}
    assert trl.__all__ == sorted(seen)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'SafetyMonitr'"):
        _ = trl.SafetyMonitr


def test_the_import_is_light():
    code = (
        "import sys, finebound.trl; assert not {'torch', 'numpy', 'transformers'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
